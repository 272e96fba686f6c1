package web

import (
	"net/http"
	"strings"
)

// Prefetch reports whether a browser fetches a page without the person having asked
// for it.
func Prefetch(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") || strings.EqualFold(r.Header.Get("Purpose"), "prefetch")
}
