// Package discover reads what an MCP server says of itself to anybody who asks:
// how it refuses a request without a token, its protected-resource metadata
// (RFC 9728) and, where it lists them to everybody, its tools. From that it
// proposes the Resource an administrator may want.
//
// What it reads was written by strangers. Size, number and time of the answers
// are bounded, no request leaves the host that was named, and no text reaches the
// caller that could command a terminal or hide in a page.
package discover

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"grantd/storage"
)

// DefaultTimeout is how long a server is given for all of its answers.
const DefaultTimeout = 15 * time.Second

// Access says what a server does with a request that carries no token.
type Access string

// The kinds of Access.
const (
	// AccessOpen: it lists its tools to everybody. It has no authorization yet, or
	// only for calling them.
	AccessOpen Access = "open"
	// AccessTools: it introduces itself to everybody, but does not list its tools.
	AccessTools Access = "tools-protected"
	// AccessProtected: it answers 401 to everything.
	AccessProtected Access = "protected"
)

// Server is what an MCP server says of itself.
type Server struct {
	// URI is what its tokens have to be for: the URL as it was given, in canonical
	// form, or what its metadata says, where the two may differ.
	URI    string `json:"uri"`
	Name   string `json:"name,omitempty"`
	Access Access `json:"access"`
	// ChallengeScopes are those that its 401 asks for.
	ChallengeScopes []string `json:"challenge_scopes,omitempty"`
	// MetadataURL is where its metadata was found; "" when there is none.
	MetadataURL          string   `json:"metadata_url,omitempty"`
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	ScopesSupported      []string `json:"scopes_supported,omitempty"`
	Tools                []Tool   `json:"tools,omitempty"`
	// Notes are sentences about what an administrator ought to know.
	Notes []string `json:"notes,omitempty"`
}

// Tool is an MCP tool that a server lists.
type Tool struct {
	Name string `json:"name"`
	// Risk is as its annotations say.
	Risk storage.ScopeRisk `json:"risk"`
	// Annotated: the server says what the tool does; otherwise Risk is MCP's default.
	Annotated bool `json:"annotated"`
}

// Error is why nothing could be learned of a server.
type Error struct {
	// Problem is the rest of a sentence that begins with the URL.
	Problem string
	// Mend says what to do about it, or is "".
	Mend string
}

// Error returns both in one text.
func (e *Error) Error() string {
	if e.Mend == "" {
		return e.Problem
	}
	return e.Problem + "\nmend: " + e.Mend
}

// Read asks the MCP server at uri, which must be canonical
// (storage.CanonicalResourceURI), and waits no longer than timeout. Its error is
// an *Error, or ctx's.
func Read(ctx context.Context, uri string, timeout time.Duration) (*Server, error) {
	target, err := url.Parse(uri)
	if err != nil {
		return nil, storage.ErrResourceURI
	}
	limited, cancel := context.WithTimeoutCause(ctx, timeout, &Error{
		Problem: fmt.Sprintf("did not answer completely within %s", timeout),
		Mend:    "--timeout gives it longer",
	})
	defer cancel()
	r := &reader{uri: uri, target: target, server: &Server{URI: uri}}
	err = r.read(limited)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && limited.Err() != nil:
		return nil, context.Cause(limited)
	case err != nil:
		return nil, err
	}
	return r.server, nil
}

// reader is one reading of a server.
type reader struct {
	uri    string
	target *url.URL
	server *Server
}

func (r *reader) read(ctx context.Context) error {
	challenge, err := r.listTools(ctx)
	if err != nil {
		return err
	}
	pointer := ""
	if challenge != nil {
		pointer = challenge.metadata
		r.server.ChallengeScopes = challenge.scopes
	}
	return r.readMetadata(ctx, pointer)
}

// note adds a sentence for the administrator, once.
func (r *reader) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(r.server.Notes, text) {
		r.server.Notes = append(r.server.Notes, text)
	}
}

// asError is err as an *Error: what happened is told in our words, never in those
// of a server.
func asError(err error, otherwise *Error) *Error {
	if already, ok := errors.AsType[*Error](err); ok {
		return already
	}
	return otherwise
}

// clean is text without what could command a terminal or hide in a page, on one
// line and of at most limit characters.
func clean(text string, limit int) string {
	// Bytes first: a text of megabytes is not worth looking at whole.
	if most := 8 * limit; len(text) > most {
		text = text[:most]
	}
	text = strings.Map(func(c rune) rune {
		switch {
		case c == '\t' || c == '\n' || c == '\r':
			return ' '
		case c == '\uFFFD' || storage.Invisible(c):
			return -1
		}
		return c
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if characters := []rune(text); len(characters) > limit {
		text = strings.TrimSpace(string(characters[:limit-1])) + "…"
	}
	return text
}
