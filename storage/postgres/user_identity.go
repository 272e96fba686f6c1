package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"grantd/storage"
)

// UserByIdentity implements storage.UserIdentityStore.
func (s *Store) UserByIdentity(ctx context.Context, issuer, subject string) (*storage.User, error) {
	const sql = selectUser + `JOIN user_identities i ON i.user_id = u.id WHERE i.issuer = $1 AND i.subject = $2`
	return only(rows(ctx, s, "read a user by identity", each(scanUser), sql, issuer, subject))
}

// UserToLink implements storage.UserIdentityStore. In the collation "C" lower knows the
// letters of ASCII only.
func (s *Store) UserToLink(ctx context.Context, email string) (*storage.User, error) {
	const sql = selectUser + `WHERE lower(u.email COLLATE "C") = lower($1 COLLATE "C") LIMIT 2`
	found, err := rows(ctx, s, "read a user by e-mail", each(scanUser), sql, email)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, storage.ErrNotFound
	case len(found) > 1 || found[0].Disabled || !found[0].VerifiedUntil.IsZero():
		return nil, storage.ErrConflict
	}
	return found[0], nil
}

// ProvisionUser implements storage.UserIdentityStore.
func (s *Store) ProvisionUser(ctx context.Context, u *storage.User, v storage.Verification, event storage.AuditEvent) error {
	const insert = `
INSERT INTO users (id, username, username_key, version, email, name, email_verified, password_hash, disabled, verified_until, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, '', $8, $9, $10, $11)`
	return s.tx(ctx, "provision a user", func(ctx context.Context, tx pgx.Tx) error {
		if err := lockProvider(ctx, tx, v.ProviderID); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, insert, u.ID, u.Username, usernameKey(u.Username), u.Version, u.Email, u.Name, v.EmailVerified, u.Disabled,
			v.Until, u.CreatedAt, u.UpdatedAt)
		if err != nil {
			return err
		}
		if err := insertUserIdentity(ctx, tx, u.ID, v); err != nil {
			return err
		}
		return syncGroups(ctx, tx, u.ID, v, event)
	})
}

// A user who never had a provider has no verified_until.
const verifyUser = `
UPDATE users SET version = version + 1, name = CASE WHEN $1 = '' THEN name ELSE $1 END,
	email = CASE WHEN $2 = '' THEN email ELSE $2 END, verified_until = $3, updated_at = $4,
	email_verified = CASE WHEN $2 = '' THEN email_verified ELSE $5 END`

// LinkUser implements storage.UserIdentityStore.
func (s *Store) LinkUser(ctx context.Context, userID string, version int64, v storage.Verification, event storage.AuditEvent) error {
	const (
		lock = `SELECT version, verified_until IS NOT NULL FROM users WHERE id = $1 AND NOT disabled FOR NO KEY UPDATE`
		link = verifyUser + `, password_hash = '' WHERE id = $6`
	)
	return s.tx(ctx, "link a user", func(ctx context.Context, tx pgx.Tx) error {
		if err := lockProvider(ctx, tx, v.ProviderID); err != nil {
			return err
		}
		var (
			is     int64
			linked bool
		)
		if err := tx.QueryRow(ctx, lock, userID).Scan(&is, &linked); err != nil {
			return err
		}
		if is != version || linked {
			return storage.ErrConflict
		}
		if _, err := tx.Exec(ctx, link, v.Name, v.Email, v.Until, v.At, v.EmailVerified, userID); err != nil {
			return err
		}
		if err := insertUserIdentity(ctx, tx, userID, v); err != nil {
			return err
		}
		if err := endAll(ctx, tx, userID, endsOfPassword); err != nil {
			return err
		}
		return syncGroups(ctx, tx, userID, v, event)
	})
}

// VerifyUser implements storage.UserIdentityStore. The user is locked before the
// UserIdentity, as everywhere.
func (s *Store) VerifyUser(ctx context.Context, v storage.Verification, event storage.AuditEvent) error {
	const (
		verify = verifyUser + `
WHERE id = (SELECT user_id FROM user_identities WHERE issuer = $6 AND subject = $7) AND NOT disabled RETURNING id`
		seen = `UPDATE user_identities SET provider_id = $3, verified_at = $4 WHERE issuer = $1 AND subject = $2 AND user_id = $5 RETURNING user_id`
	)
	return s.tx(ctx, "verify a user", func(ctx context.Context, tx pgx.Tx) error {
		if err := lockProvider(ctx, tx, v.ProviderID); err != nil {
			return err
		}
		var id string
		if err := tx.QueryRow(ctx, verify, v.Name, v.Email, v.Until, v.At, v.EmailVerified, v.Issuer, v.Subject).Scan(&id); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, seen, v.Issuer, v.Subject, v.ProviderID, v.At, id).Scan(&id); err != nil {
			return err
		}
		return syncGroups(ctx, tx, id, v, event)
	})
}

// UserIdentities implements storage.UserIdentityStore.
func (s *Store) UserIdentities(ctx context.Context, userID string) ([]*storage.UserIdentity, error) {
	const sql = `
SELECT issuer, subject, user_id, provider_id, created_at, verified_at
FROM user_identities WHERE user_id = $1 ORDER BY issuer, subject`
	return rows(ctx, s, "list identities", each(scanUserIdentity), sql, userID)
}

// lockProvider keeps the provider enabled until the transaction ends. ErrNotFound: it
// is not.
func lockProvider(ctx context.Context, tx pgx.Tx, id string) error {
	const sql = `SELECT id FROM providers WHERE id = $1 AND enabled FOR SHARE`
	return tx.QueryRow(ctx, sql, id).Scan(&id)
}

func insertUserIdentity(ctx context.Context, tx pgx.Tx, userID string, v storage.Verification) error {
	const sql = `
INSERT INTO user_identities (issuer, subject, user_id, provider_id, created_at, verified_at)
VALUES ($1, $2, $3, $4, $5, $5)`
	_, err := tx.Exec(ctx, sql, v.Issuer, v.Subject, userID, v.ProviderID, v.At)
	return err
}

// syncGroups makes the provider's memberships those that it says. A membership that
// was given here, or by another provider, stays as it is. The event tells what they
// are then.
func syncGroups(ctx context.Context, tx pgx.Tx, userID string, v storage.Verification, event storage.AuditEvent) error {
	const (
		leave = `DELETE FROM user_groups WHERE user_id = $1 AND provider_id = $2 AND group_name <> ALL ($3)`
		join  = `
INSERT INTO user_groups (user_id, group_name, provider_id) SELECT $1::text, unnest($3::text[]), $2::text ON CONFLICT DO NOTHING`
		groupsNow = `
SELECT ARRAY(SELECT group_name FROM user_groups WHERE user_id = $1 ORDER BY group_name),
	ARRAY(SELECT group_name FROM user_groups WHERE user_id = $1 AND provider_id = $2 ORDER BY group_name)`
	)
	groups := list(slices.Compact(slices.Sorted(slices.Values(v.Groups))))
	if _, err := tx.Exec(ctx, leave, userID, v.ProviderID, groups); err != nil {
		return err
	}
	if len(groups) > 0 {
		if err := makeGroups(ctx, tx, groups); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, join, userID, v.ProviderID, groups); err != nil {
			return err
		}
	}
	var all, given []string
	if err := tx.QueryRow(ctx, groupsNow, userID, v.ProviderID).Scan(&all, &given); err != nil {
		return err
	}
	return record(ctx, tx, v.Recorded(event, all, given))
}

func scanUserIdentity(row pgx.CollectableRow) (*storage.UserIdentity, error) {
	var i storage.UserIdentity
	err := row.Scan(&i.Issuer, &i.Subject, &i.UserID, &i.ProviderID, &i.CreatedAt, &i.VerifiedAt)
	return &i, err
}
