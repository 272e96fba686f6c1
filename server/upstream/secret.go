package upstream

import (
	"context"
	"errors"
	"fmt"

	"grantd/server/keys"
	"grantd/storage"
)

// secretPurpose has the provider's id added, so that a row's secret fits no other row.
const secretPurpose = "provider client secret "

// SealSecret returns a client secret as storage.Provider keeps it.
func SealSecret(root *keys.Root, providerID, secret string) []byte {
	if secret == "" {
		return []byte{}
	}
	return root.SealBytes(secretPurpose+providerID, []byte(secret))
}

func openSecret(root *keys.Root, p *storage.Provider) (string, error) {
	if len(p.SealedClientSecret) == 0 {
		return "", nil
	}
	secret, err := root.OpenBytes(secretPurpose+p.ID, p.SealedClientSecret)
	if err != nil {
		return "", fmt.Errorf("provider %s: its secret cannot be opened: %w", p.ID, err)
	}
	return string(secret), nil
}

// Reseal seals with the root key that makes now what an older one sealed. What no root
// key opens stays as it is: its provider is out of order, and the server is not.
func (u *Upstream) Reseal(ctx context.Context) error {
	all, err := u.Providers(ctx)
	if err != nil {
		return err
	}
	for _, p := range all {
		if len(p.SealedClientSecret) == 0 || u.Root.SealedByFirst(p.SealedClientSecret) {
			continue
		}
		secret, err := openSecret(u.Root, p)
		if err != nil {
			continue
		}
		event := storage.NewAuditEvent(u.Now(), "system", "provider.resealed", p.ID)
		err = u.Store.ResealProvider(ctx, p.ID, p.SealedClientSecret, SealSecret(u.Root, p.ID, secret), event)
		if err != nil && !errors.Is(err, storage.ErrConflict) { // another replica was first
			return err
		}
	}
	return nil
}
