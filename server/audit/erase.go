package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"grantd/storage"
)

// What of an event is personal: about its target, and about its actor.
var (
	personalOfTarget = []string{"address", "email", "name", "subject", "username"}
	personalOfActor  = []string{"address"}
)

const eraseBatch = 200

// Erase makes what events say personally of a user unreadable: name, email,
// username, addresses. Their id stays, which then names nobody. It returns how many
// events it changed. Repeating it is no error.
func (c *Chain) Erase(ctx context.Context, userID string) (int, error) {
	if err := c.Seal(ctx); err != nil {
		return 0, err
	}
	n, err := c.eraseWhere(ctx, storage.AuditFilter{Target: userID}, personalOfTarget)
	if err != nil {
		return n, err
	}
	acted, err := c.eraseWhere(ctx, storage.AuditFilter{Actor: "user:" + userID}, personalOfActor)
	return n + acted, err
}

func (c *Chain) eraseWhere(ctx context.Context, filter storage.AuditFilter, names []string) (int, error) {
	total, page := 0, storage.Page{Limit: eraseBatch}
	for {
		events, err := c.Store.AuditEvents(ctx, filter, page)
		if err != nil || len(events) == 0 {
			return total, err
		}
		page.After = events[len(events)-1].ID
		var changed []*storage.AuditEvent
		for _, e := range events {
			if e.Seal.Number == 0 {
				return total, fmt.Errorf("an event of this user was written this moment; repeat the erasure: %w", storage.ErrConflict)
			}
			if c.eraseIn(e, names) {
				changed = append(changed, e)
			}
		}
		if len(changed) == 0 {
			continue
		}
		// Retention may have taken one: then none was changed, and the rest is found
		// again.
		if err := c.Store.EraseAuditEvents(ctx, changed); errors.Is(err, storage.ErrConflict) {
			page.After = ""
			continue
		} else if err != nil {
			return total, err
		}
		total += len(changed)
	}
}

// eraseIn takes the named values out of an event; false: it has none of them, or
// is not as it was sealed.
func (c *Chain) eraseIn(e *storage.AuditEvent, names []string) bool {
	gone := slices.DeleteFunc(slices.Clone(names), func(name string) bool { _, there := e.Detail[name]; return !there })
	before := readErasure(e)
	if len(gone) == 0 || before == nil && len(e.Seal.Salt) != saltSize {
		return false
	}
	x := &erasure{Salts: map[string][]byte{}, Commitments: map[string][]byte{}}
	if before != nil {
		maps.Copy(x.Commitments, before.Commitments)
	}
	salt := saltsOf(e, before)
	for name, value := range e.Detail {
		if slices.Contains(gone, name) {
			x.Commitments[name] = hash(salt(name), []byte(value))
		} else {
			x.Salts[name] = salt(name)
		}
	}
	e.Detail = maps.Clone(e.Detail)
	for _, name := range gone {
		delete(e.Detail, name)
	}
	e.Seal.Salt, e.Seal.Erasure = nil, encode(x)
	id, mac := c.Root.MAC(erasurePurpose, erased(leaf(e), x))
	x.KeyID, x.MAC = id[:], mac[:]
	e.Seal.Erasure = encode(x)
	return true
}

func encode(x *erasure) string {
	text, err := json.Marshal(x)
	if err != nil {
		panic(err) // maps of bytes always encode
	}
	return string(text)
}
