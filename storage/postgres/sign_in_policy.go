package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

// SignInPolicy implements storage.SignInPolicyStore.
func (s *Store) SignInPolicy(ctx context.Context) (*storage.SignInPolicy, error) {
	const sql = `SELECT version, second_factor, destructive_scopes, updated_at FROM sign_in_policy`
	var p storage.SignInPolicy
	err := s.row(ctx, "read the sign-in policy", sql, nil, &p.Version, &p.SecondFactor, &p.DestructiveScopes, (*zeronull.Timestamptz)(&p.UpdatedAt))
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// UpdateSignInPolicy implements storage.SignInPolicyStore.
func (s *Store) UpdateSignInPolicy(ctx context.Context, p *storage.SignInPolicy, event storage.AuditEvent) error {
	const update = `
UPDATE sign_in_policy SET version = version + 1, second_factor = $1, destructive_scopes = $2, updated_at = $3
WHERE version = $4`
	err := s.tx(ctx, "update the sign-in policy", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, update, p.SecondFactor, p.DestructiveScopes, nullTime(p.UpdatedAt), p.Version)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return storage.ErrConflict
		}
		return catalogChanged(ctx, tx, event)
	})
	if err == nil {
		p.Version++
	}
	return err
}
