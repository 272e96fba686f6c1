// Package walk acts as an MCP client in a terminal and shows each step of the
// authorization as it happens (MCP specification, "Authorization"): challenge,
// discovery, registration, approval, token, tool call, refresh, step-up,
// revocation.
//
// It is strict where real clients are: a step that such a client would refuse
// ends the walk with what was expected and what came. Secrets are never shown
// whole.
package walk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Options say where to walk.
type Options struct {
	// MCPURL is the protected MCP server.
	MCPURL string
	// ReadTool is a tool that the scopes of the first challenge allow.
	ReadTool Tool
	// WriteTool is a tool that needs a scope more. Without a name the step-up is
	// left out.
	WriteTool Tool
	// Approver gets the approval of a person.
	Approver Approver
	// Out is where the steps are shown.
	Out io.Writer
}

// Tool is a call of an MCP tool.
type Tool struct {
	Name      string
	Arguments map[string]any
}

// Approver gets a person's approval: it brings a browser to the URL of an
// authorization request. The walk itself waits for the answer at the client's
// redirect URI, so an Approver may return before it has come.
type Approver interface {
	// Approve tells what happens through say, one line each time.
	Approve(ctx context.Context, request AuthorizationRequest, say func(line string)) error
}

// AuthorizationRequest is what a browser is sent to, and where it must come back.
type AuthorizationRequest struct {
	URL         string
	RedirectURI string
}

// approvalTimeout is how long a person may take.
const approvalTimeout = 5 * time.Minute

// Error says which step did not go as it must.
type Error struct {
	Number int // from 1
	Step   string
	Want   string // what was expected
	Got    string // what came instead
	Err    error  // the cause, may be nil
}

func (e *Error) Error() string {
	return fmt.Sprintf("step %d, %q: expected %s, but %s", e.Number, e.Step, e.Want, e.Got)
}

func (e *Error) Unwrap() error { return e.Err }

// Run walks until the end or the first step that fails, which it returns as an
// *Error.
func Run(ctx context.Context, options Options) error {
	callback, err := listenForCallback(ctx)
	if err != nil {
		return err
	}
	defer callback.close()
	w := &walker{Options: options, callback: callback, http: &http.Client{
		Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // no endpoint here may redirect
		},
	}}
	defer w.http.CloseIdleConnections()
	for i, step := range w.script() {
		w.print("\n%2d. %s\n", i+1, step.title)
		if err := step.do(ctx); err != nil {
			failure := asError(err)
			failure.Number, failure.Step = i+1, step.title
			w.print("\n    This step failed.\n    expected: %s\n    came:     %s\n", failure.Want, failure.Got)
			return failure
		}
	}
	w.print("\nAll %d steps passed.\n", len(w.script()))
	return nil
}

type step struct {
	title string
	do    func(context.Context) error
}

func (w *walker) script() []step {
	steps := []step{
		{"Call the MCP server without a token", w.provokeChallenge},
		{"Ask it where its tokens come from (RFC 9728)", w.readResourceMetadata},
		{"Read the authorization server's metadata (RFC 8414)", w.readServerMetadata},
		{"Register as a client (RFC 7591)", w.register},
		{"Ask a person for approval (PKCE, resource indicator)", w.askForApproval},
		{"Trade the code for tokens", w.redeemCode},
		{"Call a tool with the access token", w.callReadTool},
		{"Refresh: a new access token, a new refresh token", w.refresh},
	}
	if w.WriteTool.Name != "" {
		steps = append(steps,
			step{"Call a tool that needs more than was approved", w.provokeStepUp},
			step{"Ask for approval again, of old and new scopes together", w.askForApproval},
			step{"Trade the new code for tokens", w.redeemCode},
			step{"Call that tool again", w.callWriteTool},
		)
	}
	return append(steps,
		step{"Revoke the refresh token (RFC 7009)", w.revoke},
		step{"Nothing works any more", w.confirmRevoked},
	)
}

// walker is one client on its way.
type walker struct {
	Options
	http     *http.Client
	callback *callback

	metadataURL string   // of the resource, from the challenge
	wanted      []string // the scopes to ask for next
	resource    string
	issuer      string
	server      serverMetadata
	clientID    string
	pending     pendingApproval
	tokens      tokenResponse
}

func (w *walker) print(format string, arguments ...any) {
	_, _ = fmt.Fprintf(w.Out, format, arguments...) // a broken terminal is no failed step
}

// say shows one line of what happens within a step.
func (w *walker) say(format string, arguments ...any) {
	w.print("    %s\n", fmt.Sprintf(format, arguments...))
}

// failed makes the error of a step: got is a clause, "the status was 200".
func failed(want, got string, arguments ...any) error {
	return &Error{Want: want, Got: fmt.Sprintf(got, arguments...)}
}

func asError(err error) *Error {
	if failure := (*Error)(nil); errors.As(err, &failure) {
		return failure
	}
	got := err.Error()
	if errors.Is(err, context.Canceled) {
		got = "the walk was interrupted"
	}
	return &Error{Want: "an answer", Got: got, Err: err}
}

// masked shows that there is a secret, and enough of it to tell it from others.
func masked(secret string) string {
	const shown = 8
	if len(secret) <= 2*shown {
		return "…"
	}
	return secret[:shown] + "…"
}

// scopes joins scope names for people.
func scopes(names []string) string {
	if len(names) == 0 {
		return "(none)"
	}
	return strings.Join(names, " ")
}
