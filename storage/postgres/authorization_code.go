package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"grantd/storage"
)

// CreateCode implements storage.AuthorizationCodeStore. The Grant is locked as a
// whole, because its scopes must not shrink before the code is there to be
// stripped of them too.
func (s *Store) CreateCode(ctx context.Context, c *storage.AuthorizationCode, sessionID string) error {
	const sql = `
WITH live AS (
	SELECT g.id, g.user_id, g.client_id, g.resource_id, s.amr, s.authenticated_at
	FROM users u
	JOIN sessions s ON s.user_id = u.id
	JOIN grants g ON g.user_id = u.id
	JOIN clients c ON c.id = g.client_id
	JOIN resources r ON r.id = g.resource_id
	WHERE u.id = $1 AND NOT u.disabled AND c.id = $2 AND NOT c.disabled AND r.id = $3
		AND s.id = $4 AND s.last_seen_at > $5 AND s.created_at > $6
		AND g.id = $7 AND g.scopes @> $8
	FOR SHARE OF u, c FOR KEY SHARE OF r, s FOR SHARE OF g
)
INSERT INTO authorization_codes (id, grant_id, user_id, client_id, resource_id, scopes, redirect_uri,
	code_challenge, created_at, expires_at, failed_proofs, nonce, session_id, amr, authenticated_at)
SELECT $9::text, id, user_id, client_id, resource_id, $8::text[], $10::text, $11::text, $12::timestamptz, $13::timestamptz, 0,
	$14::text, $4::text, amr, authenticated_at
FROM live`
	return s.act(ctx, "create a code", storage.ErrNotFound, sql, c.UserID, c.ClientID, c.ResourceID, sessionID,
		c.CreatedAt.Add(-storage.SessionIdle), c.CreatedAt.Add(-storage.SessionLifetime), c.GrantID, list(c.Scopes),
		c.ID, c.RedirectURI, c.CodeChallenge, c.CreatedAt, c.ExpiresAt, c.Nonce)
}

// Code implements storage.AuthorizationCodeStore.
func (s *Store) Code(ctx context.Context, id string) (*storage.AuthorizationCode, storage.Standing, error) {
	const sql = `
SELECT c.id, c.grant_id, c.user_id, c.client_id, c.resource_id, c.scopes, c.redirect_uri, c.code_challenge,
	c.created_at, c.expires_at, c.redeemed_at, c.failed_proofs, c.nonce, c.session_id, c.amr, c.authenticated_at, g.scopes,
	ARRAY(SELECT group_name FROM user_groups WHERE user_id = c.user_id ORDER BY group_name), u.username, u.name, u.email, u.email_verified
FROM authorization_codes c
JOIN users u ON u.id = c.user_id
LEFT JOIN grants g ON g.id = c.grant_id AND NOT u.disabled
WHERE c.id = $1`
	var (
		c        storage.AuthorizationCode
		standing storage.Standing
	)
	err := s.row(ctx, "read a code", sql, []any{id}, intoCode(&c, &standing)...)
	if err != nil {
		return nil, storage.Standing{}, err
	}
	return &c, standing, nil
}

// RedeemCode implements storage.AuthorizationCodeStore. The Grant is locked
// before its code, as everywhere. The Family gets no scope that was stripped
// from the code since it was read.
func (s *Store) RedeemCode(ctx context.Context, codeID string, f *storage.Family) error {
	const sql = `
WITH held AS (
	SELECT g.id
	FROM authorization_codes c
	JOIN grants g ON g.id = c.grant_id
	WHERE c.id = $1
	FOR KEY SHARE OF g
), redeemed AS (
	UPDATE authorization_codes c SET redeemed_at = $2
	FROM held
	WHERE c.id = $1 AND c.grant_id = held.id
		AND c.redeemed_at IS NULL AND c.failed_proofs < $3 AND c.expires_at > $2
		AND (c.scopes && $4 OR cardinality($4) = 0)
	RETURNING c.grant_id, c.user_id, c.client_id, c.resource_id, c.scopes
)
INSERT INTO families (id, grant_id, user_id, client_id, resource_id, scopes, generation, rotation_request, rotated_at,
	created_at, expires_at, session_id, amr, authenticated_at, user_agent, address)
SELECT $5::text, grant_id, user_id, client_id, resource_id,
	ARRAY(SELECT name FROM unnest($4::text[]) WITH ORDINALITY AS asked (name, n) WHERE name = ANY (redeemed.scopes) ORDER BY n),
	$6::bigint, $7::bytea, $8::timestamptz, $2::timestamptz, $9::timestamptz, $10::text, $11::text[], $12::timestamptz, $13::text, $14::text
FROM redeemed
RETURNING scopes`
	return s.redeem(ctx, "redeem a code", f, sql,
		codeID, f.CreatedAt, storage.MaxFailedProofs, list(f.Scopes), f.ID, f.Generation, octets(f.RotationRequest), f.RotatedAt, f.ExpiresAt,
		f.SessionID, list(f.AMR), nullTime(f.AuthenticatedAt), f.UserAgent, f.Address)
}

// redeem runs a statement that marks something redeemed, inserts the family and
// returns its scopes. ErrConsumed: it returned nothing.
func (s *Store) redeem(ctx context.Context, doing string, f *storage.Family, sql string, args ...any) error {
	var scopes []string
	err := s.row(ctx, doing, sql, args, &scopes)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return fmt.Errorf("%s: %w", doing, storage.ErrConsumed)
	case err != nil:
		return err
	}
	f.Scopes = scopes
	return nil
}

// What exchanging a code is made of. The Grant is locked before its code, and not
// unless all that is known of the code lets it be redeemed. The UPDATE judges again
// what may have changed when it has locked the row, so of several racing calls one
// redeems it; the others may return the row as it was before. A challenge is a hash
// of more than anybody can guess, so how long comparing it takes tells nothing.
//
// It is written for speed (docs/adr/0038): each table and index that is named costs,
// also where it is not read. So a Group is looked for only if it matters, and a Grant
// only once. IS NOT DISTINCT FROM leaves the planner no index but that of the id.
const (
	exchange = `
WITH seen AS (
	SELECT c.id, c.grant_id, c.user_id, c.client_id, c.resource_id, c.scopes, c.redirect_uri, c.code_challenge,
		c.created_at, c.expires_at, c.redeemed_at, c.failed_proofs, c.nonce, c.session_id, c.amr, c.authenticated_at,
		u.disabled, u.username, u.name, u.email, u.email_verified, `
	exchangeSeen = ` AS groups
	FROM authorization_codes c
	JOIN users u ON u.id = c.user_id
	WHERE c.id = $1
), redeemed AS (
	UPDATE authorization_codes c SET redeemed_at = $2
	FROM (
		SELECT g.id, g.scopes AS granted, seen.scopes
		FROM seen
		JOIN grants g ON g.id = seen.grant_id
		WHERE NOT seen.disabled AND seen.redeemed_at IS NULL AND seen.failed_proofs < $3 AND seen.expires_at > $2
			AND seen.client_id = $4 AND seen.resource_id = $5 AND ($6 = '' OR seen.redirect_uri = $6) AND seen.code_challenge = $7
			AND seen.scopes[1] <> ALL ('{` + storage.ScopeOpenID + `,` + storage.ScopeProfile + `,` + storage.ScopeEmail + `}')
			AND seen.scopes <@ g.scopes AND seen.scopes <@ `
	exchangeHeld = `
		FOR KEY SHARE OF g
	) AS held
	WHERE c.id = $1 AND c.grant_id IS NOT DISTINCT FROM held.id AND c.redeemed_at IS NULL AND c.failed_proofs < $3 AND c.scopes = held.scopes
	RETURNING c.grant_id, c.user_id, c.client_id, c.resource_id, c.scopes, c.session_id, c.amr, c.authenticated_at, held.granted
), made AS (
	INSERT INTO families (id, grant_id, user_id, client_id, resource_id, scopes, generation, rotation_request, rotated_at,
		created_at, expires_at, session_id, amr, authenticated_at, user_agent, address)
	SELECT $9::text, grant_id, user_id, client_id, resource_id, scopes, 1, '', $2, $2, $10::timestamptz, session_id, amr, authenticated_at,
		$11::text, $12::text
	FROM redeemed
)
SELECT seen.id, seen.grant_id, seen.user_id, seen.client_id, seen.resource_id, seen.scopes, redirect_uri, code_challenge,
	created_at, expires_at, redeemed_at, failed_proofs, nonce, seen.session_id, seen.amr, seen.authenticated_at,
	CASE WHEN granted IS NOT NULL THEN granted WHEN NOT disabled THEN (SELECT g.scopes FROM grants g WHERE g.id = seen.grant_id) END,
	groups, username, name, email, email_verified, granted IS NOT NULL
FROM seen LEFT JOIN redeemed ON true`

	exchangeCode = exchange + `NULL::text[]` + exchangeSeen + `$8` + exchangeHeld

	// exchangeMembersCode is exchangeCode where it matters which Groups the User is in.
	exchangeMembersCode = exchange + `ARRAY(SELECT group_name FROM user_groups WHERE user_id = c.user_id ORDER BY group_name)` + exchangeSeen +
		`($8 || ARRAY(SELECT scope FROM unnest($13::text[], $14::text[]) AS allowed (group_name, scope) WHERE group_name = ANY (seen.groups)))` + exchangeHeld
)

// ExchangeCode implements storage.AuthorizationCodeStore.
func (s *Store) ExchangeCode(ctx context.Context, e storage.Exchange) (*storage.AuthorizationCode, storage.Standing, bool, error) {
	var (
		c         = storage.AuthorizationCode{ID: e.CodeID}
		standing  storage.Standing
		exchanged bool
	)
	sql, args := exchangeCode, []any{
		e.CodeID, e.Now, storage.MaxFailedProofs, e.ClientID, e.ResourceID, e.RedirectURI, e.CodeChallenge, list(e.Allowed),
		c.FamilyID(), e.ExpiresAt, e.UserAgent, e.Address,
	}
	if len(e.AllowedTo) > 0 || e.Guessed {
		groups, scopes := memberships(e.AllowedTo)
		sql, args = exchangeMembersCode, append(args, groups, scopes)
	}
	err := s.row(ctx, "exchange a code", sql, args, append(intoCode(&c, &standing), &exchanged)...)
	if err != nil {
		return nil, storage.Standing{}, false, err
	}
	if exchanged {
		c.RedeemedAt = e.Now
	}
	return &c, standing, exchanged, nil
}

// memberships are the columns of what is allowed to the members of Groups.
func memberships(allowed []storage.GroupScope) (groups, scopes []string) {
	for _, to := range allowed {
		groups, scopes = append(groups, to.Group), append(scopes, to.Scope)
	}
	return groups, scopes
}

// intoCode returns where the columns of a code and of its standing go.
func intoCode(c *storage.AuthorizationCode, standing *storage.Standing) []any {
	return []any{
		&c.ID, (*zeronull.Text)(&c.GrantID), &c.UserID, &c.ClientID, &c.ResourceID, &c.Scopes, &c.RedirectURI,
		&c.CodeChallenge, &c.CreatedAt, &c.ExpiresAt, (*zeronull.Timestamptz)(&c.RedeemedAt), &c.FailedProofs,
		&c.Nonce, &c.SessionID, &c.AMR, (*zeronull.Timestamptz)(&c.AuthenticatedAt),
		&standing.Scopes, &standing.Groups, &standing.Person.Username, &standing.Person.Name, &standing.Person.Email, &standing.Person.EmailVerified,
	}
}

// RevokeCode implements storage.AuthorizationCodeStore. Without a Grant it cannot be
// redeemed.
func (s *Store) RevokeCode(ctx context.Context, codeID string, event storage.AuditEvent) error {
	const (
		doing = "revoke a code"
		sql   = `
WITH code AS (
	SELECT id, redeemed_at FROM authorization_codes WHERE id = $7 AND grant_id IS NOT NULL FOR UPDATE
), revoked AS (
	UPDATE authorization_codes c SET grant_id = NULL FROM code WHERE c.id = code.id AND code.redeemed_at IS NULL
	RETURNING c.id
), recorded AS (` + recordEvent + `revoked)
SELECT redeemed_at IS NOT NULL FROM code`
	)
	var redeemed bool
	err := s.row(ctx, doing, sql, withEvent(event, codeID), &redeemed)
	if err == nil && redeemed {
		return fmt.Errorf("%s: %w", doing, storage.ErrConsumed)
	}
	return err
}

// FailCode implements storage.AuthorizationCodeStore.
func (s *Store) FailCode(ctx context.Context, codeID string) error {
	const sql = `
UPDATE authorization_codes SET failed_proofs = failed_proofs + 1
WHERE id = $1 AND redeemed_at IS NULL AND failed_proofs < $2`
	return s.act(ctx, "count a failed proof", storage.ErrNotFound, sql, codeID, storage.MaxFailedProofs)
}
