package keys

import (
	"crypto/sha256"
	"sync"
)

// maxVerified bounds the memory of what was verified to a few megabytes.
const maxVerified = 4096

// verified remembers the claims of tokens whose signatures were good. An MCP
// server asks about one token with each call, and verifying costs more than all
// the rest of an answer. It belongs to a set of keys and is gone with it, so a key
// that is withdrawn verifies nothing. Only what grantd has signed gets in.
// Whether a token has expired or been revoked is not its business.
type verified struct {
	mu     sync.RWMutex
	claims map[[sha256.Size]byte]any
}

// get returns the claims of a token that was verified before, nil of any other.
func (c *verified) get(token string) any {
	key := sha256.Sum256([]byte(token))
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.claims[key]
}

// add remembers a token. When there is no room the rest is forgotten.
func (c *verified) add(token string, claims any) {
	key := sha256.Sum256([]byte(token))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claims == nil || len(c.claims) >= maxVerified {
		c.claims = make(map[[sha256.Size]byte]any)
	}
	c.claims[key] = claims
}
