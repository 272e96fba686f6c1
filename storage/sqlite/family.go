package sqlite

import (
	"bytes"
	"context"
	"database/sql"

	"grantd/storage"
)

const selectFamily = `SELECT
	f.id, f.grant_id, f.user_id, f.client_id, f.resource_id, f.scopes, f.generation, f.rotation_request,
	f.rotated_at, f.created_at, f.expires_at, u.verified_until, g.scopes
	FROM families f
	JOIN grants g ON g.id = f.grant_id
	JOIN users u ON u.id = g.user_id AND NOT u.disabled
	WHERE f.id = ?`

// Family implements storage.FamilyStore.
func (s *Store) Family(ctx context.Context, id string) (*storage.Family, []string, error) {
	var (
		f           storage.Family
		grantScopes []string
	)
	if err := s.readRow(ctx, selectFamily, []any{id}, append(intoFamily(&f), intoList{&grantScopes})...); err != nil {
		return nil, nil, err
	}
	return &f, grantScopes, nil
}

// liveFamily is the condition on a family f that it has not ended by @now.
const liveFamily = `f.expires_at > @now AND f.rotated_at > @now - @family_idle`

const rotateFamily = `UPDATE families AS f SET generation = @presented + 1, rotation_request = @request, rotated_at = @now
	WHERE f.id = @id AND f.generation <= @presented AND ` + liveFamily

// RotateFamily implements storage.FamilyStore.
func (s *Store) RotateFamily(ctx context.Context, r storage.Rotation) error {
	return s.write(ctx, func(tx *tx) error {
		n, err := tx.exec(rotateFamily, rotationArgs(r)...)
		if err != nil || n == 1 {
			return err
		}
		// It has ended, or moved on already: why it did decides.
		var (
			f     storage.Family
			grant []string
		)
		if err := tx.row(selectFamily, []any{r.FamilyID}, append(intoFamily(&f), intoList{&grant})...); err != nil {
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
const renewFamily = rotateFamily + ` AND f.generation = @presented AND f.scopes = @scopes`

// RenewFamily implements storage.FamilyStore. Between looking and rotating the row
// may move on: then it is not renewed.
func (s *Store) RenewFamily(ctx context.Context, r storage.Renewal) (*storage.Family, []string, bool, error) {
	f, grant, err := s.Family(ctx, r.FamilyID)
	if err != nil {
		return nil, nil, false, err
	}
	if f.Generation != r.Presented || f.Expired(r.Now) || f.ClientID != r.ClientID || f.ResourceID != r.ResourceID ||
		!hasAll(f.Scopes, r.Asked) || len(storage.Intersect(f.Scopes, r.Allowed)) == 0 || !hasAll(grant, f.Scopes) {
		return f, grant, false, nil
	}
	var rotated int64
	err = s.write(ctx, func(tx *tx) error {
		var err error
		rotated, err = tx.exec(renewFamily, append(rotationArgs(r.Rotation), sql.Named("scopes", list(f.Scopes)))...)
		return err
	})
	if err != nil {
		return nil, nil, false, err
	}
	if rotated == 1 {
		f.Generation, f.RotationRequest, f.RotatedAt = r.Presented+1, r.Request, r.Now
	}
	return f, grant, rotated == 1, nil
}

func hasAll(have, wanted []string) bool { return len(storage.Intersect(wanted, have)) == len(wanted) }

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

// intoFamily returns where the columns of selectFamily go, the last one aside.
func intoFamily(f *storage.Family) []any {
	return []any{
		&f.ID, &f.GrantID, &f.UserID, &f.ClientID, &f.ResourceID,
		intoList{&f.Scopes},
		&f.Generation,
		intoBlob{&f.RotationRequest},
		intoTime{&f.RotatedAt},
		intoTime{&f.CreatedAt},
		intoTime{&f.ExpiresAt},
		intoTime{&f.VerifiedUntil},
	}
}
