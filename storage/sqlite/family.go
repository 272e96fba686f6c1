package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"slices"
	"time"

	"grantd/storage"
)

const selectFamily = `SELECT
	f.id, f.grant_id, f.user_id, f.client_id, f.resource_id, f.scopes, f.generation, f.rotation_request,
	f.rotated_at, f.created_at, f.expires_at, f.session_id, f.amr, f.authenticated_at, u.verified_until, g.scopes,
	(SELECT json_group_array(group_name ORDER BY group_name) FROM user_groups WHERE user_id = f.user_id), u.username, u.name, u.email, u.email_verified
	FROM families f
	JOIN grants g ON g.id = f.grant_id
	JOIN users u ON u.id = g.user_id AND NOT u.disabled
	WHERE f.id = ?`

// Family implements storage.FamilyStore.
func (s *Store) Family(ctx context.Context, id string) (*storage.Family, storage.Standing, error) {
	var (
		f        storage.Family
		standing storage.Standing
	)
	if err := s.readRow(ctx, selectFamily, []any{id}, append(append(intoFamily(&f), intoTime{&f.VerifiedUntil}), intoStanding(&standing)...)...); err != nil {
		return nil, storage.Standing{}, err
	}
	return &f, standing, nil
}

// liveFamily is the condition on a family f that it has not ended by @now.
const liveFamily = `f.expires_at > @now AND f.rotated_at > @now - @family_idle`

const selectUserFamilies = `SELECT
	f.id, f.grant_id, f.user_id, f.client_id, f.resource_id, f.scopes, f.generation, f.rotation_request,
	f.rotated_at, f.created_at, f.expires_at, f.session_id, f.amr, f.authenticated_at, f.user_agent, f.address
	FROM grants g
	JOIN families f ON f.grant_id = g.id
	WHERE g.user_id = @user AND f.id > @after AND ` + liveFamily + ` ORDER BY f.id LIMIT @limit`

// UserFamilies implements storage.FamilyStore.
func (s *Store) UserFamilies(ctx context.Context, userID string, now time.Time, page storage.Page) ([]*storage.Family, error) {
	args := []any{
		sql.Named("user", userID), sql.Named("after", page.After), sql.Named("limit", page.Limit),
		sql.Named("now", micros(now)), sql.Named("family_idle", storage.FamilyIdle.Microseconds()),
	}
	return readRows(ctx, s, selectUserFamilies, args, func(row scanner) (*storage.Family, error) {
		var f storage.Family
		return &f, row.Scan(append(intoFamily(&f), &f.UserAgent, &f.Address)...)
	})
}

const rotateFamily = `UPDATE families AS f SET generation = @presented + 1, rotation_request = @request, rotated_at = @now
	WHERE f.id = @id AND f.generation <= @presented AND ` + liveFamily

// rotateCurrentFamily is rotateFamily for a row that is not behind.
const rotateCurrentFamily = rotateFamily + ` AND f.generation = @presented`

// RotateFamily implements storage.FamilyStore.
func (s *Store) RotateFamily(ctx context.Context, r storage.Rotation) error {
	return s.write(ctx, func(tx *tx) error {
		n, err := tx.exec(rotateCurrentFamily, rotationArgs(r)...)
		if err != nil || n == 1 {
			return err
		}
		n, err = tx.exec(rotateFamily, rotationArgs(r)...)
		if err != nil {
			return err
		}
		if n == 1 {
			if r.Behind.ID != "" {
				return tx.record(r.Behind)
			}
			return nil
		}
		// It has ended, or moved on already: why it did decides.
		var (
			f        storage.Family
			standing storage.Standing
		)
		if err := tx.row(selectFamily, []any{r.FamilyID}, append(append(intoFamily(&f), intoTime{&f.VerifiedUntil}), intoStanding(&standing)...)...); err != nil {
			return err
		}
		switch {
		case f.Expired(r.Now):
			return storage.ErrNotFound
		case f.Generation == r.Presented+1 && bytes.Equal(f.RotationRequest, r.Request) &&
			r.Now.Before(f.RotatedAt.Add(storage.RefreshGrace)):
			return nil
		default:
			return storage.ErrConsumed
		}
	})
}

func rotationArgs(r storage.Rotation) []any {
	return []any{
		sql.Named("id", r.FamilyID),
		sql.Named("presented", r.Presented),
		sql.Named("request", blob(r.Request)),
		sql.Named("now", micros(r.Now)),
		sql.Named("family_idle", storage.FamilyIdle.Microseconds()),
	}
}

// renewFamily is rotateFamily for a row that is as it was read.
const renewFamily = rotateFamily + ` AND f.generation = @read AND f.scopes = @scopes`

// RenewFamily implements storage.FamilyStore. Between looking and rotating the row
// may move on: then it is not renewed.
func (s *Store) RenewFamily(ctx context.Context, r storage.Renewal) (*storage.Family, storage.Standing, bool, error) {
	f, standing, err := s.Family(ctx, r.FamilyID)
	if err != nil {
		return nil, storage.Standing{}, false, err
	}
	if f.Generation > r.Presented || f.Expired(r.Now) || f.ClientID != r.ClientID || f.ResourceID != r.ResourceID ||
		len(storage.Intersect(r.Asked, f.Scopes)) != len(r.Asked) || !allowsOne(r, storage.Intersect(f.Scopes, standing.Scopes), standing.Groups) {
		return f, standing, false, nil
	}
	var rotated int64
	err = s.write(ctx, func(tx *tx) error {
		var err error
		rotated, err = tx.exec(renewFamily, append(rotationArgs(r.Rotation), sql.Named("read", f.Generation), sql.Named("scopes", list(f.Scopes)))...)
		if err != nil || rotated == 0 || f.Generation == r.Presented || r.Behind.ID == "" {
			return err
		}
		return tx.record(r.Behind)
	})
	if err != nil {
		return nil, storage.Standing{}, false, err
	}
	if rotated == 1 {
		f.Generation, f.RotationRequest, f.RotatedAt = r.Presented+1, r.Request, r.Now
	}
	return f, standing, rotated == 1, nil
}

// allowsOne reports whether one of the scopes is allowed to who is in these groups.
func allowsOne(r storage.Renewal, scopes, groups []string) bool {
	return len(storage.Intersect(scopes, r.Allowed)) > 0 || slices.ContainsFunc(r.AllowedTo, func(to storage.GroupScope) bool {
		return slices.Contains(groups, to.Group) && slices.Contains(scopes, to.Scope)
	})
}

const deleteFamily = `DELETE FROM families WHERE id = ?`

// EndFamily implements storage.FamilyStore.
func (s *Store) EndFamily(ctx context.Context, id string, event storage.AuditEvent) error {
	return s.write(ctx, func(tx *tx) error {
		if err := tx.mustExec(deleteFamily, id); err != nil {
			return err
		}
		return tx.record(event)
	})
}

// intoFamily returns where the columns of selectFamily go, those of the User and of the Standing aside.
func intoFamily(f *storage.Family) []any {
	return []any{
		&f.ID, &f.GrantID, &f.UserID, &f.ClientID, &f.ResourceID,
		intoList{&f.Scopes},
		&f.Generation,
		intoBlob{&f.RotationRequest},
		intoTime{&f.RotatedAt},
		intoTime{&f.CreatedAt},
		intoTime{&f.ExpiresAt},
		&f.SessionID,
		intoList{&f.AMR},
		intoTime{&f.AuthenticatedAt},
	}
}

// intoStanding returns where the last columns of selectFamily go.
func intoStanding(s *storage.Standing) []any {
	return []any{intoList{&s.Scopes}, intoList{&s.Groups}, &s.Person.Username, &s.Person.Name, &s.Person.Email, &s.Person.EmailVerified}
}
