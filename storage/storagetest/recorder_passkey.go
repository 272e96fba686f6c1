package storagetest

import (
	"context"

	"grantd/storage"
)

// What the recorder notes of passkeys.

func (r *recorder) CreatePasskey(ctx context.Context, p *storage.Passkey, event storage.AuditEvent) error {
	r.seen.call("CreatePasskey")
	return r.Store.CreatePasskey(ctx, p, event)
}

func (r *recorder) PasskeyByCredential(ctx context.Context, credentialID []byte) (*storage.Passkey, error) {
	r.seen.call("PasskeyByCredential")
	return r.Store.PasskeyByCredential(ctx, credentialID)
}

func (r *recorder) UsePasskey(ctx context.Context, use storage.PasskeyUse, cloned storage.AuditEvent) error {
	r.seen.call("UsePasskey")
	return r.Store.UsePasskey(ctx, use, cloned)
}

func (r *recorder) RenamePasskey(ctx context.Context, userID, id, name string, event storage.AuditEvent) error {
	r.seen.call("RenamePasskey")
	return r.Store.RenamePasskey(ctx, userID, id, name, event)
}

func (r *recorder) DeletePasskey(ctx context.Context, userID, id string, event storage.AuditEvent) error {
	r.seen.call("DeletePasskey")
	return r.Store.DeletePasskey(ctx, userID, id, event)
}
