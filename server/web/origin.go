package web

import (
	"errors"
	"net/http"
)

// ErrCrossOrigin: a browser says that another site sent this.
var ErrCrossOrigin = errors.New("sent from another origin")

// CheckOrigin refuses with a 403 a request that a browser marks as coming from
// another site: Sec-Fetch-Site must be same-origin (or none: typed by the
// person) where it is sent, else Origin must be the issuer's. Programs that are
// no browsers send neither and have no cookie to abuse.
func CheckOrigin(r *http.Request, issuer Issuer) error {
	refused := &Error{
		Status: http.StatusForbidden, Code: "cross-origin", Title: "This request came from another site",
		Message: "For your safety it was not carried out. Go back to the application and start again.", Err: ErrCrossOrigin,
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "same-origin", "none":
		// A browser that vouches for the site may still send Origin "null"
		// under a strict referrer policy.
		if origin := r.Header.Get("Origin"); origin != "" && origin != "null" && origin != issuer.Origin() {
			return refused
		}
		return nil
	case "":
		if origin := r.Header.Get("Origin"); origin != "" && origin != issuer.Origin() {
			return refused
		}
		return nil
	default:
		return refused
	}
}
