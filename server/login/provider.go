package login

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"grantd/storage"
)

// SignedIn is a sign-in with a Provider that proved one factor.
type SignedIn struct {
	UserID     string
	ProviderID string
	AMR        []string // what the Provider says of it
	At         time.Time
	// Required has a second factor proved here whatever the sign-in is for.
	Required bool
}

// AskSecond shows the second step to somebody who has signed in with a Provider, if the
// sign-in or the /authorize request with rawQuery needs two factors; who has no second
// one sets one up. If asked is false, nothing is written, and one factor is enough.
// storage.ErrNotFound: the user is gone or disabled; storage.ErrUnavailable.
func (h *Handler) AskSecond(w http.ResponseWriter, r *http.Request, rawQuery string, in SignedIn) (asked bool, err error) {
	if h.Factors == nil {
		return false, nil
	}
	user, err := h.Store.User(r.Context(), in.UserID)
	if err == nil && user.Disabled {
		err = storage.ErrNotFound
	}
	if err != nil {
		return false, err
	}
	if !in.Required {
		if needed, err := h.neededFor(r.Context(), rawQuery, user.Groups); err != nil || !needed {
			return false, err
		}
	}
	factors, err := h.Factors.Of(r.Context(), user.ID)
	if err != nil {
		return false, err
	}
	page := r.Clone(r.Context())
	page.URL = &url.URL{Path: h.issuer.Root() + "/login", RawQuery: rawQuery}
	s := h.newStep(user, in.AMR)
	s.ProviderID, s.Since = in.ProviderID, in.At
	if factors.Any() {
		return true, h.showSecond(w, page, http.StatusOK, user, s, factors, "")
	}
	return true, h.beginEnrolment(w, page, user, s)
}

// neededFor reports whether the /authorize request with this raw query needs a second
// factor of who comes from there.
func (h *Handler) neededFor(ctx context.Context, rawQuery string, groups []string) (bool, error) {
	if h.StepUp == nil || rawQuery == "" {
		return false, nil
	}
	needed, _, err := h.StepUp(ctx, rawQuery, groups, nil)
	return needed, err
}

// beginEnrolment shows the set-up of a second factor to who must have one.
func (h *Handler) beginEnrolment(w http.ResponseWriter, r *http.Request, user *storage.User, s step) error {
	begun, err := h.Factors.BeginTOTP(user)
	if err != nil {
		return err
	}
	return h.showEnrolment(w, r, http.StatusOK, user, s, begun, "")
}

// MustBeFresh reports whether a sign-in with this query leads to where only who has
// signed in anew may change something.
func MustBeFresh(rawQuery string) bool { return rawQuery == securityQuery }
