package catalog

import (
	"context"

	"grantd/storage"
)

// Providers returns all Providers, oldest first, those that are disabled too.
func (c *Catalog) Providers(ctx context.Context) ([]*storage.Provider, error) {
	return whole(ctx, c, "providers", &c.idps, c.store.Providers, func(p *storage.Provider) string { return p.ID })
}
