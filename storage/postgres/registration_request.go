package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

// AskRegistration implements storage.RegistrationRequestStore. The lock makes
// those who count wait for those who have counted and not yet committed.
func (s *Store) AskRegistration(ctx context.Context, r *storage.RegistrationRequest, userID string, limits storage.RequestLimits, event storage.AuditEvent) error {
	const (
		// The number is only required to differ from those of other locks.
		lock   = `SELECT pg_advisory_xact_lock(5120936471820365944)`
		find   = `SELECT id, state, redirect_uris FROM registration_requests WHERE client_id = $1 FOR UPDATE`
		asked  = `SELECT EXISTS (SELECT 1 FROM registration_request_users WHERE request_id = $1 AND user_id = $2)`
		counts = `
SELECT (SELECT count(*) FROM registration_requests WHERE state = 'pending'),
	(SELECT count(*) FROM registration_request_users u JOIN registration_requests r ON r.id = u.request_id
	 WHERE u.user_id = $1 AND r.state = 'pending')`
		insert = `
INSERT INTO registration_requests (id, client_id, source, client_name, redirect_uris, state, created_at)
VALUES ($1, $2, $3, $4, $5, 'pending', $6)`
		reopen = `
UPDATE registration_requests SET client_name = $2, redirect_uris = $3, state = 'pending', created_at = $4, decided_at = NULL
WHERE id = $1`
		forget = `DELETE FROM registration_request_users WHERE request_id = $1`
		ask    = `INSERT INTO registration_request_users (request_id, user_id, asked_at) VALUES ($1, $2, $3)`
	)
	id := r.ID
	err := s.tx(ctx, "ask for a client", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lock); err != nil {
			return err
		}
		var (
			state storage.RegistrationRequestState
			uris  []string
		)
		id = r.ID
		err := tx.QueryRow(ctx, find, r.ClientID).Scan(&id, &state, &uris)
		known := err == nil
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		again := known && state == storage.RequestAllowed && r.Source == storage.SourceDynamic && !slices.Equal(uris, r.RedirectURIs)
		if known && state != storage.RequestPending && !again {
			return storage.ErrConflict
		}
		if known && !again {
			var before bool
			if err := tx.QueryRow(ctx, asked, id, userID).Scan(&before); err != nil || before {
				return err
			}
		}
		var pending, own int
		if err := tx.QueryRow(ctx, counts, userID).Scan(&pending, &own); err != nil {
			return err
		}
		if own >= limits.OfUser || (!known || again) && pending >= limits.Pending {
			return storage.ErrFull
		}
		switch {
		case again:
			if _, err := tx.Exec(ctx, forget, id); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, reopen, id, r.ClientName, list(r.RedirectURIs), r.CreatedAt); err != nil {
				return err
			}
		case !known:
			if _, err := tx.Exec(ctx, insert, id, r.ClientID, r.Source, r.ClientName, list(r.RedirectURIs), r.CreatedAt); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, ask, id, userID, r.CreatedAt); err != nil {
			return err
		}
		if again { // the decision that is cached no longer holds
			return catalogChanged(ctx, tx, event)
		}
		return record(ctx, tx, event)
	})
	if err == nil {
		r.ID = id
	}
	return err
}

const (
	selectRequests = `
SELECT r.id, r.client_id, r.source, r.client_name, r.redirect_uris, r.state, r.created_at, r.decided_at,
	(SELECT count(*) FROM registration_request_users u WHERE u.request_id = r.id),
	(SELECT coalesce(json_agg(json_build_object('user_id', a.user_id, 'username', a.username, 'at', (extract(epoch FROM a.asked_at) * 1000000)::bigint)), '[]')
	 FROM (SELECT u.user_id, users.username, u.asked_at FROM registration_request_users u JOIN users ON users.id = u.user_id
	       WHERE u.request_id = r.id ORDER BY u.asked_at, u.user_id LIMIT $1) AS a)
FROM registration_requests r `

	selectRequestByID = selectRequests + `WHERE r.id = $2`
)

// RegistrationRequest implements storage.RegistrationRequestStore.
func (s *Store) RegistrationRequest(ctx context.Context, id string) (*storage.RegistrationRequest, error) {
	return only(rows(ctx, s, "read a registration request", each(scanRequest), selectRequestByID, storage.MaxAskedBy, id))
}

// RegistrationRequestOf implements storage.RegistrationRequestStore.
func (s *Store) RegistrationRequestOf(ctx context.Context, clientID, userID string) (*storage.RegistrationRequest, bool, error) {
	const sql = `
SELECT id, client_id, source, client_name, redirect_uris, state, created_at, decided_at,
	(SELECT count(*) FROM registration_request_users u WHERE u.request_id = r.id),
	EXISTS (SELECT 1 FROM registration_request_users u WHERE u.request_id = r.id AND u.user_id = $2)
FROM registration_requests r WHERE client_id = $1`
	var (
		r     storage.RegistrationRequest
		asked bool
	)
	err := s.row(ctx, "read a registration request", sql, []any{clientID, userID}, &r.ID, &r.ClientID, &r.Source, &r.ClientName,
		&r.RedirectURIs, &r.State, &r.CreatedAt, (*zeronull.Timestamptz)(&r.DecidedAt), &r.Asked, &asked)
	if err != nil {
		return nil, false, err
	}
	return &r, asked, nil
}

// RegistrationRequests implements storage.RegistrationRequestStore.
func (s *Store) RegistrationRequests(ctx context.Context, state storage.RegistrationRequestState, page storage.Page) ([]*storage.RegistrationRequest, error) {
	const sql = selectRequests + `WHERE r.id > $2 AND ($4 = '' OR r.state = $4) ORDER BY r.id LIMIT $3`
	return rows(ctx, s, "list registration requests", each(scanRequest), sql, storage.MaxAskedBy, page.After, page.Limit, state)
}

// DecideRegistration implements storage.RegistrationRequestStore. The policy's
// row is locked before requests, as when the policy is written.
func (s *Store) DecideRegistration(ctx context.Context, id string, d storage.RegistrationDecision, event storage.AuditEvent) error {
	const (
		touch = `UPDATE registration_policy SET version = version + 1, updated_at = $1`
		host  = `
INSERT INTO registration_hosts (host, decision) VALUES ($1, $2)
ON CONFLICT (host) DO UPDATE SET decision = EXCLUDED.decision`
		one    = `UPDATE registration_requests SET state = $2, decided_at = $3 WHERE id = $1`
		others = `UPDATE registration_requests SET state = $2, decided_at = $3 WHERE id = ANY($1) AND state = 'pending'`
	)
	state, decision := storage.RequestRefused, storage.RegistrationOff
	if d.Allowed {
		state, decision = storage.RequestAllowed, storage.RegistrationAllow
	}
	return s.tx(ctx, "decide a registration request", func(ctx context.Context, tx pgx.Tx) error {
		if d.Host != "" {
			if _, err := tx.Exec(ctx, touch, d.At); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, host, d.Host, decision); err != nil {
				return err
			}
		}
		tag, err := tx.Exec(ctx, one, id, state, d.At)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return storage.ErrNotFound
		}
		if len(d.Others) > 0 {
			if _, err := tx.Exec(ctx, others, d.Others, state, d.At); err != nil {
				return err
			}
		}
		return catalogChanged(ctx, tx, event)
	})
}

// DeleteRegistrationRequest implements storage.RegistrationRequestStore.
func (s *Store) DeleteRegistrationRequest(ctx context.Context, id string, event storage.AuditEvent) error {
	const sql = `DELETE FROM registration_requests WHERE id = $1 RETURNING '', '', 0`
	return s.deleteFromCatalog(ctx, "delete a registration request", sql, id, storage.AnyVersion, event)
}

func scanRequest(row pgx.CollectableRow) (*storage.RegistrationRequest, error) {
	var (
		r      storage.RegistrationRequest
		askers []byte
	)
	err := row.Scan(&r.ID, &r.ClientID, &r.Source, &r.ClientName, &r.RedirectURIs, &r.State, &r.CreatedAt,
		(*zeronull.Timestamptz)(&r.DecidedAt), &r.Asked, &askers)
	if err != nil {
		return nil, err
	}
	var list []struct {
		UserID   string `json:"user_id"`
		Username string `json:"username"`
		At       int64  `json:"at"`
	}
	if err := json.Unmarshal(askers, &list); err != nil {
		return nil, err
	}
	r.AskedBy = make([]storage.Asker, len(list))
	for i, a := range list {
		r.AskedBy[i] = storage.Asker{UserID: a.UserID, Username: a.Username, At: time.UnixMicro(a.At).UTC()}
	}
	return &r, nil
}
