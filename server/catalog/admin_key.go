package catalog

import (
	"context"
	"encoding/hex"
	"fmt"

	"grantd/storage"
)

// maxAdminKeys bounds the memory of the cache; beyond it the cache starts anew.
const maxAdminKeys = 1000

// AdminKeyByHash returns the key with this hash, expired or not. A hash that no key
// has is not remembered: anybody could make such. storage.ErrNotFound.
func (c *Catalog) AdminKeyByHash(ctx context.Context, hash []byte) (*storage.AdminKey, error) {
	name := hex.EncodeToString(hash)
	c.mu.RLock()
	key, fresh, epoch := c.admins[name], c.fresh(), c.epoch
	c.mu.RUnlock()
	if key != nil && fresh {
		return key, nil
	}
	found, err := c.once(ctx, fmt.Sprint(epoch, " admin key ", name), func(ctx context.Context) (any, error) { return c.store.AdminKeyByHash(ctx, hash) })
	if err != nil {
		return nil, err
	}
	key = found.(*storage.AdminKey)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch == epoch {
		if len(c.admins) >= maxAdminKeys {
			clear(c.admins)
		}
		c.admins[name] = key
	}
	return key, nil
}
