package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

// CreateDeviceAuthorization implements storage.DeviceAuthorizationStore. The lock
// makes those who count wait for those who have counted and not yet committed.
func (s *Store) CreateDeviceAuthorization(ctx context.Context, d *storage.DeviceAuthorization, caps storage.DeviceCaps) error {
	const (
		// The number is only required to differ from those of other locks.
		lock  = `SELECT pg_advisory_xact_lock(5810263391240657733)`
		count = `
SELECT
	(SELECT count(*) FROM (
		SELECT 1 FROM device_authorizations WHERE client_id = $1 AND expires_at > $2 AND state = 'pending' LIMIT $3
	) AS of_client),
	(SELECT count(*) FROM (
		SELECT 1 FROM device_authorizations WHERE expires_at > $2 AND state = 'pending' LIMIT $4
	) AS in_all)`
		insert = `
INSERT INTO device_authorizations (id, user_code_hash, client_id, resource_id, scopes, state, poll_interval, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	)
	return s.tx(ctx, "create a device authorization", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lock); err != nil {
			return err
		}
		var ofClient, inAll int
		err := tx.QueryRow(ctx, count, d.ClientID, d.CreatedAt, max(caps.PerClient, 0), max(caps.InAll, 0)).Scan(&ofClient, &inAll)
		if err != nil {
			return err
		}
		if ofClient >= caps.PerClient || inAll >= caps.InAll {
			return storage.ErrFull
		}
		_, err = tx.Exec(ctx, insert, d.ID, octets(d.UserCodeHash), d.ClientID, d.ResourceID, list(d.Scopes), d.State,
			d.PollInterval.Microseconds(), d.CreatedAt, d.ExpiresAt)
		return err
	})
}

const selectDevice = `
SELECT d.id, d.user_code_hash, d.client_id, d.resource_id, d.scopes, d.state, d.user_id, d.grant_id,
	d.poll_interval, d.polled_at, d.created_at, d.expires_at, d.redeemed_at, d.amr, d.authenticated_at, g.scopes,
	ARRAY(SELECT group_name FROM user_groups WHERE user_id = d.user_id ORDER BY group_name),
	coalesce(u.username, ''), coalesce(u.name, ''), coalesce(u.email, ''), coalesce(u.email_verified, false)
FROM device_authorizations d
LEFT JOIN users u ON u.id = d.user_id
LEFT JOIN grants g ON g.id = d.grant_id AND NOT u.disabled
`

// DeviceAuthorization implements storage.DeviceAuthorizationStore.
func (s *Store) DeviceAuthorization(ctx context.Context, id string) (*storage.DeviceAuthorization, storage.Standing, error) {
	return s.device(ctx, selectDevice+`WHERE d.id = $1`, id)
}

// PendingDeviceAuthorization implements storage.DeviceAuthorizationStore.
func (s *Store) PendingDeviceAuthorization(ctx context.Context, userCodeHashes [][]byte, now time.Time) (*storage.DeviceAuthorization, error) {
	const sql = selectDevice + `WHERE d.user_code_hash = ANY ($1) AND d.state = 'pending' AND d.expires_at > $2`
	d, _, err := s.device(ctx, sql, userCodeHashes, now)
	return d, err
}

func (s *Store) device(ctx context.Context, sql string, args ...any) (*storage.DeviceAuthorization, storage.Standing, error) {
	var (
		d            storage.DeviceAuthorization
		microseconds int64
		standing     storage.Standing
	)
	err := s.row(ctx, "read a device authorization", sql, args,
		&d.ID, &d.UserCodeHash, &d.ClientID, &d.ResourceID, &d.Scopes, &d.State, (*zeronull.Text)(&d.UserID),
		(*zeronull.Text)(&d.GrantID), &microseconds, (*zeronull.Timestamptz)(&d.PolledAt), &d.CreatedAt, &d.ExpiresAt,
		(*zeronull.Timestamptz)(&d.RedeemedAt), &d.AMR, (*zeronull.Timestamptz)(&d.AuthenticatedAt), &standing.Scopes, &standing.Groups,
		&standing.Person.Username, &standing.Person.Name, &standing.Person.Email, &standing.Person.EmailVerified)
	if err != nil {
		return nil, storage.Standing{}, err
	}
	d.PollInterval = time.Duration(microseconds) * time.Microsecond
	return &d, standing, nil
}

// PollDeviceAuthorization implements storage.DeviceAuthorizationStore. Its commit
// does not wait for the disk, because a poll that is forgotten does no harm: the
// setting lasts as long as the statement.
func (s *Store) PollDeviceAuthorization(ctx context.Context, p storage.DevicePoll) error {
	const sql = `
WITH unhurried AS MATERIALIZED (
	SELECT set_config('synchronous_commit', 'off', true)
)
UPDATE device_authorizations SET polled_at = $2, poll_interval = $3
FROM unhurried
WHERE id = $1 AND state = 'pending' AND polled_at IS NOT DISTINCT FROM $4`
	return s.act(ctx, "poll a device authorization", storage.ErrConsumed, sql, p.ID, p.Now, p.PollInterval.Microseconds(), nullTime(p.PolledAt))
}

// ApproveDeviceAuthorization implements storage.DeviceAuthorizationStore. pending
// locks the row before the Grant is written, so of many approvals only one has a
// row to go on with.
func (s *Store) ApproveDeviceAuthorization(ctx context.Context, a *storage.DeviceApproval, event storage.AuditEvent) error {
	const (
		doing = "approve a device"
		sql   = approving + `, pending AS (
	SELECT d.id
	FROM live
	JOIN device_authorizations d ON d.client_id = live.client_id AND d.resource_id = live.resource_id
	WHERE d.id = $20 AND d.state = 'pending' AND d.expires_at > $17
	FOR UPDATE OF d
), granted AS (` + insertGrant + `, pending
	WHERE ` + allHeld + mergeGrant + `
	RETURNING id, user_id
), decided AS (
	UPDATE device_authorizations d SET state = 'approved', user_id = granted.user_id, grant_id = granted.id, scopes = $21::text[],
		amr = live.amr, authenticated_at = live.authenticated_at
	FROM granted, live
	WHERE d.id = $20 AND d.state = 'pending'
	RETURNING d.id
), recorded AS (` + recordEvent + `decided)
SELECT EXISTS (SELECT 1 FROM decided), EXISTS (SELECT 1 FROM live) AND ` + allHeld
	)
	var decided, live bool
	sorted := slices.Compact(slices.Sorted(slices.Values(a.Scopes)))
	err := s.row(ctx, doing, sql,
		withEvent(event, a.UserID, a.ClientID, a.ResourceID, a.SessionID,
			a.Now.Add(-storage.SessionIdle), a.Now.Add(-storage.SessionLifetime),
			list(sorted), storage.NewID(storage.PrefixGrant), "", a.ClientName, a.Now, list(a.Shown),
			a.UserVersion, a.ID, list(a.Scopes)),
		&decided, &live)
	switch {
	case err != nil || decided:
		return err
	case !live:
		return fmt.Errorf("%s: %w", doing, storage.ErrNotFound)
	}
	return fmt.Errorf("%s: %w", doing, storage.ErrConsumed)
}

// DenyDeviceAuthorization implements storage.DeviceAuthorizationStore.
func (s *Store) DenyDeviceAuthorization(ctx context.Context, id, sessionID string, now time.Time, event storage.AuditEvent) error {
	const (
		doing = "deny a device"
		sql   = `
WITH live AS (
	SELECT u.id
	FROM users u
	JOIN sessions s ON s.user_id = u.id
	WHERE s.id = $8 AND NOT u.disabled AND s.last_seen_at > $10 AND s.created_at > $11
	FOR SHARE OF u FOR KEY SHARE OF s
), decided AS (
	UPDATE device_authorizations d SET state = 'denied', user_id = live.id
	FROM live
	WHERE d.id = $7 AND d.state = 'pending' AND d.expires_at > $9
	RETURNING d.id
), recorded AS (` + recordEvent + `decided)
SELECT EXISTS (SELECT 1 FROM decided), EXISTS (SELECT 1 FROM live)`
	)
	var decided, live bool
	err := s.row(ctx, doing, sql,
		withEvent(event, id, sessionID, now, now.Add(-storage.SessionIdle), now.Add(-storage.SessionLifetime)),
		&decided, &live)
	switch {
	case err != nil || decided:
		return err
	case !live:
		return fmt.Errorf("%s: %w", doing, storage.ErrNotFound)
	}
	return fmt.Errorf("%s: %w", doing, storage.ErrConsumed)
}

// RedeemDeviceAuthorization implements storage.DeviceAuthorizationStore, as
// RedeemCode does for codes.
func (s *Store) RedeemDeviceAuthorization(ctx context.Context, id string, f *storage.Family) error {
	const sql = `
WITH held AS (
	SELECT g.id
	FROM device_authorizations d
	JOIN grants g ON g.id = d.grant_id
	WHERE d.id = $1
	FOR KEY SHARE OF g
), redeemed AS (
	UPDATE device_authorizations d SET state = 'redeemed', redeemed_at = $2
	FROM held
	WHERE d.id = $1 AND d.grant_id = held.id AND d.state = 'approved' AND d.expires_at > $2
		AND (d.scopes && $3 OR cardinality($3) = 0)
	RETURNING d.grant_id, d.user_id, d.client_id, d.resource_id, d.scopes
)
INSERT INTO families (id, grant_id, user_id, client_id, resource_id, scopes, generation, rotation_request, rotated_at,
	created_at, expires_at, amr, authenticated_at, user_agent, address)
SELECT $4::text, grant_id, user_id, client_id, resource_id,
	ARRAY(SELECT name FROM unnest($3::text[]) WITH ORDINALITY AS asked (name, n) WHERE name = ANY (redeemed.scopes) ORDER BY n),
	$5::bigint, $6::bytea, $7::timestamptz, $2::timestamptz, $8::timestamptz, $9::text[], $10::timestamptz, $11::text, $12::text
FROM redeemed
RETURNING scopes`
	return s.redeem(ctx, "redeem a device code", f, sql, id, f.CreatedAt,
		list(f.Scopes), f.ID, f.Generation, octets(f.RotationRequest), f.RotatedAt, f.ExpiresAt, list(f.AMR), nullTime(f.AuthenticatedAt), f.UserAgent, f.Address)
}
