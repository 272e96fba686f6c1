package server

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"grantd/storage"
)

// usage remembers which clients have got a token, until that is written: once a
// minute at most, and for each client once in storage.ClientUse. A server that is
// killed forgets the last minute.
type usage struct {
	mu      sync.Mutex
	clients map[string]time.Time // by opaque id, when it was last written or noted
	pending map[string]bool
}

// maxUsage bounds the memory of usage; beyond it the rest is forgotten.
const maxUsage = 10_000

// note remembers that the client got a token.
func (u *usage) note(clientID string, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if noted, ok := u.clients[clientID]; ok && now.Sub(noted) < storage.ClientUse {
		return
	}
	if u.clients == nil || len(u.clients) >= maxUsage {
		u.clients = make(map[string]time.Time)
	}
	if u.pending == nil {
		u.pending = make(map[string]bool)
	}
	u.clients[clientID], u.pending[clientID] = now, true
}

// write writes what was noted. What could not be written is noted anew with the
// client's next token.
func (u *usage) write(ctx context.Context, store storage.ClientStore, now time.Time) error {
	u.mu.Lock()
	ids := slices.Sorted(maps.Keys(u.pending))
	u.pending = nil
	u.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	err := store.NoteClientsUsed(ctx, ids, now)
	if err != nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		for _, id := range ids {
			delete(u.clients, id)
		}
	}
	return err
}
