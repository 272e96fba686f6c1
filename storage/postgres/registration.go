package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"grantd/storage"
)

// FoldClient implements storage.ClientStore. Who meets another in renewing the row
// sees neither half, and registers by the insert instead, which does.
func (s *Store) FoldClient(ctx context.Context, r *storage.Registration, renewBefore time.Time) (renewed bool, err error) {
	const sql = `
WITH renewed AS (
	UPDATE clients SET renewed_at = $2
	WHERE registration_digest = $1 AND COALESCE(renewed_at, created_at) <= $3
	RETURNING id, client_id, created_at
)
SELECT id, client_id, created_at, true FROM renewed
UNION ALL
SELECT id, client_id, created_at, false FROM clients
WHERE registration_digest = $1 AND COALESCE(renewed_at, created_at) > $3`
	c := r.Client
	err = s.row(ctx, "fold a registration", sql, []any{r.Digest, c.CreatedAt, renewBefore}, &c.ID, &c.ClientID, &c.CreatedAt, &renewed)
	return renewed, err
}

const (
	// The lock makes those who count wait for those who have counted and not yet
	// committed. The number is only required to differ from those of other locks.
	lockUnused = `SELECT pg_advisory_xact_lock(7236917432117531492)`

	countUnused = `
SELECT count(*) FROM (
	SELECT 1 FROM clients
	WHERE source = 'dynamic' AND NOT disabled AND used_at IS NULL
		AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.client_id = clients.id)
		AND NOT EXISTS (SELECT 1 FROM clients WHERE registration_digest = $2)
	LIMIT $1
) AS unused`

	useInitialAccessToken = `
UPDATE initial_access_tokens SET uses = uses + 1, last_used_at = $2
WHERE hash = $1 AND expires_at > $2 AND uses < max_uses
RETURNING id`

	// Only the digest may be taken: a taken id is an error.
	insertOrFold = insertClient + `
ON CONFLICT (registration_digest) DO UPDATE SET renewed_at = EXCLUDED.created_at, vouched = clients.vouched OR EXCLUDED.vouched
RETURNING id, client_id, created_at`
)

// CreateDynamicClient implements storage.ClientStore.
func (s *Store) CreateDynamicClient(ctx context.Context, r *storage.Registration, event storage.AuditEvent) (folded bool, err error) {
	var stored storage.Client
	err = s.tx(ctx, "create a dynamic client", func(ctx context.Context, tx pgx.Tx) error {
		event := event
		if r.InitialAccessTokenHash != nil {
			id, err := useToken(ctx, tx, r)
			if err != nil {
				return err
			}
			event = event.With("initial_access_token", id)
		} else if err := checkUnused(ctx, tx, r); err != nil {
			return err
		}
		row := tx.QueryRow(ctx, insertOrFold, clientArgs(r.Client, r.Digest)...)
		if err := row.Scan(&stored.ID, &stored.ClientID, &stored.CreatedAt); err != nil {
			return err
		}
		switch {
		case stored.ID == r.Client.ID:
		case r.Client.Vouched:
			event.Action, event.Target = "client.vouched", stored.ID
			return catalogChanged(ctx, tx, event)
		default:
			return nil
		}
		return afterClient(ctx, tx, r.Client, event)
	})
	if err != nil {
		return false, err
	}
	folded = stored.ID != r.Client.ID
	if folded {
		r.Client.ID, r.Client.ClientID, r.Client.CreatedAt = stored.ID, stored.ClientID, stored.CreatedAt
	}
	return folded, nil
}

func useToken(ctx context.Context, tx pgx.Tx, r *storage.Registration) (id string, err error) {
	rows, err := tx.Query(ctx, useInitialAccessToken, r.InitialAccessTokenHash, r.Client.CreatedAt)
	if err != nil {
		return "", err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "", err
	}
	if len(ids) == 0 {
		return "", storage.ErrConsumed
	}
	return ids[0], nil
}

func checkUnused(ctx context.Context, tx pgx.Tx, r *storage.Registration) error {
	if _, err := tx.Exec(ctx, lockUnused); err != nil {
		return err
	}
	var unused int
	if err := tx.QueryRow(ctx, countUnused, max(r.MaxUnused, 0), r.Digest).Scan(&unused); err != nil {
		return err
	}
	if unused >= max(r.MaxUnused, 0) {
		return storage.ErrFull
	}
	return nil
}

// UpdateDynamicClient implements storage.ClientStore. The client's row is locked, so
// that nobody approves while its redirects are compared.
func (s *Store) UpdateDynamicClient(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	const (
		used = `
SELECT redirect_uri FROM grants WHERE client_id = $1
UNION SELECT redirect_uri FROM authorization_codes WHERE client_id = $1 AND grant_id IS NOT NULL AND redeemed_at IS NULL`
		endGrants = `DELETE FROM grants WHERE client_id = $1 AND redirect_uri = ANY ($2)`
		endCodes  = `
UPDATE authorization_codes SET grant_id = NULL
WHERE client_id = $1 AND redeemed_at IS NULL AND redirect_uri = ANY ($2)`
	)
	err := s.tx(ctx, "update a dynamic client", func(ctx context.Context, tx pgx.Tx) error {
		if err := updateClient(ctx, tx, c); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, used, c.ID)
		if err != nil {
			return err
		}
		uris, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if given := c.WithoutRedirectURIs(uris); len(given) > 0 {
			for _, end := range []string{endGrants, endCodes} {
				if _, err := tx.Exec(ctx, end, c.ID, given); err != nil {
					return err
				}
			}
		}
		return catalogChanged(ctx, tx, event)
	})
	if err == nil {
		c.Version++
	}
	return err
}
