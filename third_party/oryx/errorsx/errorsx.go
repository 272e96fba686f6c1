// Package errorsx has the error helpers that fosite calls by this import path.
package errorsx

import "github.com/pkg/errors"

// Cause returns the innermost error.
func Cause(err error) error { return errors.Cause(err) }

// WithStack returns err with a stack, unless it carries one already or is nil.
func WithStack(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := err.(interface{ StackTrace() errors.StackTrace }); ok {
		return err
	}
	return errors.WithStack(err)
}

// The interfaces by which fosite's errors tell what they know.
type (
	// StatusCodeCarrier has an HTTP status.
	StatusCodeCarrier interface{ StatusCode() int }
	// RequestIDCarrier has the id of the request.
	RequestIDCarrier interface{ RequestID() string }
	// ReasonCarrier has a reason.
	ReasonCarrier interface{ Reason() string }
	// DebugCarrier has debugging text.
	DebugCarrier interface{ Debug() string }
	// StatusCarrier has a status text.
	StatusCarrier interface{ Status() string }
	// DetailsCarrier has further details.
	DetailsCarrier interface{ Details() map[string]interface{} }
)
