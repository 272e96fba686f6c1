package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"grantd/storage"
)

const insertDevice = `INSERT INTO device_authorizations
	(id, user_code_hash, client_id, resource_id, scopes, state, poll_interval, created_at, expires_at)
	SELECT @id, @user_code_hash, @client, @resource, @scopes, @state, @poll_interval, @now, @expires_at
	WHERE (
		SELECT count(*) FROM (SELECT 1 FROM device_authorizations
			WHERE client_id = @client AND expires_at > @now AND state = 'pending' LIMIT @per_client)
	) < @per_client AND (
		SELECT count(*) FROM (SELECT 1 FROM device_authorizations
			WHERE expires_at > @now AND state = 'pending' LIMIT @in_all)
	) < @in_all`

// CreateDeviceAuthorization implements storage.DeviceAuthorizationStore.
func (s *Store) CreateDeviceAuthorization(ctx context.Context, d *storage.DeviceAuthorization, caps storage.DeviceCaps) error {
	return s.write(ctx, func(tx *tx) error {
		n, err := tx.exec(insertDevice,
			sql.Named("id", d.ID),
			sql.Named("user_code_hash", blob(d.UserCodeHash)),
			sql.Named("client", d.ClientID),
			sql.Named("resource", d.ResourceID),
			sql.Named("scopes", list(d.Scopes)),
			sql.Named("state", string(d.State)),
			sql.Named("poll_interval", d.PollInterval.Microseconds()),
			sql.Named("now", micros(d.CreatedAt)),
			sql.Named("expires_at", micros(d.ExpiresAt)),
			sql.Named("per_client", caps.PerClient),
			sql.Named("in_all", caps.InAll))
		switch {
		case isOrphan(err):
			return storage.ErrNotFound
		case err == nil && n == 0:
			return storage.ErrFull
		}
		return err
	})
}

const (
	selectDevice = `SELECT
	d.id, d.user_code_hash, d.client_id, d.resource_id, d.scopes, d.state, d.user_id, d.grant_id,
	d.poll_interval, d.polled_at, d.created_at, d.expires_at, d.redeemed_at, d.amr, d.authenticated_at,
	CASE WHEN NOT u.disabled THEN g.scopes END,
	(SELECT json_group_array(group_name ORDER BY group_name) FROM user_groups WHERE user_id = d.user_id),
	coalesce(u.username, ''), coalesce(u.name, ''), coalesce(u.email, ''), coalesce(u.email_verified, 0)
	FROM device_authorizations d
	LEFT JOIN users u ON u.id = d.user_id
	LEFT JOIN grants g ON g.id = d.grant_id `
	selectDeviceByID    = selectDevice + `WHERE d.id = ?`
	selectPendingDevice = selectDevice + `
	WHERE d.user_code_hash IN (SELECT unhex(value) FROM json_each(?)) AND d.state = 'pending' AND d.expires_at > ?`
)

// DeviceAuthorization implements storage.DeviceAuthorizationStore.
func (s *Store) DeviceAuthorization(ctx context.Context, id string) (*storage.DeviceAuthorization, storage.Standing, error) {
	return s.device(ctx, selectDeviceByID, id)
}

// PendingDeviceAuthorization implements storage.DeviceAuthorizationStore.
func (s *Store) PendingDeviceAuthorization(ctx context.Context, userCodeHashes [][]byte, now time.Time) (*storage.DeviceAuthorization, error) {
	inHex := make([]string, len(userCodeHashes))
	for i, hash := range userCodeHashes {
		inHex[i] = hex.EncodeToString(hash)
	}
	d, _, err := s.device(ctx, selectPendingDevice, list(inHex), micros(now))
	return d, err
}

func (s *Store) device(ctx context.Context, query string, args ...any) (*storage.DeviceAuthorization, storage.Standing, error) {
	var (
		d            storage.DeviceAuthorization
		microseconds int64
		standing     storage.Standing
	)
	err := s.readRow(ctx, query, args,
		&d.ID, intoBlob{&d.UserCodeHash}, &d.ClientID, &d.ResourceID, intoList{&d.Scopes}, &d.State, intoText{&d.UserID}, intoText{&d.GrantID},
		&microseconds, intoTime{&d.PolledAt}, intoTime{&d.CreatedAt}, intoTime{&d.ExpiresAt}, intoTime{&d.RedeemedAt}, intoList{&d.AMR}, intoTime{&d.AuthenticatedAt},
		intoList{&standing.Scopes}, intoList{&standing.Groups},
		&standing.Person.Username, &standing.Person.Name, &standing.Person.Email, &standing.Person.EmailVerified)
	if err != nil {
		return nil, storage.Standing{}, err
	}
	d.PollInterval = time.Duration(microseconds) * time.Microsecond
	return &d, standing, nil
}

const pollDevice = `UPDATE device_authorizations SET polled_at = ?, poll_interval = ?
	WHERE id = ? AND state = 'pending' AND polled_at IS ?`

// PollDeviceAuthorization implements storage.DeviceAuthorizationStore.
func (s *Store) PollDeviceAuthorization(ctx context.Context, p storage.DevicePoll) error {
	return s.write(ctx, func(tx *tx) error {
		return tx.mustConsume(pollDevice, micros(p.Now), p.PollInterval.Microseconds(), p.ID, microsOrNull(p.PolledAt))
	})
}

const approveDevice = `UPDATE device_authorizations SET state = 'approved', user_id = @user, grant_id = @grant, scopes = @scopes,
	amr = (SELECT amr FROM sessions WHERE id = @session), authenticated_at = (SELECT authenticated_at FROM sessions WHERE id = @session)
	WHERE id = @id AND client_id = @client AND resource_id = @resource AND state = 'pending' AND expires_at > @now`

// ApproveDeviceAuthorization implements storage.DeviceAuthorizationStore. A row
// that waits no more takes the Grant's change back with it.
func (s *Store) ApproveDeviceAuthorization(ctx context.Context, a *storage.DeviceApproval, event storage.AuditEvent) error {
	sorted := slices.Compact(slices.Sorted(slices.Values(a.Scopes)))
	return s.write(ctx, func(tx *tx) error {
		var grantID string
		err := tx.row(writeGrant, append(sessionArgs(a.Now),
			sql.Named("id", storage.NewID(storage.PrefixGrant)),
			sql.Named("session", a.SessionID),
			sql.Named("user", a.UserID),
			sql.Named("user_version", a.UserVersion),
			sql.Named("client", a.ClientID),
			sql.Named("document", nil), // its client has a row
			sql.Named("resource", a.ResourceID),
			sql.Named("sorted", list(sorted)),
			sql.Named("shown", list(a.Shown)),
			sql.Named("redirect_uri", ""),
			sql.Named("client_name", a.ClientName),
			sql.Named("in_advance", false),
		), &grantID)
		if err != nil {
			return err
		}
		err = tx.mustConsume(approveDevice,
			sql.Named("id", a.ID),
			sql.Named("user", a.UserID),
			sql.Named("grant", grantID),
			sql.Named("session", a.SessionID),
			sql.Named("scopes", list(a.Scopes)),
			sql.Named("client", a.ClientID),
			sql.Named("resource", a.ResourceID),
			sql.Named("now", micros(a.Now)))
		if err != nil {
			return err
		}
		return tx.record(event)
	})
}

const (
	selectLiveUser = `SELECT u.id FROM sessions s JOIN users u ON u.id = s.user_id
	WHERE s.id = @session AND NOT u.disabled AND ` + liveSession
	denyDevice = `UPDATE device_authorizations SET state = 'denied', user_id = ?
	WHERE id = ? AND state = 'pending' AND expires_at > ?`
)

// DenyDeviceAuthorization implements storage.DeviceAuthorizationStore.
func (s *Store) DenyDeviceAuthorization(ctx context.Context, id, sessionID string, now time.Time, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		var userID string
		if err := tx.row(selectLiveUser, append(sessionArgs(now), sql.Named("session", sessionID)), &userID); err != nil {
			return err
		}
		if err := tx.mustConsume(denyDevice, userID, id, micros(now)); err != nil {
			return err
		}
		return tx.record(event)
	})
}

// redeemDevice needs no look at the user: one who is disabled has no Grant.
const redeemDevice = `UPDATE device_authorizations SET state = 'redeemed', redeemed_at = @now
	WHERE id = @id AND grant_id = @grant AND state = 'approved' AND expires_at > @now
	RETURNING scopes`

// RedeemDeviceAuthorization implements storage.DeviceAuthorizationStore.
func (s *Store) RedeemDeviceAuthorization(ctx context.Context, id string, f *storage.Family) error {
	return s.redeem(ctx, f, redeemDevice,
		sql.Named("id", id),
		sql.Named("grant", f.GrantID),
		sql.Named("now", micros(f.CreatedAt)))
}

// mustConsume runs a statement that changes a row once. ErrConsumed: it changed
// none.
func (t *tx) mustConsume(query string, args ...any) error {
	err := t.mustExec(query, args...)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.ErrConsumed
	}
	return err
}
