package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"grantd/storage"
)

// Error is an error with a face: Message is for the person or program outside,
// Err for the log. Anything that is not an Error is shown as an internal one.
type Error struct {
	Status  int               // HTTP status
	Code    string            // a stable word; for pages and problem+json
	Title   string            // a short heading for pages; empty: the status text
	Message string            // a sentence for whoever sees it, without input or secrets
	Values  map[string]string // what stands for each {name} in Message; nil: it has none
	Help    string            // what to do about it, for pages; may be empty
	Err     error             // for the log; may be nil
	// Link is a path of grantd's that leads on, and LinkText what it is called; for
	// pages; may be empty.
	Link, LinkText string
	// RetryAfter is sent as Retry-After, in seconds, when above zero.
	RetryAfter int
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Code + ": " + e.Err.Error()
	}
	return e.Code + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// unavailableRetry is how long a caller is asked to wait after an outage, in
// seconds.
const unavailableRetry = 2

// Unavailable reports whether err means that something behind grantd did not
// answer, so that nobody outside is to blame.
func Unavailable(err error) bool {
	return errors.Is(err, storage.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// faceOf turns any error into one that may be shown.
func faceOf(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case Unavailable(err):
		return &Error{
			Status: http.StatusServiceUnavailable, Code: "unavailable", Title: "Please try again in a moment",
			Message: "The server cannot do this at the moment. Nothing was changed.", Err: err, RetryAfter: unavailableRetry,
		}
	case errors.Is(err, storage.ErrNotFound):
		return &Error{Status: http.StatusNotFound, Code: "not-found", Message: "There is nothing here by that name.", Err: err}
	case errors.Is(err, storage.ErrExists):
		return &Error{Status: http.StatusConflict, Code: "already-exists", Message: "Something by that name exists already.", Err: err}
	case errors.Is(err, storage.ErrConflict):
		return &Error{Status: http.StatusConflict, Code: "conflict", Message: "It was changed in the meantime; read it again and repeat.", Err: err}
	}
	return &Error{
		Status: http.StatusInternalServerError, Code: "internal", Title: "Something went wrong",
		Message: "Something went wrong on the server. It has been logged.", Err: err,
	}
}

// LogError logs an error that a room has shown by itself.
func LogError(r *http.Request, status int, err error) { logError(r, status, err) }

// logError writes an error once, at the edge: what strangers can cause at debug
// level, what we must mend at error level.
func logError(r *http.Request, status int, err error) {
	level := slog.LevelDebug
	if status >= 500 && !errors.Is(err, storage.ErrBusy) { // that is told once, not for each
		level = slog.LevelError
	}
	slog.Default().Log(r.Context(), level, "request failed", "method", r.Method, "path", r.URL.Path, "status", status,
		"request_id", RequestID(r.Context()), "error", err.Error())
}

func retryAfter(h http.Header, seconds int) {
	if seconds > 0 {
		h.Set("Retry-After", strconv.Itoa(seconds))
	}
}
