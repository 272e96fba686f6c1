package keys_test

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"grantd/storage"
)

// store is a database with nothing but SigningKeys.
type store struct {
	mu       sync.Mutex
	rows     []*storage.SigningKey
	down     bool
	conflict int // how many activations another replica wins
}

func (s *store) SigningKeys(context.Context) ([]*storage.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, storage.ErrUnavailable
	}
	return slices.Clone(s.rows), nil
}

func (s *store) MoveSigningKeys(_ context.Context, m storage.KeyMove, _ storage.AuditEvent) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conflict > 0 {
		s.conflict--
		return storage.ErrConflict
	}
	rows := slices.Clone(s.rows)
	change := func(kid string, from storage.KeyState, change func(*storage.SigningKey)) bool {
		i := slices.IndexFunc(rows, func(k *storage.SigningKey) bool { return k.KID == kid && k.State == from })
		if i < 0 {
			return kid == ""
		}
		row := *rows[i]
		change(&row)
		rows[i] = &row
		return true
	}
	good := change(m.Retire, storage.KeyActive, func(k *storage.SigningKey) {
		k.State, k.RetiredAt, k.SealedPrivateKey = storage.KeyRetired, m.At, nil
	})
	if w := m.Withdraw; w != nil {
		n := len(rows)
		rows = slices.DeleteFunc(rows, func(k *storage.SigningKey) bool { return k.KID == w.KID && k.State == w.State })
		good = good && len(rows) < n
	}
	good = good && change(m.Activate, storage.KeyNext, func(k *storage.SigningKey) { k.State, k.ActivatedAt = storage.KeyActive, m.At })
	if k := m.Insert; k != nil {
		good = good && !slices.ContainsFunc(rows, func(row *storage.SigningKey) bool { return row.State == k.State })
		rows = append(rows, k)
	}
	if !good {
		return storage.ErrConflict
	}
	s.rows = rows
	return nil
}

func (s *store) ResealSigningKey(_ context.Context, kid string, was, sealed []byte, _ storage.AuditEvent) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, row := range s.rows {
		if row.KID == kid && bytes.Equal(row.SealedPrivateKey, was) {
			anew := *row
			anew.SealedPrivateKey = sealed
			s.rows[i] = &anew
			return nil
		}
	}
	return storage.ErrConflict
}
