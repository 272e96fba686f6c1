package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"grantd/storage"
)

const codeColumns = `id, grant_id, user_id, client_id, resource_id, scopes, redirect_uri, code_challenge,
	created_at, expires_at, redeemed_at, failed_proofs, nonce, session_id, amr, authenticated_at`

const codeValues = `@id, @grant, @user, @client, @resource, @scopes, @redirect_uri, @code_challenge,
	@now, @expires_at, @redeemed_at, @failed_proofs, @nonce, @session,
	(SELECT amr FROM sessions WHERE id = @session), (SELECT authenticated_at FROM sessions WHERE id = @session)`

const insertCode = `INSERT INTO authorization_codes (` + codeColumns + `) VALUES (` + codeValues + `)`

const insertRememberedCode = `INSERT INTO authorization_codes (` + codeColumns + `)
	SELECT ` + codeValues + `
	FROM grants g
	JOIN users u ON u.id = g.user_id
	JOIN clients c ON c.id = g.client_id
	JOIN sessions s ON s.user_id = g.user_id
	WHERE g.id = @grant AND g.user_id = @user AND g.client_id = @client AND g.resource_id = @resource
	  AND NOT u.disabled AND NOT c.disabled
	  AND s.id = @session AND ` + liveSession + `
	  AND NOT EXISTS (
		SELECT 1 FROM json_each(@scopes) WHERE value NOT IN (SELECT value FROM json_each(g.scopes)))`

// CreateCode implements storage.AuthorizationCodeStore.
func (s *Store) CreateCode(ctx context.Context, c *storage.AuthorizationCode, sessionID string) error {
	// sessionArgs names the time of the session's life as codeArgs names the
	// code's: both are @now.
	args := append(codeArgs(c), sessionArgs(c.CreatedAt)[1:]...)
	args = append(args, sql.Named("session", sessionID))
	return s.write(ctx, func(tx *tx) error { return consumedIfTaken(tx.mustExec(insertRememberedCode, args...)) })
}

const selectCode = `SELECT
	a.id, a.grant_id, a.user_id, a.client_id, a.resource_id, a.scopes, a.redirect_uri, a.code_challenge,
	a.created_at, a.expires_at, a.redeemed_at, a.failed_proofs, a.nonce, a.session_id, a.amr, a.authenticated_at,
	CASE WHEN NOT u.disabled THEN g.scopes END,
	(SELECT json_group_array(group_name ORDER BY group_name) FROM user_groups WHERE user_id = a.user_id), u.username, u.name, u.email, u.email_verified
	FROM authorization_codes a
	JOIN users u ON u.id = a.user_id
	LEFT JOIN grants g ON g.id = a.grant_id
	WHERE a.id = ?`

// Code implements storage.AuthorizationCodeStore.
func (s *Store) Code(ctx context.Context, id string) (*storage.AuthorizationCode, storage.Standing, error) {
	var (
		c        storage.AuthorizationCode
		standing storage.Standing
	)
	err := s.readRow(ctx, selectCode, []any{id},
		&c.ID, intoText{&c.GrantID}, &c.UserID, &c.ClientID, &c.ResourceID, intoList{&c.Scopes}, &c.RedirectURI, &c.CodeChallenge,
		intoTime{&c.CreatedAt}, intoTime{&c.ExpiresAt}, intoTime{&c.RedeemedAt}, &c.FailedProofs,
		&c.Nonce, &c.SessionID, intoList{&c.AMR}, intoTime{&c.AuthenticatedAt},
		intoList{&standing.Scopes}, intoList{&standing.Groups}, &standing.Person.Username, &standing.Person.Name, &standing.Person.Email, &standing.Person.EmailVerified)
	if err != nil {
		return nil, storage.Standing{}, err
	}
	return &c, standing, nil
}

// redeemCode needs no look at the user: one who is disabled has no Grant.
const redeemCode = `UPDATE authorization_codes SET redeemed_at = @now
	WHERE id = @id AND grant_id = @grant AND redeemed_at IS NULL
	  AND failed_proofs < @max_failed_proofs AND expires_at > @now
	RETURNING scopes`

const insertFamily = `INSERT INTO families
	(id, grant_id, user_id, client_id, resource_id, scopes, generation, rotation_request, rotated_at, created_at, expires_at, session_id, amr, authenticated_at,
	 user_agent, address)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

func familyArgs(f *storage.Family, scopes []string) []any {
	return []any{
		f.ID, f.GrantID, f.UserID, f.ClientID, f.ResourceID, list(scopes),
		f.Generation, blob(f.RotationRequest), micros(f.RotatedAt), micros(f.CreatedAt), micros(f.ExpiresAt), f.SessionID, list(f.AMR), microsOrNull(f.AuthenticatedAt),
		f.UserAgent, f.Address,
	}
}

// RedeemCode implements storage.AuthorizationCodeStore.
func (s *Store) RedeemCode(ctx context.Context, codeID string, f *storage.Family) error {
	return s.redeem(ctx, f, redeemCode,
		sql.Named("id", codeID),
		sql.Named("grant", f.GrantID),
		sql.Named("now", micros(f.CreatedAt)),
		sql.Named("max_failed_proofs", storage.MaxFailedProofs))
}

// redeem runs a statement that marks something redeemed and returns the scopes it
// still has, and inserts the family with those of its own. ErrConsumed: it was
// marked before, or no scope is left.
func (s *Store) redeem(ctx context.Context, f *storage.Family, query string, args ...any) error {
	var scopes []string
	err := s.write(ctx, func(tx *tx) error {
		var kept []string
		err := tx.row(query, args, intoList{&kept})
		if errors.Is(err, sql.ErrNoRows) {
			return storage.ErrConsumed
		} else if err != nil {
			return err
		}
		if scopes = storage.Intersect(f.Scopes, kept); len(scopes) == 0 && len(f.Scopes) > 0 {
			return storage.ErrConsumed
		}
		_, err = tx.exec(insertFamily, familyArgs(f, scopes)...)
		return consumedIfTaken(err)
	})
	if err == nil {
		f.Scopes = scopes
	}
	return err
}

// exchangeCode is redeemCode for a code that is as it was read.
const exchangeCode = `UPDATE authorization_codes SET redeemed_at = @now
	WHERE id = @id AND grant_id = @grant AND redeemed_at IS NULL
	  AND failed_proofs < @max_failed_proofs AND scopes = @scopes`

// ExchangeCode implements storage.AuthorizationCodeStore. Between looking and
// redeeming the code may be redeemed or spoilt: then it is not exchanged.
func (s *Store) ExchangeCode(ctx context.Context, e storage.Exchange) (*storage.AuthorizationCode, storage.Standing, bool, error) {
	c, standing, err := s.Code(ctx, e.CodeID)
	if err != nil {
		return nil, storage.Standing{}, false, err
	}
	if !exchangeable(c, standing, e) {
		return c, standing, false, nil
	}
	f := e.Family(c)
	var redeemed int64
	err = s.write(ctx, func(tx *tx) error {
		var err error
		redeemed, err = tx.exec(exchangeCode,
			sql.Named("id", c.ID), sql.Named("grant", c.GrantID), sql.Named("scopes", list(c.Scopes)),
			sql.Named("now", micros(e.Now)), sql.Named("max_failed_proofs", storage.MaxFailedProofs))
		if err != nil || redeemed == 0 {
			return err
		}
		_, err = tx.exec(insertFamily, familyArgs(f, f.Scopes)...)
		return consumedIfTaken(err)
	})
	if err != nil {
		return nil, storage.Standing{}, false, err
	}
	if redeemed == 1 {
		c.RedeemedAt = e.Now
	}
	return c, standing, redeemed == 1, nil
}

// exchangeable reports whether the code is as the Exchange says. Without a Grant it
// has no scopes, and of a disabled User there is none.
func exchangeable(c *storage.AuthorizationCode, standing storage.Standing, e storage.Exchange) bool {
	allowed := slices.Clone(e.Allowed)
	for _, to := range e.AllowedTo {
		if slices.Contains(standing.Groups, to.Group) {
			allowed = append(allowed, to.Scope)
		}
	}
	return c.RedeemedAt.IsZero() && e.Now.Before(c.ExpiresAt) && c.FailedProofs < storage.MaxFailedProofs &&
		c.ClientID == e.ClientID && c.ResourceID == e.ResourceID && (e.RedirectURI == "" || e.RedirectURI == c.RedirectURI) &&
		c.CodeChallenge == e.CodeChallenge &&
		len(c.Scopes) > 0 && !slices.Contains(storage.IdentityScopes, c.Scopes[0]) &&
		len(storage.Intersect(storage.Intersect(c.Scopes, standing.Scopes), allowed)) == len(c.Scopes)
}

const (
	selectCodeRedeemed = `SELECT redeemed_at IS NOT NULL FROM authorization_codes WHERE id = ? AND grant_id IS NOT NULL`
	revokeCode         = `UPDATE authorization_codes SET grant_id = NULL WHERE id = ?`
)

// RevokeCode implements storage.AuthorizationCodeStore. Without a Grant it cannot be
// redeemed.
func (s *Store) RevokeCode(ctx context.Context, codeID string, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		var redeemed bool
		if err := tx.row(selectCodeRedeemed, []any{codeID}, &redeemed); err != nil {
			return err
		}
		if redeemed {
			return storage.ErrConsumed
		}
		if err := tx.mustExec(revokeCode, codeID); err != nil {
			return err
		}
		return tx.record(event)
	})
}

const failCode = `UPDATE authorization_codes SET failed_proofs = failed_proofs + 1
	WHERE id = ? AND redeemed_at IS NULL AND failed_proofs < ?`

// FailCode implements storage.AuthorizationCodeStore. ErrNotFound.
func (s *Store) FailCode(ctx context.Context, codeID string) error {
	return s.write(ctx, func(tx *tx) error { return tx.mustExec(failCode, codeID, storage.MaxFailedProofs) })
}

// codeArgs returns the values of codeValues.
func codeArgs(c *storage.AuthorizationCode) []any {
	return []any{
		sql.Named("id", c.ID),
		sql.Named("grant", c.GrantID),
		sql.Named("user", c.UserID),
		sql.Named("client", c.ClientID),
		sql.Named("resource", c.ResourceID),
		sql.Named("scopes", list(c.Scopes)),
		sql.Named("redirect_uri", c.RedirectURI),
		sql.Named("code_challenge", c.CodeChallenge),
		sql.Named("now", micros(c.CreatedAt)),
		sql.Named("expires_at", micros(c.ExpiresAt)),
		sql.Named("redeemed_at", microsOrNull(c.RedeemedAt)),
		sql.Named("failed_proofs", c.FailedProofs),
		sql.Named("nonce", c.Nonce),
	}
}
