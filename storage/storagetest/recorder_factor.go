package storagetest

import (
	"context"

	"grantd/storage"
)

// What the recorder notes of factors and the sign-in policy.

func (r *recorder) Factors(ctx context.Context, userID string) (*storage.Factors, error) {
	r.seen.call("Factors")
	return r.Store.Factors(ctx, userID)
}

func (r *recorder) CreateTOTP(ctx context.Context, t *storage.TOTP, event storage.AuditEvent) error {
	r.seen.call("CreateTOTP")
	return r.Store.CreateTOTP(ctx, t, event)
}

func (r *recorder) UseTOTP(ctx context.Context, use storage.TOTPUse) error {
	r.seen.call("UseTOTP")
	return r.Store.UseTOTP(ctx, use)
}

func (r *recorder) DeleteTOTP(ctx context.Context, userID string, event storage.AuditEvent) error {
	r.seen.call("DeleteTOTP")
	return r.Store.DeleteTOTP(ctx, userID, event)
}

func (r *recorder) ReplaceRecoveryCodes(ctx context.Context, userID string, hashes [][]byte, event storage.AuditEvent) error {
	r.seen.call("ReplaceRecoveryCodes")
	return r.Store.ReplaceRecoveryCodes(ctx, userID, hashes, event)
}

func (r *recorder) UseRecoveryCode(ctx context.Context, userID string, hash []byte, event storage.AuditEvent) error {
	r.seen.call("UseRecoveryCode")
	return r.Store.UseRecoveryCode(ctx, userID, hash, event)
}

func (r *recorder) ResetFactors(ctx context.Context, userID string, event storage.AuditEvent) error {
	r.seen.call("ResetFactors")
	return r.Store.ResetFactors(ctx, userID, event)
}

func (r *recorder) SignInPolicy(ctx context.Context) (*storage.SignInPolicy, error) {
	r.seen.call("SignInPolicy")
	return r.Store.SignInPolicy(ctx)
}

func (r *recorder) UpdateSignInPolicy(ctx context.Context, p *storage.SignInPolicy, event storage.AuditEvent) error {
	r.seen.call("UpdateSignInPolicy")
	return r.Store.UpdateSignInPolicy(ctx, p, event)
}
