package sqlite

import (
	"context"
	"errors"

	"grantd/storage"
)

const selectSignInPolicy = `SELECT version, second_factor, destructive_scopes, updated_at FROM sign_in_policy`

// SignInPolicy implements storage.SignInPolicyStore.
func (s *Store) SignInPolicy(ctx context.Context) (*storage.SignInPolicy, error) {
	var p storage.SignInPolicy
	err := s.readRow(ctx, selectSignInPolicy, nil, &p.Version, &p.SecondFactor, &p.DestructiveScopes, intoTime{&p.UpdatedAt})
	if err != nil {
		return nil, err
	}
	return &p, nil
}

const updateSignInPolicy = `UPDATE sign_in_policy SET version = version + 1,
	second_factor = ?, destructive_scopes = ?, updated_at = ? WHERE version = ?`

// UpdateSignInPolicy implements storage.SignInPolicyStore.
func (s *Store) UpdateSignInPolicy(ctx context.Context, p *storage.SignInPolicy, event storage.AuditEvent) error {
	err := s.write(ctx, func(tx *tx) error {
		err := tx.mustExec(updateSignInPolicy, string(p.SecondFactor), string(p.DestructiveScopes), microsOrNull(p.UpdatedAt), p.Version)
		if errors.Is(err, storage.ErrNotFound) {
			return storage.ErrConflict
		} else if err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
	if err == nil {
		p.Version++
	}
	return err
}
