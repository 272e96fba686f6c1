package web

import (
	"errors"
	"net/http"
	"strings"
)

// OAuthError is an error response of RFC 6749 §5.2 and its relatives. Code is a
// registered error code; Description is fixed text, never anything a caller
// sent.
type OAuthError struct {
	Status      int
	Code        string
	Description string
	Err         error // for the log; may be nil
	// Challenge asks for a WWW-Authenticate header: the caller used, or should
	// use, HTTP Basic.
	Challenge bool
	// Bearer asks for one that says that a bearer token is missing or wrong
	// (RFC 6750 §3).
	Bearer     bool
	RetryAfter int // seconds
}

func (e *OAuthError) Error() string {
	if e.Err != nil {
		return e.Code + ": " + e.Description + " (" + e.Err.Error() + ")"
	}
	return e.Code + ": " + e.Description
}

func (e *OAuthError) Unwrap() error { return e.Err }

// NewOAuthError is a 400 with a registered code.
func NewOAuthError(code, description string) *OAuthError {
	return &OAuthError{Status: http.StatusBadRequest, Code: code, Description: description}
}

// InvalidClient is the 401 for a failed client authentication (RFC 6749 §5.2).
func InvalidClient(description string, challenge bool) *OAuthError {
	return &OAuthError{Status: http.StatusUnauthorized, Code: "invalid_client", Description: description, Challenge: challenge}
}

// OAuthErrorOf is the one mapper from any error to an OAuth error. What is not
// an OAuthError is nobody's fault outside: 503 temporarily_unavailable for an
// outage, else 500 server_error. MCP clients throw their credentials away on any
// other answer.
func OAuthErrorOf(err error) *OAuthError {
	var e *OAuthError
	switch {
	case errors.As(err, &e):
		return e
	case Unavailable(err):
		return &OAuthError{
			Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable",
			Description: "The server cannot do this at the moment; nothing was changed. Please retry.", Err: err, RetryAfter: unavailableRetry,
		}
	}
	return &OAuthError{Status: http.StatusInternalServerError, Code: "server_error", Description: "Something went wrong on the server.", Err: err}
}

// WriteOAuthError answers with err as JSON.
func WriteOAuthError(w http.ResponseWriter, r *http.Request, realm string, err error) {
	e := OAuthErrorOf(err)
	logError(r, e.Status, err)
	Refused(w, e.Code)
	quoted := `realm="` + strings.ReplaceAll(realm, `"`, "") + `"`
	switch {
	case e.Challenge:
		w.Header().Set("WWW-Authenticate", "Basic "+quoted+`, charset="UTF-8"`)
	case e.Bearer:
		w.Header().Set("WWW-Authenticate", "Bearer "+quoted+`, error="invalid_token"`)
	}
	retryAfter(w.Header(), e.RetryAfter)
	body := map[string]string{"error": e.Code}
	if e.Description != "" {
		body["error_description"] = e.Description
	}
	WriteJSON(w, e.Status, body)
}
