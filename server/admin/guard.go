package admin

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/mux"

	"grantd/server/web"
)

// plainHeaders keeps every answer, errors and empty ones too, out of caches.
func plainHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// refuseForeignOrigins refuses what a browser says another site sent. The key is
// no ambient credential, so this is a second lock: it also keeps a page from
// probing what listens here.
func refuseForeignOrigins(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !sameOrigin(r) {
			web.WriteProblem(w, r, &web.Error{
				Status: http.StatusForbidden, Code: "cross-origin",
				Message: "The admin API does not answer to pages of other sites.", Err: web.ErrCrossOrigin,
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func sameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return false
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	u, err := url.Parse(origins[0])
	return err == nil && len(origins) == 1 && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// methodNotAllowed answers 405 with the Allow header that the router leaves out
// (RFC 9110 §15.5.6).
func methodNotAllowed(router *mux.Router) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete} {
			other := *r
			other.Method = method
			var match mux.RouteMatch
			if router.Match(&other, &match) && match.MatchErr == nil {
				allowed = append(allowed, method)
			}
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		web.WriteProblem(w, r, &web.Error{
			Status: http.StatusMethodNotAllowed, Code: "method-not-allowed",
			Message: "This path does not take that method; see the Allow header.",
		})
	})
}
