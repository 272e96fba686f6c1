package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"grantd/server/servertest"
	"grantd/storage"
)

// CS-14: a client that introduced itself under a name that people here know is told
// apart from what has that name, and one that nobody uses yet is called new.
func TestCS14LookAlikeNames(t *testing.T) {
	f := newFront(t)
	f.patchResource(servertest.Object{"name": "Notes"})
	f.User("bob")
	bob := f.SignedIn("bob")
	const (
		client  = "Your organisation has registered “<bdi>Secret</bdi>”. This is another app."
		server  = "Your organisation has an MCP server named “<bdi>Notes</bdi>”. This app is not that server."
		profile = "This server knows where “<bdi>Claude</bdi>” comes from. This app comes from elsewhere."
		newHere = "Nobody here uses this app yet."
	)
	for name, c := range map[string]struct{ name, redirect, warning string }{
		"the same name":            {"Secret", "https://evil.example/cb", client},
		"Cyrillic letters":         {"Sесret", "https://evil.example/cb", client},
		"case and spaces":          {"s e c r e t", "https://evil.example/cb", client},
		"an MCP server's":          {"N0TES", "https://evil.example/cb", server},
		"a known app's":            {"CIaude", "https://evil.example/cb", profile},
		"a known app's, on a port": {"Claude", "http://127.0.0.1/elsewhere", profile},
		"the known app itself":     {"Claude", "https://claude.ai/api/mcp/auth_callback", ""},
		"another name":             {"Secretary", "https://evil.example/cb", ""},
	} {
		t.Run(name, func(t *testing.T) {
			id := f.registered(t, `{"client_name":"`+c.name+`","redirect_uris":["`+c.redirect+`"],"token_endpoint_auth_method":"none"}`).String("client_id")
			request := servertest.AuthorizationRequest(id, c.redirect, resourceURI)
			page := f.alice.Authorize(request)
			wantAsked(t, page)
			if warned := strings.Contains(page.Body, "Its name looks like"); warned != (c.warning != "") || !strings.Contains(page.Body, c.warning) {
				t.Errorf("the page does not say %q:\n%s", c.warning, page.Body)
			}
			if !strings.Contains(page.Body, newHere) {
				t.Error("the page does not say that nobody uses it yet")
			}
			wantCode(t, f.alice.Approve(page))
			for who, b := range map[string]*servertest.Browser{"the same person": f.alice, "another": bob} {
				if page := b.Authorize(request); strings.Contains(page.Body, newHere) || !strings.Contains(page.Body, c.warning) {
					t.Errorf("to %s, after an approval:\n%s", who, page.Body)
				}
			}
		})
	}
	if page := f.alice.Authorize(f.ask()); strings.Contains(page.Body, newHere) || strings.Contains(page.Body, "Its name looks like") {
		t.Error("the page warns of a client that an admin registered")
	}
	// A name that an admin gives away later counts at once, for pages left open too.
	page := f.alice.Authorize(f.askDynamic())
	if strings.Contains(page.Body, "Its name looks like") {
		t.Fatal("the page warns of nothing")
	}
	f.Must(http.MethodPost, "/clients", servertest.Object{"client_name": "Dynamic", "redirect_uris": []string{webCallback}, "token_endpoint_auth_method": "none"})
	again := f.alice.Approve(page)
	wantAsked(t, again)
	if !strings.Contains(again.Body, "Your organisation has registered “<bdi>Dynamic</bdi>”") {
		t.Errorf("the page does not warn:\n%s", again.Body)
	}
}

// TestDestructiveScopesAreTickedByHand: what can destroy things is granted only to who
// ticks it; once it was, the page shows it as it stands, beside what is new.
func TestDestructiveScopesAreTickedByHand(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		o.Must(http.MethodPatch, "/resources/"+o.find(t, "/resources", "uri", resourceURI), servertest.Object{"scopes": []servertest.Object{
			{"name": "notes:read", "risk": "read"}, {"name": "notes:write", "risk": "write"}, {"name": "notes:purge", "risk": "destructive"},
		}})
		o.Must(http.MethodPost, "/policies", servertest.Object{"name": "Purging", "scopes": []string{"notes:read", "notes:write", "notes:purge"}})
		ask := func(scope string) *servertest.Page {
			return o.alice.Authorize(changed(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI), "scope", scope))
		}
		const all = "notes:read notes:write notes:purge"
		for _, step := range []struct {
			ask    string
			says   []string
			ticked []string // as the page comes
			tick   []string // by hand
		}{
			{all, []string{"is not ticked", "Can destroy things for good"}, []string{"notes:read", "notes:write"}, []string{"notes:read"}},
			{all, []string{"2 of these are new.", "Already allowed", "is not ticked"}, []string{"notes:read", "notes:write"}, []string{"notes:read", "notes:purge"}},
			{all, []string{"One of these is new."}, []string{"notes:read", "notes:write", "notes:purge"}, []string{"notes:read", "notes:write", "notes:purge"}},
			{"notes:purge", []string{"You allowed all of these before."}, []string{"notes:purge"}, []string{"notes:purge"}},
		} {
			page := ask(step.ask)
			wantAsked(t, page)
			for _, text := range step.says {
				if !strings.Contains(page.Body, text) {
					t.Errorf("the page does not say %q:\n%s", text, page.Body)
				}
			}
			if got := page.Fields()["scope"]; !slices.Equal(got, step.ticked) {
				t.Errorf("ticked are %q, want %q", got, step.ticked)
			}
			wantCode(t, o.alice.Approve(page, step.tick...))
		}
	})
}
