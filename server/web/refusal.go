package web

import (
	"errors"
	"net/http"

	"grantd/storage"
)

// Refused tells whoever counts refusals why this request is refused. The reason is
// one of the error codes in the program, never what a caller sent.
func Refused(w http.ResponseWriter, reason string) {
	for {
		if counter, ok := w.(interface{ Refused(reason string) }); ok {
			counter.Refused(reason)
			return
		}
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = wrapper.Unwrap()
	}
}

// reasonOf is the code of an error that a page shows.
func reasonOf(err error) string {
	var page *Error
	var oauth *OAuthError
	switch {
	case errors.As(err, &page):
		return page.Code
	case errors.As(err, &oauth):
		return oauth.Code
	case errors.Is(err, ErrUnattended):
		return "unattended"
	case errors.Is(err, storage.ErrNotFound), Unavailable(err):
		return faceOf(err).Code
	}
	return "other"
}
