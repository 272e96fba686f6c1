package catalog

import (
	"context"
	"fmt"

	"grantd/storage"
)

// SignInPolicy returns the policy.
func (c *Catalog) SignInPolicy(ctx context.Context) (*storage.SignInPolicy, error) {
	c.mu.RLock()
	known, fresh, epoch := c.signIn, c.fresh(), c.epoch
	c.mu.RUnlock()
	if known != nil && fresh {
		return known, nil
	}
	found, err := c.once(ctx, fmt.Sprint(epoch, " sign-in policy"), func(ctx context.Context) (any, error) { return c.store.SignInPolicy(ctx) })
	if err != nil {
		return nil, err
	}
	read := found.(*storage.SignInPolicy)
	c.mu.Lock()
	if c.epoch == epoch {
		c.signIn = read
	}
	c.mu.Unlock()
	return read, nil
}
