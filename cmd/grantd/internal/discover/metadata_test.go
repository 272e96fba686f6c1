package discover_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"grantd/cmd/grantd/internal/discover"
)

const (
	wellKnown = "/.well-known/oauth-protected-resource"
	good      = `{"resource":"ORIGIN/mcp","resource_name":"Notes","authorization_servers":["https://auth.example.com","https://other.example.com"],"scopes_supported":["notes:read","openid","notes:write","notes:read","a b"]}`
	root      = `{"resource":"ORIGIN/","scopes_supported":["all"]}`
)

// RFC 9728 §5 and the order of MCP clients: where the 401 points to, the path
// inserted, the root.
func TestMetadataIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		server standIn
		at     string // path of the metadata; "" none
		uri    string // path of the Resource
		scopes []string
		note   string
	}{
		"where the 401 points to": {
			standIn{challenge: `Bearer resource_metadata="ORIGIN/about.json", scope="notes:read"`, documents: map[string]string{"/about.json": good, wellKnown + "/mcp": `{}`}},
			"/about.json", "/mcp",
			[]string{"notes:read", "notes:write"},
			"of its 5 scopes 3 cannot",
		},
		"path inserted": {
			standIn{challenge: `Bearer realm="x"`, documents: map[string]string{wellKnown + "/mcp": good, wellKnown: root}},
			wellKnown + "/mcp", "/mcp",
			[]string{"notes:read", "notes:write"},
			"",
		},
		"without any challenge": {
			standIn{documents: map[string]string{wellKnown + "/mcp": good}},
			wellKnown + "/mcp", "/mcp",
			[]string{"notes:read", "notes:write"},
			"",
		},
		"root, about the endpoint": {
			standIn{documents: map[string]string{wellKnown: good}},
			wellKnown, "/mcp",
			[]string{"notes:read", "notes:write"},
			"",
		},
		"root, about the origin": {
			standIn{documents: map[string]string{wellKnown: root}},
			wellKnown, "/",
			[]string{"all"},
			"and so will clients",
		},
		"a trailing slash more": {
			standIn{documents: map[string]string{wellKnown + "/mcp": `{"resource":"ORIGIN/mcp/"}`}},
			wellKnown + "/mcp", "/mcp/", nil, "",
		},
		"a pointer to nothing": {
			standIn{challenge: `Bearer resource_metadata="ORIGIN/gone.json"`, documents: map[string]string{wellKnown + "/mcp": good}},
			wellKnown + "/mcp", "/mcp",
			[]string{"notes:read", "notes:write"},
			"points to metadata that is not there",
		},
		"none, with a page for everything": {
			standIn{documents: map[string]string{wellKnown + "/mcp": "<html>", wellKnown: `{"resource":17}`}},
			"", "/mcp", nil, "",
		},
		"a challenge that is none": {
			standIn{challenge: `Bearer "=,,resource_metadata="` + strings.Repeat("\\", 9), documents: nil},
			"", "/mcp", nil, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			origin, uri := c.server.start(t)
			got, err := discover.Read(t.Context(), uri, patience)
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			if c.at != "" {
				want = origin + c.at
			}
			if got.Access != discover.AccessProtected || got.MetadataURL != want || got.URI != origin+c.uri || !slices.Equal(got.ScopesSupported, c.scopes) {
				t.Errorf("read %+v", got)
			}
			wantNote(t, got, c.note)
		})
	}
}

// RFC 9728 §3.3: metadata about another resource is not used.
func TestLyingMetadata(t *testing.T) {
	for name, resource := range map[string]string{
		"another host": "https://bank.example.com/mcp", "another path": "ORIGIN/other", "a longer path": "ORIGIN/mcp/admin",
		"the origin, but not at the root": "ORIGIN", "no URI": "\\u001b[2J", "a fragment": "ORIGIN/mcp#x", "somebody's name": "http://a@127.0.0.1/mcp",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, uri := (&standIn{documents: map[string]string{wellKnown + "/mcp": `{"resource":"` + resource + `"}`}}).start(t)
			e := refusal(t, uri, patience)
			if !strings.Contains(e.Error(), "RFC 9728, section 3.3") || strings.Contains(e.Error(), "\x1b") {
				t.Errorf("the reason is %q", e)
			}
		})
	}
}

// A server sends this machine nowhere but to itself.
func TestMetadataElsewhereIsNotRead(t *testing.T) {
	asked := make(chan string, 10)
	elsewhere := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path })
	other, _ := (&standIn{mcp: elsewhere}).start(t)
	for name, c := range map[string]struct {
		server standIn
		note   string
	}{
		"by its 401":    {standIn{challenge: `Bearer resource_metadata="` + other + `/mcp"`}, "metadata at another host"},
		"by a name":     {standIn{challenge: `Bearer resource_metadata="http://user@127.0.0.1/mcp"`}, "metadata at another host"},
		"by a file":     {standIn{challenge: `Bearer resource_metadata="file:///etc/passwd"`}, "metadata at another host"},
		"by a redirect": {standIn{documents: map[string]string{}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			uri := ""
			if name == "by a redirect" {
				_, uri = redirecting(t, other+"/mcp")
			} else {
				_, uri = c.server.start(t)
			}
			got, err := discover.Read(t.Context(), uri, patience)
			if err != nil {
				t.Fatal(err)
			}
			if got.MetadataURL != "" {
				t.Errorf("found %s", got.MetadataURL)
			}
			wantNote(t, got, c.note)
		})
	}
	select {
	case path := <-asked:
		t.Errorf("the other host was asked for %s", path)
	default:
	}
}

// redirecting is a protected server that redirects whoever wants its metadata.
func redirecting(t *testing.T, to string) (origin, uri string) {
	t.Helper()
	return (&standIn{mcp: status(http.StatusUnauthorized), otherwise: redirect(http.StatusFound, to)}).start(t)
}

// A server may show itself to everybody and its tools only to those with a token.
func TestToolsAreProtected(t *testing.T) {
	inner := realServer(true, threeTools()...)
	_, uri := (&standIn{
		mcp: rpcUntil("tools/list", `Bearer resource_metadata="ORIGIN`+wellKnown+`", scope="files:read"`, inner), documents: nil,
	}).start(t)
	got, err := discover.Read(t.Context(), uri, patience)
	if err != nil {
		t.Fatal(err)
	}
	if got.Access != discover.AccessTools || got.Name != "Files" || got.Tools != nil || !slices.Equal(got.ChallengeScopes, []string{"files:read"}) {
		t.Errorf("read %+v", got)
	}
	if scopes := got.Propose().Scopes; len(scopes) != 1 || scopes[0].Name != "files:read" || scopes[0].Description != "Read files in Files" {
		t.Errorf("proposed %+v", scopes)
	}
}

// With neither scopes nor tools there is still something to approve.
func TestProposalForASilentServer(t *testing.T) {
	_, uri := (&standIn{}).start(t)
	got, err := discover.Read(t.Context(), uri, patience)
	if err != nil {
		t.Fatal(err)
	}
	proposal := got.Propose()
	if len(proposal.Scopes) != 1 || proposal.Scopes[0].Name != "use" || !strings.HasPrefix(proposal.Name, "127.0.0.1:") {
		t.Errorf("proposed %+v", proposal)
	}
}

// A person who interrupts gets their terminal back.
func TestReadIsInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	_, uri := (&standIn{mcp: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		interrupt()
		hang(w, r)
	})}).start(t)
	if _, err := discover.Read(ctx, uri, patience); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// RFC 9728 §3.1.
func TestWellKnown(t *testing.T) {
	for uri, want := range map[string]string{
		"https://a.example":         "https://a.example" + wellKnown,
		"https://a.example/":        "https://a.example" + wellKnown,
		"https://a.example/mcp":     "https://a.example" + wellKnown + "/mcp",
		"https://a.example:8/x/mcp": "https://a.example:8" + wellKnown + "/x/mcp",
		"https://a.example/?t=1":    "https://a.example" + wellKnown + "?t=1",
		"https://a.example?t=1":     "https://a.example" + wellKnown + "?t=1",
	} {
		if got := discover.WellKnown(uri); got != want {
			t.Errorf("%s: %s, want %s", uri, got, want)
		}
	}
}
