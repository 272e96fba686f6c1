package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"grantd/storage"
)

const (
	selectFolded = `SELECT id, client_id, created_at, coalesce(renewed_at, created_at) <= ?
	FROM clients WHERE registration_digest = ?`

	renewFolded = `UPDATE clients SET renewed_at = ?
	WHERE registration_digest = ? AND coalesce(renewed_at, created_at) <= ?
	RETURNING id, client_id, created_at`
)

// FoldClient implements storage.ClientStore. Only a row that is due costs a write.
func (s *Store) FoldClient(ctx context.Context, r *storage.Registration, renewBefore time.Time) (renewed bool, err error) {
	found := *r.Client
	into := []any{&found.ID, &found.ClientID, intoTime{&found.CreatedAt}}
	before := micros(renewBefore)
	err = s.readRow(ctx, selectFolded, []any{before, r.Digest}, append(into, &renewed)...)
	if err == nil && renewed {
		err = s.write(ctx, func(tx *tx) error {
			return tx.row(renewFolded, []any{micros(r.Client.CreatedAt), r.Digest, before}, into...)
		})
	}
	if err != nil {
		// Also when another one renewed it meanwhile: the insert then folds.
		return false, err
	}
	*r.Client = found
	return renewed, nil
}

const (
	useInitialAccessToken = `UPDATE initial_access_tokens SET uses = uses + 1, last_used_at = ?1
	WHERE hash = ?2 AND expires_at > ?1 AND uses < max_uses
	RETURNING id`

	countUnused = `SELECT count(*) FROM (
	SELECT 1 FROM clients
	WHERE source = 'dynamic' AND NOT disabled AND used_at IS NULL
		AND NOT EXISTS (SELECT 1 FROM grants WHERE grants.client_id = clients.id)
		AND NOT EXISTS (SELECT 1 FROM clients WHERE registration_digest = ?)
	LIMIT ?)`

	// Only the digest may be taken: a taken id is an error.
	insertOrFold = insertClient + `
	ON CONFLICT (registration_digest) DO UPDATE SET renewed_at = excluded.created_at, vouched = clients.vouched OR excluded.vouched
	RETURNING id, client_id, created_at`
)

// CreateDynamicClient implements storage.ClientStore.
func (s *Store) CreateDynamicClient(ctx context.Context, r *storage.Registration, event storage.AuditEvent) (folded bool, err error) {
	stored := *r.Client
	err = s.write(ctx, func(tx *tx) error {
		event := event
		if r.InitialAccessTokenHash != nil {
			id, err := tx.useToken(r)
			if err != nil {
				return err
			}
			event = event.With("initial_access_token", id)
		} else if err := tx.checkUnused(r); err != nil {
			return err
		}
		err := tx.row(insertOrFold, clientArgs(r.Client, r.Digest), &stored.ID, &stored.ClientID, intoTime{&stored.CreatedAt})
		switch {
		case err != nil:
			return err
		case stored.ID == r.Client.ID:
			return tx.afterClient(r.Client, event)
		case r.Client.Vouched:
			event.Action, event.Target = "client.vouched", stored.ID
			return tx.changedCatalog(event)
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	folded = stored.ID != r.Client.ID
	*r.Client = stored
	return folded, nil
}

func (t *tx) useToken(r *storage.Registration) (id string, err error) {
	err = t.row(useInitialAccessToken, []any{micros(r.Client.CreatedAt), r.InitialAccessTokenHash}, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", storage.ErrConsumed
	}
	return id, err
}

func (t *tx) checkUnused(r *storage.Registration) error {
	var unused int
	if err := t.row(countUnused, []any{blobOrNull(r.Digest), max(r.MaxUnused, 0)}, &unused); err != nil {
		return err
	}
	if unused >= max(r.MaxUnused, 0) {
		return storage.ErrFull
	}
	return nil
}

const (
	selectUsedRedirects = `SELECT json_group_array(redirect_uri) FROM (
	SELECT redirect_uri FROM grants WHERE client_id = ?1
	UNION SELECT redirect_uri FROM authorization_codes WHERE client_id = ?1 AND grant_id IS NOT NULL AND redeemed_at IS NULL)`

	endGrantsOfRedirects = `DELETE FROM grants WHERE client_id = ? AND redirect_uri IN (SELECT value FROM json_each(?))`

	endCodesOfRedirects = `UPDATE authorization_codes SET grant_id = NULL
	WHERE client_id = ? AND redeemed_at IS NULL AND redirect_uri IN (SELECT value FROM json_each(?))`
)

// UpdateDynamicClient implements storage.ClientStore.
func (s *Store) UpdateDynamicClient(ctx context.Context, c *storage.Client, event storage.AuditEvent) error {
	var version int64
	err := s.write(ctx, func(tx *tx) (err error) {
		if version, err = tx.updateClient(c); err != nil {
			return err
		}
		var used []string
		if err := tx.row(selectUsedRedirects, []any{c.ID}, intoList{&used}); err != nil {
			return err
		}
		if given := c.WithoutRedirectURIs(used); len(given) > 0 {
			for _, end := range []string{endGrantsOfRedirects, endCodesOfRedirects} {
				if _, err := tx.exec(end, c.ID, list(given)); err != nil {
					return err
				}
			}
		}
		return tx.changedCatalog(event)
	})
	if err == nil {
		c.Version = version
	}
	return err
}
