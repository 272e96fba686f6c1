package catalog

import (
	"context"
	"fmt"

	"grantd/storage"
)

// Providers returns all Providers, oldest first, those that are disabled too.
func (c *Catalog) Providers(ctx context.Context) ([]*storage.Provider, error) {
	c.mu.RLock()
	all, fresh, epoch := c.idps, c.fresh(), c.epoch
	c.mu.RUnlock()
	if all != nil && fresh {
		return all, nil
	}
	found, err := c.once(ctx, fmt.Sprint(epoch, " providers"), func(ctx context.Context) (any, error) {
		all := []*storage.Provider{}
		page := storage.Page{Limit: resourcePage}
		for {
			some, err := c.store.Providers(ctx, page)
			if err != nil {
				return nil, err
			}
			if all = append(all, some...); len(some) < page.Limit {
				return all, nil
			}
			page.After = some[len(some)-1].ID
		}
	})
	if err != nil {
		return nil, err
	}
	all = found.([]*storage.Provider)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch == epoch {
		c.idps = all
	}
	return all, nil
}
