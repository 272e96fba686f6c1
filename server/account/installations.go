package account

import (
	"context"
	"errors"
	"net/http"

	"grantd/storage"
)

// families are the user's installations, of whatever application.
func (h *Handler) families(ctx context.Context, userID string) ([]*storage.Family, error) {
	return everyPage(func(page storage.Page) ([]*storage.Family, error) {
		return h.Store.UserFamilies(ctx, userID, h.Now(), page)
	}, func(f *storage.Family) string { return f.ID })
}

// EndInstallation ends one sign-in of an application, with its tokens, and leaves what
// the application may do (POST).
func (h *Handler) EndInstallation() http.Handler { return h.attend(h.endInstallation) }

func (h *Handler) endInstallation(v *visit) error {
	form, err := v.form()
	if err != nil {
		return err
	}
	families, err := h.families(v.r.Context(), v.user().ID)
	if err != nil {
		return err
	}
	for _, f := range families {
		if f.ID != form.Get("installation") {
			continue
		}
		event := h.event(v, "family.ended", f.ID).With("client_id", f.ClientID).With("resource_id", f.ResourceID).With("reason", "ended on the account page")
		if err := h.Store.EndFamily(v.r.Context(), f.ID, event); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	// What is not there (any more) is signed out, whoever's it was.
	return h.done(v, "ended")
}
