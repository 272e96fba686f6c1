package profiles_test

import (
	"errors"
	"slices"
	"testing"

	"grantd/server/profiles"
	"grantd/server/registration"
)

func load(t testing.TB) profiles.Set {
	t.Helper()
	set, err := profiles.Load(registration.CheckDocument)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// The files that ship are valid by the rules of a document that was fetched.
func TestFiles(t *testing.T) {
	set := load(t)
	for _, name := range []string{"claude", "claude-code", "chatgpt", "cursor", "vscode", "copilot-cli", "codex", "inspector"} {
		if !set.Has(name) {
			t.Errorf("no profile %s", name)
		}
	}
	documents := 0
	for _, p := range set {
		for _, id := range p.Pinned() {
			documents++
			if raw, ok := set.Pinned(id); !ok || registration.CheckDocument(raw) != nil {
				t.Errorf("%s: the document of %s is not there, or not valid", p.Name, id)
			}
			if of, ok := set.Of(id); !ok || of != p {
				t.Errorf("%s is not its own", id)
			}
		}
	}
	if documents != 6 {
		t.Errorf("%d documents", documents)
	}
}

func TestLoadAsksTheRules(t *testing.T) {
	broken := errors.New("broken")
	if _, err := profiles.Load(func([]byte) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("a document that breaks the rules loads: %v", err)
	}
}

func TestOf(t *testing.T) {
	set := load(t)
	for _, c := range []struct{ name, clientID, want string }{
		{"Claude", "https://claude.ai/oauth/mcp-oauth-client-metadata", "claude"},
		{"Claude Code", "https://claude.ai/oauth/claude-code-client-metadata", "claude-code"},
		{"ChatGPT", "https://chatgpt.com/oauth/client.json", "chatgpt"},
		{"ChatGPT, one connector", "https://chatgpt.com/oauth/j0wKlDBsmsUM/client.json", "chatgpt"},
		{"VS Code", "https://vscode.dev/oauth/client-metadata.json", "vscode"},
		{"Copilot CLI", "https://github.com/copilot/cli/client-metadata.json", "copilot-cli"},
		{"CM-26 another path of a host where many write", "https://github.com/evil/cli/client-metadata.json", ""},
		{"CM-26 another document of the host", "https://claude.ai/public/artifacts/x", ""},
		{"CM-26 path traversal in the segment", "https://chatgpt.com/oauth/../client.json", ""},
		{"CM-26 encoded slash in the segment", "https://chatgpt.com/oauth/a%2fb/client.json", ""},
		{"CM-26 two segments", "https://chatgpt.com/oauth/a/b/client.json", ""},
		{"CM-26 no segment", "https://chatgpt.com/oauth//client.json", ""},
		{"CM-26 query", "https://chatgpt.com/oauth/client.json?x", ""},
		{"CM-26 port", "https://claude.ai:8443/oauth/mcp-oauth-client-metadata", ""},
		{"CM-26 host in upper case is another client", "https://Claude.ai/oauth/mcp-oauth-client-metadata", ""},
		{"CM-26 longer host", "https://claude.ai.evil.test/oauth/mcp-oauth-client-metadata", ""},
		{"CM-26 user information", "https://claude.ai@evil.test/oauth/mcp-oauth-client-metadata", ""},
		{"http", "http://claude.ai/oauth/mcp-oauth-client-metadata", ""},
		{"the pattern itself", "https://chatgpt.com/oauth/*/client.json", ""},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, ok := set.Of(c.clientID)
			if ok != (c.want != "") || ok && p.Name != c.want {
				t.Errorf("%s is %+v", c.clientID, p)
			}
		})
	}
	if _, ok := set.Without("claude").Of("https://claude.ai/oauth/mcp-oauth-client-metadata"); ok {
		t.Error("a profile that is off still counts")
	}
	if _, ok := set.Without("claude").Pinned("https://claude.ai/oauth/mcp-oauth-client-metadata"); ok {
		t.Error("a profile that is off still has its document")
	}
	if !set.Has("claude") {
		t.Error("the set itself has lost a profile")
	}
}

func TestReturningTo(t *testing.T) {
	set := load(t)
	for _, c := range []struct {
		name string
		uris []string
		want string
	}{
		{"Claude registering itself", []string{"https://claude.ai/api/mcp/auth_callback"}, "claude"},
		{"Claude with both its sites", []string{"https://claude.ai/api/mcp/auth_callback", "https://claude.com/api/mcp/auth_callback"}, "claude"},
		{"ChatGPT, one connector", []string{"https://chatgpt.com/connector/oauth/j0wKlDBsmsUM"}, "chatgpt"},
		{"CS-14 another page of the host", []string{"https://claude.ai/public/artifacts/x"}, ""},
		{"CS-14 with a stranger's beside it", []string{"https://claude.ai/api/mcp/auth_callback", "https://evil.test/cb"}, ""},
		{"CS-15 loopback says nothing of who asks", []string{"http://localhost/callback"}, ""},
		{"CS-15 with loopback beside it", []string{"https://vscode.dev/redirect", "http://127.0.0.1:33418/"}, ""},
		{"AZ-20 private use says nothing either", []string{"cursor://anysphere.cursor-mcp/oauth/callback"}, ""},
		{"of two profiles", []string{"https://claude.ai/api/mcp/auth_callback", "https://vscode.dev/redirect"}, ""},
		{"none", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, ok := set.ReturningTo(c.uris)
			if ok != (c.want != "") || ok && p.Name != c.want {
				t.Errorf("%q is %+v", c.uris, p)
			}
		})
	}
}

func TestPrivateUse(t *testing.T) {
	set := load(t)
	for uri, want := range map[string]bool{
		"cursor://anysphere.cursor-mcp/oauth/callback":   true,
		"cursor://anysphere.cursor-mcp/oauth/callback/":  false,
		"cursor://anysphere.cursor-mcp/oauth/callback?x": false,
		"cursor://evil/oauth/callback":                   false,
		"Cursor://anysphere.cursor-mcp/oauth/callback":   false,
		"vscode://evil":               false,
		"http://localhost/callback":   false,
		"https://vscode.dev/redirect": false,
	} {
		if got := set.PrivateUse(uri); got != want {
			t.Errorf("%s may be registered: %t", uri, got)
		}
	}
	if set.Without("cursor").PrivateUse("cursor://anysphere.cursor-mcp/oauth/callback") {
		t.Error("a profile that is off still opens its scheme")
	}
}

// FuzzOf: what counts as a profile's is one of its URLs, or differs from one in a
// single segment.
func FuzzOf(f *testing.F) {
	for _, seed := range []string{"https://chatgpt.com/oauth/a/client.json", "https://chatgpt.com/oauth/../client.json", "https://chatgpt.com/oauth/a?/client.json", "https://claude.ai"} {
		f.Add(seed)
	}
	set := load(f)
	f.Fuzz(func(t *testing.T, clientID string) {
		p, ok := set.Of(clientID)
		if !ok || slices.Contains(p.ClientIDs, clientID) {
			return
		}
		const before, after = "https://chatgpt.com/oauth/", "/client.json"
		if len(clientID) <= len(before)+len(after) || clientID[:len(before)] != before || clientID[len(clientID)-len(after):] != after {
			t.Errorf("%q counts as %s", clientID, p.Name)
		}
	})
}
