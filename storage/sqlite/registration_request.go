package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"grantd/storage"
)

const (
	findRequest     = `SELECT id, state, redirect_uris FROM registration_requests WHERE client_id = ?`
	hasAsked        = `SELECT EXISTS (SELECT 1 FROM registration_request_users WHERE request_id = ? AND user_id = ?)`
	pendingRequests = `SELECT (SELECT count(*) FROM registration_requests WHERE state = 'pending'),
	(SELECT count(*) FROM registration_request_users u JOIN registration_requests r ON r.id = u.request_id
	 WHERE u.user_id = ? AND r.state = 'pending')`
	insertRequest = `INSERT INTO registration_requests (id, client_id, source, client_name, redirect_uris, state, created_at)
	VALUES (?, ?, ?, ?, ?, 'pending', ?)`
	reopenRequest = `UPDATE registration_requests
	SET client_name = ?, redirect_uris = ?, state = 'pending', created_at = ?, decided_at = NULL WHERE id = ?`
	forgetAskers = `DELETE FROM registration_request_users WHERE request_id = ?`
	insertAsker  = `INSERT INTO registration_request_users (request_id, user_id, asked_at) SELECT ?, id, ? FROM users WHERE id = ?`
)

// AskRegistration implements storage.RegistrationRequestStore.
func (s *Store) AskRegistration(ctx context.Context, r *storage.RegistrationRequest, userID string, limits storage.RequestLimits, event storage.AuditEvent) error {
	id := r.ID
	err := s.write(ctx, func(tx *tx) error {
		var (
			state storage.RegistrationRequestState
			uris  []string
		)
		id = r.ID
		err := tx.row(findRequest, []any{r.ClientID}, &id, &state, intoList{&uris})
		known := err == nil
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		again := known && state == storage.RequestAllowed && r.Source == storage.SourceDynamic && !slices.Equal(uris, r.RedirectURIs)
		if known && state != storage.RequestPending && !again {
			return storage.ErrConflict
		}
		if known && !again {
			var before bool
			if err := tx.row(hasAsked, []any{id, userID}, &before); err != nil || before {
				return err
			}
		}
		var pending, own int
		if err := tx.row(pendingRequests, []any{userID}, &pending, &own); err != nil {
			return err
		}
		if own >= limits.OfUser || (!known || again) && pending >= limits.Pending {
			return storage.ErrFull
		}
		switch {
		case again:
			if _, err := tx.exec(forgetAskers, id); err != nil {
				return err
			}
			if _, err := tx.exec(reopenRequest, r.ClientName, list(r.RedirectURIs), micros(r.CreatedAt), id); err != nil {
				return err
			}
		case !known:
			if _, err := tx.exec(insertRequest, id, r.ClientID, string(r.Source), r.ClientName, list(r.RedirectURIs), micros(r.CreatedAt)); err != nil {
				return err
			}
		}
		if err := tx.mustExec(insertAsker, id, micros(r.CreatedAt), userID); err != nil {
			return err
		}
		if again { // the decision that is cached no longer holds
			return tx.changedCatalog(event)
		}
		return tx.record(event)
	})
	if err == nil {
		r.ID = id
	}
	return err
}

const (
	selectRequest = `SELECT id, client_id, source, client_name, redirect_uris, state, created_at, decided_at,
	(SELECT count(*) FROM registration_request_users WHERE request_id = r.id),
	(SELECT json_group_array(json_object('user_id', user_id, 'username', username, 'at', asked_at) ORDER BY asked_at, user_id)
	 FROM (SELECT u.user_id, users.username, u.asked_at FROM registration_request_users u JOIN users ON users.id = u.user_id
	       WHERE u.request_id = r.id ORDER BY u.asked_at, u.user_id LIMIT @askers))
	FROM registration_requests r `
	selectRequestByID = selectRequest + `WHERE id = @id`
	selectRequests    = selectRequest + `WHERE id > @after AND (@state = '' OR state = @state) ORDER BY id LIMIT @limit`

	selectRequestOf = `SELECT id, client_id, source, client_name, redirect_uris, state, created_at, decided_at,
	(SELECT count(*) FROM registration_request_users WHERE request_id = r.id),
	EXISTS (SELECT 1 FROM registration_request_users WHERE request_id = r.id AND user_id = ?)
	FROM registration_requests r WHERE client_id = ?`
)

// RegistrationRequest implements storage.RegistrationRequestStore.
func (s *Store) RegistrationRequest(ctx context.Context, id string) (*storage.RegistrationRequest, error) {
	return readOne(ctx, s, selectRequestByID, []any{sql.Named("askers", storage.MaxAskedBy), sql.Named("id", id)}, scanRequest)
}

// RegistrationRequestOf implements storage.RegistrationRequestStore.
func (s *Store) RegistrationRequestOf(ctx context.Context, clientID, userID string) (*storage.RegistrationRequest, bool, error) {
	var (
		r     storage.RegistrationRequest
		asked bool
	)
	err := s.readRow(ctx, selectRequestOf, []any{userID, clientID}, &r.ID, &r.ClientID, &r.Source, &r.ClientName,
		intoList{&r.RedirectURIs}, &r.State, intoTime{&r.CreatedAt}, intoTime{&r.DecidedAt}, &r.Asked, &asked)
	if err != nil {
		return nil, false, err
	}
	return &r, asked, nil
}

// RegistrationRequests implements storage.RegistrationRequestStore.
func (s *Store) RegistrationRequests(ctx context.Context, state storage.RegistrationRequestState, page storage.Page) ([]*storage.RegistrationRequest, error) {
	return readRows(ctx, s, selectRequests, []any{
		sql.Named("askers", storage.MaxAskedBy), sql.Named("after", page.After), sql.Named("state", string(state)), sql.Named("limit", page.Limit),
	}, scanRequest)
}

const (
	touchPolicy = `UPDATE registration_policy SET version = version + 1, updated_at = ?`
	decideHost  = `INSERT INTO registration_hosts (host, decision) VALUES (?, ?)
	ON CONFLICT (host) DO UPDATE SET decision = excluded.decision`
	decideRequest = `UPDATE registration_requests SET state = ?, decided_at = ? WHERE id = ?`
	decideOthers  = `UPDATE registration_requests SET state = ?, decided_at = ?
	WHERE state = 'pending' AND id IN (SELECT value FROM json_each(?))`
	deleteRequest = `DELETE FROM registration_requests WHERE id = ?`
)

// DecideRegistration implements storage.RegistrationRequestStore.
func (s *Store) DecideRegistration(ctx context.Context, id string, d storage.RegistrationDecision, event storage.AuditEvent) error {
	state, decision := storage.RequestRefused, storage.RegistrationOff
	if d.Allowed {
		state, decision = storage.RequestAllowed, storage.RegistrationAllow
	}
	return s.write(ctx, func(tx *tx) error {
		if err := tx.mustExec(decideRequest, string(state), micros(d.At), id); err != nil {
			return err
		}
		if d.Host != "" {
			if _, err := tx.exec(touchPolicy, micros(d.At)); err != nil {
				return err
			}
			if _, err := tx.exec(decideHost, d.Host, string(decision)); err != nil {
				return err
			}
		}
		if len(d.Others) > 0 {
			if _, err := tx.exec(decideOthers, string(state), micros(d.At), list(d.Others)); err != nil {
				return err
			}
		}
		return tx.changedCatalog(event)
	})
}

// DeleteRegistrationRequest implements storage.RegistrationRequestStore.
func (s *Store) DeleteRegistrationRequest(ctx context.Context, id string, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.mustExec(deleteRequest, id); err != nil {
			return err
		}
		return tx.changedCatalog(event)
	})
}

// askerRow is a registration_request_users row as JSON, with the user's name.
type askerRow struct {
	UserID   string `json:"user_id"`
	Username string `json:"username"`
	At       int64  `json:"at"`
}

func scanRequest(row scanner) (*storage.RegistrationRequest, error) {
	var (
		r      storage.RegistrationRequest
		askers []askerRow
	)
	err := row.Scan(&r.ID, &r.ClientID, &r.Source, &r.ClientName, intoList{&r.RedirectURIs}, &r.State,
		intoTime{&r.CreatedAt}, intoTime{&r.DecidedAt}, &r.Asked, intoJSON{&askers})
	if err != nil {
		return nil, err
	}
	r.AskedBy = make([]storage.Asker, len(askers))
	for i, a := range askers {
		r.AskedBy[i] = storage.Asker{UserID: a.UserID, Username: a.Username, At: time.UnixMicro(a.At).UTC()}
	}
	return &r, nil
}
