package account

import (
	"context"
	"slices"
)

// providers returns what the sign-in page calls the providers that the user signs in
// with, those that are switched off too.
func (h *Handler) providers(ctx context.Context, userID string) ([]string, error) {
	identities, err := h.Store.UserIdentities(ctx, userID)
	if err != nil || len(identities) == 0 {
		return nil, err
	}
	ids := make([]string, len(identities))
	for i, identity := range identities {
		ids[i] = identity.ProviderID
	}
	all, err := h.Catalog.Providers(ctx)
	if err != nil {
		return nil, err
	}
	var labels []string
	for _, p := range all {
		if slices.Contains(ids, p.ID) {
			labels = append(labels, p.ButtonLabel())
		}
	}
	return labels, nil
}
