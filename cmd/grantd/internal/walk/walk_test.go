package walk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"grantd/cmd/grantd/internal/walk"
	"grantd/examples/mcp-server/notes"
)

// startNotes starts the real Notes server with tokens from issuer.
func startNotes(t *testing.T, issuer string) (url string) {
	t.Helper()
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	var err error
	handler, err = notes.New(notes.Config{
		ResourceURI: server.URL + "/mcp", Issuer: issuer, ClientID: notesClient, ClientSecret: notesClientProof,
	})
	if err != nil {
		t.Fatal(err)
	}
	return server.URL + "/mcp"
}

func options(mcpURL string, approver walk.Approver, out io.Writer) walk.Options {
	return walk.Options{
		MCPURL:    mcpURL,
		ReadTool:  walk.Tool{Name: notes.ToolList},
		WriteTool: walk.Tool{Name: notes.ToolAdd, Arguments: map[string]any{"title": "Hello", "text": "from the walk"}},
		Approver:  approver,
		Out:       out,
	}
}

func TestHeadlessWalk(t *testing.T) {
	server := newFakeServer(t, "")
	mcpURL := startNotes(t, server.issuer())
	var out bytes.Buffer
	if err := walk.Run(t.Context(), options(mcpURL, walk.NewHeadless(username, password), &out)); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		"401 Unauthorized",
		"403 Forbidden",
		`page "Sign in": signing in as alice`,
		`page "Allow?": approving notes:read` + "\n",
		`page "Allow?": approving notes:read notes:write` + "\n",
		"/tenant/.well-known/openid-configuration → 200 OK",
		"aud=" + mcpURL + "\n",
		"Welcome",
		"from the walk",
		"400 Bad Request invalid_grant",
		"All 14 steps passed.",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q", want)
		}
	}
	if got := strings.Count(out.String(), "signing in as"); got != 1 {
		t.Errorf("signed in %d times", got)
	}
	assertHidden(t, server, out.String())
	if t.Failed() {
		t.Log(out.String())
	}
}

// TestPersonWalk has the browser of a person opened, which here is a headless
// one.
func TestPersonWalk(t *testing.T) {
	server := newFakeServer(t, "")
	mcpURL := startNotes(t, server.issuer())
	browser := walk.NewHeadless(username, password)
	visits := make(chan error, 2)
	person := walk.Person{SignIn: "alice", Open: func(ctx context.Context, url string) {
		go func() {
			_, rest, _ := strings.Cut(url, "redirect_uri=")
			redirect, _, _ := strings.Cut(rest, "&")
			redirect = strings.NewReplacer("%3A", ":", "%2F", "/").Replace(redirect)
			visits <- browser.Approve(context.WithoutCancel(ctx), walk.AuthorizationRequest{URL: url, RedirectURI: redirect}, func(string) {})
		}()
	}}
	var out bytes.Buffer
	if err := walk.Run(t.Context(), options(mcpURL, person, &out)); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for range 2 {
		if err := <-visits; err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(out.String(), "  "+server.issuer()+"/authorize?") || !strings.Contains(out.String(), "Sign in as alice.") {
		t.Errorf("nobody was told where to go:\n%s", out.String())
	}
	assertHidden(t, server, out.String())
}

func TestFaultsAreSeen(t *testing.T) {
	tests := []struct {
		fault string
		step  int
		got   string // part of what is reported to have come
	}{
		{"issuer with a slash", 3, `/tenant/"`},
		{"no S256", 3, "it was []"},
		{"no registration", 3, `it was ""`},
		{"registration answers 200", 4, "200 OK"},
		{"registration gives a secret", 4, "the method was"},
		{"registration forgets the redirect", 4, "it was []"},
		{"consent cannot be approved", 5, `no decision "approve"`},
		{"denied", 5, "access_denied"},
		{"wrong iss", 5, "it was"},
		{"no iss", 5, `it was ""`},
		{"iss not advertised", 5, "it was"},
		{"wrong state", 5, "its callback said 404"},
		{"two codes", 5, "code came 2 times"},
		{"token response may be cached", 6, `it was ""`},
		{"no refresh token", 6, "there was none"},
		{"narrower scope", 6, "(none)"},
		{"wrong audience", 6, "other.example"},
		{"refresh token stays", 8, "the old one"},
		{"scope ignored", 9, "the tool was run"},
		{"revocation does nothing", 14, "200 OK"},
	}
	for _, test := range tests {
		t.Run(test.fault, func(t *testing.T) {
			server := newFakeServer(t, test.fault)
			mcpURL := startNotes(t, server.issuer())
			var out bytes.Buffer
			err := walk.Run(t.Context(), options(mcpURL, walk.NewHeadless(username, password), &out))
			assertFailure(t, err, test.step, test.got)
			assertHidden(t, server, out.String())
		})
	}
}

func TestWrongPasswordIsSeen(t *testing.T) {
	server := newFakeServer(t, "")
	mcpURL := startNotes(t, server.issuer())
	err := walk.Run(t.Context(), options(mcpURL, walk.NewHeadless(username, "wrong"), io.Discard))
	assertFailure(t, err, 5, `401 "Sign in": That is not right.`)
}

func TestNoProtectedServer(t *testing.T) {
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	t.Cleanup(open.Close)
	err := walk.Run(t.Context(), options(open.URL, walk.NewHeadless(username, password), io.Discard))
	assertFailure(t, err, 1, "200 OK")
}

func TestInterruptedWalk(t *testing.T) {
	server := newFakeServer(t, "")
	mcpURL := startNotes(t, server.issuer())
	ctx, cancel := context.WithCancel(t.Context())
	err := walk.Run(ctx, options(mcpURL, walk.Person{Open: func(context.Context, string) { cancel() }}, io.Discard))
	assertFailure(t, err, 5, "interrupted")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not context.Canceled", err)
	}
}

func assertFailure(t *testing.T, err error, step int, got string) {
	t.Helper()
	var failure *walk.Error
	if !errors.As(err, &failure) {
		t.Fatalf("error %v", err)
	}
	if failure.Number != step || !strings.Contains(failure.Got, got) || failure.Want == "" {
		t.Errorf("%v, want step %d with %q", failure, step, got)
	}
}

func assertHidden(t *testing.T, server *fakeServer, out string) {
	t.Helper()
	for _, secret := range server.hidden() {
		if strings.Contains(out, secret) {
			t.Errorf("the output shows %s", secret)
		}
	}
}
