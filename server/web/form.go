package web

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The bounds of what a stranger may send, in bytes and parameters.
const (
	MaxBody       = 64 << 10
	MaxRequestURI = 16 << 10
	maxParameters = 200
)

// The ways in which parameters are unreadable. Callers choose the answer.
var (
	ErrContentType = errors.New("content type is not application/x-www-form-urlencoded")
	ErrTooLarge    = errors.New("request is too large")
	ErrMalformed   = errors.New("parameters are malformed")
)

// Parameters are the parameters of one request. Those with an empty value count
// as not sent (OAuth 2.1 §3.1).
type Parameters struct {
	url.Values
	// Repeated are the names sent more than once, except those that may be.
	Repeated []string
}

// ParseParameters reads an encoded query or body strictly: one malformed pair
// spoils it (ErrMalformed). repeatable names may occur more than once.
func ParseParameters(encoded string, repeatable ...string) (Parameters, error) {
	values, err := url.ParseQuery(encoded)
	if err != nil {
		return Parameters{}, ErrMalformed
	}
	if len(values) > maxParameters {
		return Parameters{}, ErrTooLarge
	}
	p := Parameters{Values: url.Values{}}
	for name, sent := range values {
		if len(sent) > 1 && !slices.Contains(repeatable, name) {
			p.Repeated = append(p.Repeated, name)
		}
		if kept := slices.DeleteFunc(sent, func(v string) bool { return v == "" }); len(kept) > 0 {
			p.Values[name] = kept
		}
	}
	slices.Sort(p.Repeated)
	return p, nil
}

// CanonicalQuery spells an encoded query in the one way that neither browsers nor
// html/template change: two queries that say the same in the same order become
// equal. The query must be one that ParseParameters reads.
func CanonicalQuery(rawQuery string) string {
	pairs := strings.Split(rawQuery, "&")
	for i, pair := range pairs {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		pairs[i] = respell(name) + "=" + respell(value)
	}
	return strings.Join(pairs, "&")
}

func respell(encoded string) string {
	plain, err := url.QueryUnescape(encoded)
	if err != nil {
		return encoded
	}
	return url.QueryEscape(plain)
}

// ReadForm reads a request body of application/x-www-form-urlencoded, at most
// MaxBody long. Parameters in the query are not part of it. ErrContentType,
// ErrTooLarge, ErrMalformed.
func ReadForm(r *http.Request, repeatable ...string) (Parameters, error) {
	sent := r.Header.Values("Content-Type")
	if len(sent) != 1 {
		return Parameters{}, ErrContentType
	}
	if mediaType, _, err := mime.ParseMediaType(sent[0]); err != nil || mediaType != "application/x-www-form-urlencoded" {
		return Parameters{}, ErrContentType
	}
	body, err := ReadBody(r)
	if err != nil {
		return Parameters{}, err
	}
	return ParseParameters(string(body), repeatable...)
}

// ReadBody reads at most MaxBody bytes. ErrTooLarge, ErrMalformed.
func ReadBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, ErrTooLarge
	case err != nil:
		return nil, ErrMalformed
	}
	return body, nil
}

// OAuthFormError is the OAuth answer to an unreadable form; any other error is
// returned as it is.
func OAuthFormError(err error) error {
	switch {
	case errors.Is(err, ErrContentType):
		return NewOAuthError("invalid_request", "The content type must be application/x-www-form-urlencoded.")
	case errors.Is(err, ErrTooLarge):
		return &OAuthError{Status: http.StatusRequestEntityTooLarge, Code: "invalid_request", Description: "The request is too large."}
	case errors.Is(err, ErrMalformed):
		return NewOAuthError("invalid_request", "The parameters are malformed.")
	}
	return err
}
