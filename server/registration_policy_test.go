package server_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"grantd/server/servertest"
	"grantd/storage"
)

// RG-13: switched off, /register is not there and not advertised; with tokens it
// asks for one.
func TestRegisterFollowsThePolicy(t *testing.T) {
	h := newHouse(t)
	advertised := func() bool { _, there := h.Get(oauthName).JSON["registration_endpoint"]; return there }
	body := `{"redirect_uris":["https://app.example/cb"]}`
	for _, c := range []struct {
		mode   string
		status int
	}{{"ask_admin", 201}, {"off", 404}, {"allow", 201}, {"token", 401}} {
		t.Run(c.mode, func(t *testing.T) {
			h.Must(http.MethodPatch, "/registration-policy", servertest.Object{"dynamic": c.mode})
			answer := h.register(body)
			if answer.Status != c.status || strings.HasPrefix(answer.Header.Get("WWW-Authenticate"), "Bearer") != (c.mode == "token") {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
			eventually(t, "what is advertised follows the policy", func() bool { return advertised() == (c.mode == "allow" || c.mode == "ask_admin") })
		})
	}
}

// What is decided on one replica holds on another, which has everything in its
// memory.
func TestPolicyReachesOtherReplicas(t *testing.T) {
	databaseURL := servertest.MigratedPostgres(t)
	g := newGate(t, servertest.WithStore(&quietStore{Store: servertest.OpenPostgres(t, databaseURL)}))
	twin := &house{Server: servertest.New(t, servertest.WithStore(servertest.OpenPostgres(t, databaseURL)), servertest.ReplicaOf(g.Server))}
	alice := twin.SignedIn("alice")
	see := func() string { return outcome(alice.Authorize(g.request("dynamic"))) }
	if got := see(); got != "ask" {
		t.Fatalf("at first: %s", got)
	}
	press(g.alice, g.alice.Authorize(g.request("dynamic")))
	g.decide(t, g.clients["dynamic"].id, "allow", "client")
	eventually(t, "a client was allowed", func() bool { return see() == "consent" })
	g.decide(t, g.clients["dynamic"].id, "refuse", "client")
	eventually(t, "a client was refused", func() bool { return see() == "off" })
	g.Must(http.MethodPatch, "/registration-policy", servertest.Object{"dynamic": "off"})
	eventually(t, "registration was switched off", func() bool {
		return twin.register(`{"redirect_uris":["https://app.example/cb"]}`).Status == http.StatusNotFound
	})
	eventually(t, "the metadata changed", func() bool { _, there := twin.Get(oauthName).JSON["registration_endpoint"]; return !there })
}

// AZ-20, HR-10: exactly the private-use redirects that a profile needs may be
// registered, and who returns there is asked every time.
func TestProfilesOpenPrivateUseRedirects(t *testing.T) {
	g := newGate(t, servertest.WithDynamicRegistration())
	const cursor = "cursor://anysphere.cursor-mcp/oauth/callback"
	uris := []any{"http://localhost:8787/callback", "https://www.cursor.com/agents/mcp/oauth/callback", cursor}
	body := `{"client_name":"Cursor","redirect_uris":["http://localhost:8787/callback","https://www.cursor.com/agents/mcp/oauth/callback","` + cursor + `"]}`
	client := g.registered(t, body)
	if !reflect.DeepEqual(client["redirect_uris"], uris) {
		t.Errorf("registered with %v", client["redirect_uris"])
	}
	// An administrator may register the same, or any other.
	own := g.Must(http.MethodPost, "/clients", servertest.Object{"client_name": "Own", "token_endpoint_auth_method": "none", "redirect_uris": []string{"com.example.app:/cb"}})
	for id, redirect := range map[string]string{client.String("client_id"): cursor, own.String("client_id"): "com.example.app:/cb"} {
		request := servertest.AuthorizationRequest(id, redirect, resourceURI)
		for range 2 {
			page := g.alice.Authorize(request)
			if outcome(page) != "consent" {
				t.Fatalf("%s: %s", redirect, outcome(page))
			}
			done := g.alice.Approve(page)
			if done.Left == nil || !strings.HasPrefix(done.Left.String(), redirect+"?code=") {
				t.Fatalf("%s: left for %v", redirect, done.Left)
			}
		}
		for _, other := range []string{redirect + "/", redirect + "?x=1", strings.ToUpper(redirect[:1]) + redirect[1:]} {
			wantRefusalPage(t, g.alice.Authorize(changed(request, "redirect_uri", other)))
		}
	}
	g.Must(http.MethodPatch, "/registration-policy", servertest.Object{"disabled_profiles": []string{"cursor"}})
	if got := g.registered(t, body)["redirect_uris"]; !reflect.DeepEqual(got, uris[:2]) {
		t.Errorf("with the profile off registered with %v", got)
	}
}

// An administrator allowed a client as it was: one that has moved since is asked
// for anew.
func TestClientThatMovesAfterItWasAllowed(t *testing.T) {
	g := newGate(t)
	id := g.clients["dynamic"].id
	press(g.alice, g.alice.Authorize(g.request("dynamic")))
	g.decide(t, id, "allow", "client")
	if got := outcome(g.alice.Authorize(g.request("dynamic"))); got != "consent" {
		t.Fatalf("allowed: %s", got)
	}
	client, err := g.Store.ClientByClientID(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	client.RedirectURIs = []string{"https://elsewhere.example/cb"}
	if err := g.Store.UpdateClient(t.Context(), client, storage.NewAuditEvent(g.Clock.Now(), "client:"+id, "client.updated", client.ID)); err != nil {
		t.Fatal(err)
	}
	g.clients["dynamic"] = introduced{id, "https://elsewhere.example/cb"}
	eventually(t, "the client moved", func() bool { return outcome(g.alice.Authorize(g.request("dynamic"))) == "ask" })
	press(g.alice, g.alice.Authorize(g.request("dynamic")))
	r := g.requestFor(t, id)
	if r["state"] != "pending" || !reflect.DeepEqual(r["redirect_uris"], []any{"https://elsewhere.example/cb"}) {
		t.Errorf("the queue has %v", r)
	}
	g.decide(t, id, "allow", "host")
	if got := outcome(g.alice.Authorize(g.request("dynamic"))); got != "consent" {
		t.Errorf("its host was allowed: %s", got)
	}
}

// The page says what is known of where a client comes from, and no more.
func TestKnownClientsOnTheConsentPage(t *testing.T) {
	g := newGate(t, servertest.WithRegistration(storage.RegistrationAllow, storage.RegistrationAllow))
	for name, want := range map[string]string{
		"registered": "Registered by your organisation", "dynamic": "Not verified by your organisation", "document": "Not verified by your organisation",
		"dynamic, local": "Not verified by your organisation", "dynamic, Claude": "Known address: Claude", "document, Claude Code": "Known address: Claude Code",
	} {
		page := g.alice.Authorize(g.request(name))
		for _, label := range []string{"Registered by your organisation", "Not verified by your organisation", "Known address"} {
			if strings.Contains(page.Body, label) != strings.HasPrefix(want, label) {
				t.Errorf("%s: the page says %q: %t", name, label, strings.Contains(page.Body, label))
			}
		}
		if !strings.Contains(page.Body, want) {
			t.Errorf("%s: the page does not say %q", name, want)
		}
	}
	// What the person saw has changed.
	page := g.alice.Authorize(g.request("dynamic, Claude"))
	g.Must(http.MethodPatch, "/registration-policy", servertest.Object{"disabled_profiles": []string{"claude"}})
	if again := g.alice.Approve(page); outcome(again) != "consent" || !strings.Contains(again.Body, "out of date") {
		t.Errorf("the profile was switched off, and approving leads to %s", outcome(again))
	}
}
