package sqlite

import (
	"context"

	"grantd/storage"
)

const (
	selectUserByIdentity = selectUser + `WHERE id = (SELECT user_id FROM user_identities WHERE issuer = ? AND subject = ?)`
	// lower knows the letters of ASCII only.
	selectUsersByEmail = selectUser + `WHERE lower(email) = lower(?) LIMIT 2`
)

// UserByIdentity implements storage.UserIdentityStore.
func (s *Store) UserByIdentity(ctx context.Context, issuer, subject string) (*storage.User, error) {
	return readOne(ctx, s, selectUserByIdentity, []any{issuer, subject}, scanUser)
}

// UserToLink implements storage.UserIdentityStore.
func (s *Store) UserToLink(ctx context.Context, email string) (*storage.User, error) {
	found, err := readRows(ctx, s, selectUsersByEmail, []any{email}, scanUser)
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

const (
	insertProvisionedUser = `INSERT INTO users
	(id, username, username_key, version, email, name, email_verified, password_hash, disabled, verified_until, created_at, updated_at)
	VALUES (?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?)`

	insertUserIdentity = `INSERT INTO user_identities (issuer, subject, user_id, provider_id, created_at, verified_at)
	VALUES (?, ?, ?, ?, ?5, ?5)`
)

// ProvisionUser implements storage.UserIdentityStore.
func (s *Store) ProvisionUser(ctx context.Context, u *storage.User, v storage.Verification, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.findProvider(v.ProviderID); err != nil {
			return err
		}
		_, err := tx.exec(insertProvisionedUser, u.ID, u.Username, usernameKey(u.Username), u.Version, u.Email, u.Name,
			v.EmailVerified, u.Disabled, micros(v.Until), micros(u.CreatedAt), micros(u.UpdatedAt))
		if err != nil {
			return err
		}
		return tx.identify(u.ID, v, event)
	})
}

// A user who never had a provider has no verified_until.
const (
	verifyUser = `UPDATE users SET version = version + 1, name = iif(?1 = '', name, ?1), email = iif(?2 = '', email, ?2),
	verified_until = ?3, updated_at = ?4, email_verified = iif(?2 = '', email_verified, ?5)`
	// The triggers of a changed password end what must end.
	linkUser = verifyUser + `, password_hash = '' WHERE id = ?6 AND version = ?7 AND NOT disabled AND verified_until IS NULL
	RETURNING id`
	existsEnabledUser = `SELECT 1 FROM users WHERE id = ? AND NOT disabled`
	verifyIdentified  = verifyUser + ` WHERE id = (SELECT user_id FROM user_identities WHERE issuer = ?6 AND subject = ?7)
	AND NOT disabled RETURNING id`
	seeUserIdentity = `UPDATE user_identities SET provider_id = ?, verified_at = ? WHERE issuer = ? AND subject = ?`
)

// LinkUser implements storage.UserIdentityStore.
func (s *Store) LinkUser(ctx context.Context, userID string, version int64, v storage.Verification, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.findProvider(v.ProviderID); err != nil {
			return err
		}
		var id string
		err := tx.row(linkUser, []any{v.Name, v.Email, micros(v.Until), micros(v.At), v.EmailVerified, userID, version}, &id)
		if err != nil {
			return tx.conflictOrNotFound(err, existsEnabledUser, userID)
		}
		return tx.identify(id, v, event)
	})
}

// VerifyUser implements storage.UserIdentityStore.
func (s *Store) VerifyUser(ctx context.Context, v storage.Verification, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.findProvider(v.ProviderID); err != nil {
			return err
		}
		var id string
		err := tx.row(verifyIdentified, []any{v.Name, v.Email, micros(v.Until), micros(v.At), v.EmailVerified, v.Issuer, v.Subject}, &id)
		if err != nil {
			return err
		}
		if err := tx.mustExec(seeUserIdentity, v.ProviderID, micros(v.At), v.Issuer, v.Subject); err != nil {
			return err
		}
		return tx.syncGroups(id, v, event)
	})
}

const selectUserIdentities = `SELECT issuer, subject, user_id, provider_id, created_at, verified_at
	FROM user_identities WHERE user_id = ? ORDER BY issuer, subject`

// UserIdentities implements storage.UserIdentityStore.
func (s *Store) UserIdentities(ctx context.Context, userID string) ([]*storage.UserIdentity, error) {
	return readRows(ctx, s, selectUserIdentities, []any{userID}, scanUserIdentity)
}

const findProvider = `SELECT 1 FROM providers WHERE id = ? AND enabled`

// findProvider finds the provider enabled. sql.ErrNoRows: it is not.
func (t *tx) findProvider(id string) error {
	var found int
	return t.row(findProvider, []any{id}, &found)
}

// identify gives the user an identity, which must have nobody yet.
func (t *tx) identify(userID string, v storage.Verification, event storage.AuditEvent) error {
	if _, err := t.exec(insertUserIdentity, v.Issuer, v.Subject, userID, v.ProviderID, micros(v.At)); err != nil {
		return consumedIfTaken(err)
	}
	return t.syncGroups(userID, v, event)
}

const (
	leaveProviderGroups = `DELETE FROM user_groups WHERE user_id = ? AND provider_id = ?
	AND group_name NOT IN (SELECT value FROM json_each(?))`
	joinProviderGroups = `INSERT INTO user_groups (user_id, group_name, provider_id) SELECT ?, value, ? FROM json_each(?) WHERE true
	ON CONFLICT (user_id, group_name) DO NOTHING`
	selectGroupsNow = `SELECT json_group_array(group_name ORDER BY group_name),
	json_group_array(group_name ORDER BY group_name) FILTER (WHERE provider_id = ?2)
	FROM user_groups WHERE user_id = ?1`
)

// syncGroups makes the provider's memberships those that it says. A membership that
// was given here, or by another provider, stays as it is. The event tells what they
// are then.
func (t *tx) syncGroups(userID string, v storage.Verification, event storage.AuditEvent) error {
	groups := list(v.Groups)
	if _, err := t.exec(leaveProviderGroups, userID, v.ProviderID, groups); err != nil {
		return err
	}
	if len(v.Groups) > 0 {
		if err := t.makeGroups(v.Groups); err != nil {
			return err
		}
		if _, err := t.exec(joinProviderGroups, userID, v.ProviderID, groups); err != nil {
			return err
		}
	}
	var all, given []string
	if err := t.row(selectGroupsNow, []any{userID, v.ProviderID}, intoList{&all}, intoList{&given}); err != nil {
		return err
	}
	return t.record(v.Recorded(event, all, given))
}

func scanUserIdentity(row scanner) (*storage.UserIdentity, error) {
	var i storage.UserIdentity
	err := row.Scan(&i.Issuer, &i.Subject, &i.UserID, &i.ProviderID, intoTime{&i.CreatedAt}, intoTime{&i.VerifiedAt})
	return &i, err
}
