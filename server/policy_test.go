package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"grantd/server/servertest"
	"grantd/storage"
)

const everyone = "Everyone may approve every MCP server"

// rule adds a policy and returns its id.
func (h *house) rule(fields servertest.Object) string {
	return h.Must(http.MethodPost, "/policies", fields).String("id")
}

// dropRule deletes the policy of that name.
func (h *house) dropRule(t testing.TB, name string) {
	t.Helper()
	h.Must(http.MethodDelete, "/policies/"+h.find(t, "/policies", "name", name), nil)
}

// groups puts alice into exactly these groups.
func (h *house) groups(t testing.TB, groups ...string) {
	t.Helper()
	h.Must(http.MethodPatch, "/users/"+h.find(t, "/users", "username", "alice"), servertest.Object{"groups": append([]string{}, groups...)})
}

// risks gives the resource a destructive scope beside the others.
func (h *house) risks(t testing.TB) {
	t.Helper()
	h.Must(http.MethodPatch, "/resources/"+h.find(t, "/resources", "uri", resourceURI), servertest.Object{"scopes": []servertest.Object{
		{"name": "notes:read", "risk": "read"}, {"name": "notes:write"}, {"name": "notes:purge", "risk": "destructive"},
	}})
}

// lastApproval is the detail of the newest grant.approved.
func (h *house) lastApproval(t testing.TB) map[string]any {
	t.Helper()
	var detail map[string]any
	for _, event := range h.list(t, "/audit-events") {
		if event["action"] == "grant.approved" {
			detail, _ = event["detail"].(map[string]any)
		}
	}
	return detail
}

func wantSays(t testing.TB, page *servertest.Page, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(page.Body, text) {
			t.Errorf("the page does not say %q:\n%s", text, page.Body)
		}
	}
}

// wantPolicyPage checks the page that says that policy does not allow something: it
// goes nowhere by itself, and the way back tells the client.
func (h *house) wantPolicyPage(t testing.TB, page *servertest.Page, redirectURI, state string) {
	t.Helper()
	if page.Left != nil || page.Status != http.StatusForbidden {
		t.Fatalf("the answer is %d, left for %v\n%s", page.Status, page.Left, page.Body)
	}
	wantPageHeaders(t, page.Answer, true)
	wantSays(t, page, "Your organisation does not allow this")
	for _, link := range page.Links() {
		if strings.HasPrefix(link, redirectURI) {
			h.wantErrorResponse(t, link, redirectURI, state, "access_denied")
			return
		}
	}
	t.Errorf("no way back to the client: %q", page.Links())
}

// TestPolicyOnThePage: what no rule allows is not on the page, and the page and the
// event name the rule that allows the rest.
func TestPolicyOnThePage(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		o.risks(t)
		request := servertest.AuthorizationRequest(o.clientID, loopback, resourceURI)

		page := o.alice.Authorize(changed(request, "scope", "notes:read notes:purge"))
		wantSays(t, page, "Allowed by the rule “<bdi>"+everyone+"</bdi>”", "does not let you allow: <code>notes:purge</code>", "Only reads")
		if got := page.Fields()["scope"]; !slices.Equal(got, []string{"notes:read"}) {
			t.Errorf("the page offers %q", got)
		}
		if forged := o.alice.Approve(page, "notes:purge"); forged.Left != nil || forged.Status != http.StatusBadRequest {
			t.Errorf("ticking what was withheld: %d, left for %v", forged.Status, forged.Left)
		}
		if got := wantTokens(t, o.Redeem(o.clientID, wantCode(t, o.alice.Approve(page)))); got.scope != "notes:read" {
			t.Errorf("the token has %q", got.scope)
		}
		if detail := o.lastApproval(t); detail["policies"] != everyone || detail["consent"] != nil {
			t.Errorf("the event has %v", detail)
		}

		o.wantPolicyPage(t, o.alice.Authorize(changed(request, "scope", "notes:purge")), loopback, request.Get("state"))
		none := o.alice.Authorize(changed(request, "scope", "notes:purge", "prompt", "none"))
		o.wantRedirectError(t, none, loopback, request.Get("state"), "access_denied")

		o.rule(servertest.Object{"name": "Admins purge", "groups": []string{"admins"}, "scopes": []string{"notes:purge"}})
		o.wantPolicyPage(t, o.alice.Authorize(changed(request, "scope", "notes:purge")), loopback, request.Get("state"))
		o.groups(t, "admins")
		page = o.alice.Authorize(changed(request, "scope", ""))
		wantSays(t, page, "Allowed by the rules “<bdi>"+everyone+"</bdi>”, “<bdi>Admins purge</bdi>”", "Can destroy things for good", "Can make changes")
		wantTokens(t, o.Redeem(o.clientID, wantCode(t, o.alice.Approve(page, page.Offered()...))))
		if detail := o.lastApproval(t); detail["policies"] != everyone+",Admins purge" {
			t.Errorf("the event has %v", detail)
		}

		page = o.alice.Authorize(changed(request, "scope", ""))
		o.groups(t)
		again := o.alice.Approve(page)
		if again.Left != nil || !again.IsConsent() || slices.Contains(again.Fields()["scope"], "notes:purge") {
			t.Errorf("the answer to a page that policy has overtaken: %d, left for %v", again.Status, again.Left)
		}
		o.dropRule(t, everyone)
		o.wantPolicyPage(t, o.alice.Approve(again), loopback, request.Get("state"))
	})
}

// TestPolicyOnTokens: a person who leaves a group loses its scopes at the next
// refresh and at once on introspection, and has them again when they are back.
func TestPolicyOnTokens(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		o.risks(t)
		o.groups(t, "staff")
		o.rule(servertest.Object{"name": "Staff read", "groups": []string{"staff", "guests"}, "scopes": []string{"notes:read"}})
		o.rule(servertest.Object{"name": "Staff write", "groups": []string{"staff"}, "scopes": []string{"notes:write", "notes:purge"}, "resources": []string{resourceURI}})
		o.dropRule(t, everyone)
		scopeOf := func(token string) string { return o.introspect(token).JSON.String("scope") }
		const all, less = "notes:read notes:write notes:purge", "notes:read"

		first := o.tokens(t)
		if first.scope != all || scopeOf(first.access) != all {
			t.Fatalf("it got %q", first.scope)
		}
		o.groups(t, "guests")
		if got := scopeOf(first.access); got != less {
			t.Errorf("after leaving, introspection says %q", got)
		}
		second := wantTokens(t, o.Refresh(o.clientID, first.refresh))
		if second.scope != less {
			t.Errorf("after leaving, a refresh gives %q", second.scope)
		}
		wantError(t, o.Refresh(o.clientID, second.refresh, "scope", "notes:write"), http.StatusBadRequest, "invalid_scope")

		o.groups(t)
		if o.active(t, first.access) || o.active(t, second.access) {
			t.Error("a token is active that no rule allows")
		}
		wantError(t, o.Refresh(o.clientID, second.refresh), http.StatusBadRequest, "invalid_grant")
		o.groups(t, "staff")
		third := wantTokens(t, o.Refresh(o.clientID, second.refresh)) // what was refused has not cost it
		if third.scope != all || scopeOf(first.access) != all {
			t.Errorf("after coming back, a refresh gives %q", third.scope)
		}

		code := o.code(t)
		o.groups(t, "guests")
		if got := wantTokens(t, o.Redeem(o.clientID, code)); got.scope != less {
			t.Errorf("a code gives %q after leaving", got.scope)
		}
		o.groups(t, "staff")
		code = o.code(t)
		o.groups(t)
		wantError(t, o.Redeem(o.clientID, code), http.StatusBadRequest, "invalid_grant")

		o.groups(t, "staff")
		o.dropRule(t, "Staff write")
		o.Beat()
		if got := wantTokens(t, o.Refresh(o.clientID, third.refresh)); got.scope != less || scopeOf(first.access) != less {
			t.Errorf("after the rule has gone, a refresh gives %q", got.scope)
		}
		// Machines are bounded by their registration.
		machine := wantTokens(t, o.Post("/token", servertest.Form("grant_type", "client_credentials", "resource", resourceURI), o.machine.basic()))
		if machine.scope != all || scopeOf(machine.access) != all {
			t.Errorf("a machine got %q", machine.scope)
		}
	})
}

// TestPolicyOnRememberedApproval: what is remembered but no longer allowed is not
// issued.
func TestPolicyOnRememberedApproval(t *testing.T) {
	f := newFront(t)
	wantCode(t, f.alice.Approve(f.alice.Authorize(f.ask())))
	f.rule(servertest.Object{"name": "All read", "scopes": []string{"notes:read"}})
	f.dropRule(t, everyone)
	got := wantTokens(t, f.Post("/token", servertest.Form("grant_type", "authorization_code",
		"code", wantCode(t, f.alice.Authorize(f.ask())), "code_verifier", servertest.Verifier), f.web+":"+f.secret))
	if got.scope != "notes:read" {
		t.Errorf("the token has %q", got.scope)
	}
	f.dropRule(t, "All read")
	f.quiet(t, func() { f.wantPolicyPage(t, f.alice.Authorize(f.ask()), webCallback, f.ask().Get("state")) })
}

// TestPolicyByTrust: rules tell apart who registered a client, by the same notion as
// the consent page.
func TestPolicyByTrust(t *testing.T) {
	f := newFront(t)
	f.rule(servertest.Object{"name": "Registered", "trust": []string{"registered"}})
	f.dropRule(t, everyone)
	wantAsked(t, f.alice.Authorize(f.ask()))
	f.wantPolicyPage(t, f.alice.Authorize(f.askDynamic()), dynamicCallback, f.askDynamic().Get("state"))

	f.rule(servertest.Object{"name": "Trusted", "trust": []string{"trusted"}})
	f.wantPolicyPage(t, f.alice.Authorize(f.askDynamic()), dynamicCallback, f.askDynamic().Get("state"))
	host, err := url.Parse(dynamicCallback)
	if err != nil {
		t.Fatal(err)
	}
	f.Must(http.MethodPatch, "/registration-policy", servertest.Object{"hosts": []servertest.Object{{"host": host.Hostname(), "decision": "allow"}}})
	page := f.alice.Authorize(f.askDynamic())
	wantSays(t, page, "Trusted by your organisation", "Allowed by the rule “<bdi>Trusted</bdi>”")
	code := wantCode(t, f.alice.Approve(page))
	got := wantTokens(t, f.Redeem(f.dynamic, code))
	f.Must(http.MethodPatch, "/registration-policy", servertest.Object{"hosts": nil})
	wantError(t, f.Refresh(f.dynamic, got.refresh), http.StatusBadRequest, "invalid_grant")
	f.rule(servertest.Object{"name": "Strangers", "trust": []string{"unverified"}, "clients": []string{f.dynamic}})
	wantTokens(t, f.Refresh(f.dynamic, got.refresh))
	wantSays(t, f.alice.Authorize(f.askDynamic()), "Not verified by your organisation", "Strangers")
}

// TestApprovalInAdvance: no page for this client and this resource, and everything
// that asks for the page nevertheless.
func TestApprovalInAdvance(t *testing.T) {
	f := newFront(t)
	f.risks(t)
	rule := f.rule(servertest.Object{"name": "Portal reads", "clients": []string{f.web}, "resources": []string{resourceURI}, "scopes": []string{"notes:read"}, "skip_consent": true})
	read := f.ask("scope", "notes:read")

	for range 2 { // the first writes the Grant, the second finds it
		got := wantTokens(t, f.Post("/token", servertest.Form("grant_type", "authorization_code",
			"code", wantCode(t, f.alice.Authorize(read)), "code_verifier", servertest.Verifier), f.web+":"+f.secret))
		if got.scope != "notes:read" {
			t.Errorf("the token has %q", got.scope)
		}
	}
	if detail := f.lastApproval(t); detail["consent"] != "policy" || detail["policies"] != "Portal reads" || detail["scope"] != "notes:read" {
		t.Errorf("the event has %v", detail)
	}
	wantCode(t, f.alice.Authorize(changed(read, "prompt", "none")))
	t.Run("with the identity, which is never approved alone", func(t *testing.T) {
		wantAsked(t, f.alice.Authorize(openID(f.web, webCallback, "openid")))
		code := wantCode(t, f.alice.Authorize(f.ask("scope", "openid email notes:read")))
		answer := f.Post("/token", servertest.Form("grant_type", "authorization_code", "code", code, "code_verifier", servertest.Verifier), f.web+":"+f.secret)
		if answer.JSON["scope"] != "notes:read openid email" || servertest.Claims(answer.JSON.String("id_token"))["email"] == nil {
			t.Errorf("%d %s", answer.Status, answer.Body)
		}
	})
	for name, request := range map[string]url.Values{
		"prompt=consent":                changed(read, "prompt", "consent"),
		"another scope too":             f.ask("scope", "notes:read notes:write"),
		"another client, its own rules": f.askDynamic("scope", "notes:read"),
	} {
		t.Run(name, func(t *testing.T) { wantAsked(t, f.alice.Authorize(request)) })
	}
	t.Run("destructive unless named", func(t *testing.T) {
		f.Must(http.MethodPatch, "/policies/"+rule, servertest.Object{"scopes": nil})
		wantCode(t, f.alice.Authorize(f.ask("scope", "notes:read notes:write")))
		purge := f.ask("scope", "notes:purge")
		f.wantPolicyPage(t, f.alice.Authorize(purge), webCallback, purge.Get("state"))
		f.Must(http.MethodPatch, "/policies/"+rule, servertest.Object{"scopes": []string{"notes:purge", "notes:read"}})
		wantCode(t, f.alice.Authorize(purge))
	})
	t.Run("another name", func(t *testing.T) {
		id := f.find(t, "/clients", "client_id", f.web)
		f.Must(http.MethodPatch, "/clients/"+id, servertest.Object{"client_name": "Renamed"})
		page := f.alice.Authorize(read)
		wantAsked(t, page)
		wantCode(t, f.alice.Approve(page)) // and now it is known by this name
		wantCode(t, f.alice.Authorize(read))
	})
	t.Run("another redirect", func(t *testing.T) {
		id, other := f.find(t, "/clients", "client_id", f.web), "https://app.example.com/other"
		f.Must(http.MethodPatch, "/clients/"+id, servertest.Object{"redirect_uris": []string{webCallback, other, "http://127.0.0.1/cb"}})
		wantAsked(t, f.alice.Authorize(changed(read, "redirect_uri", other)))
		wantAsked(t, f.alice.Authorize(changed(read, "redirect_uri", "http://127.0.0.1/cb")))
	})
	t.Run("when it is withdrawn, nothing is remembered", func(t *testing.T) {
		g := newFront(t)
		g.rule(servertest.Object{"name": "Portal", "clients": []string{g.web}, "resources": []string{resourceURI}, "skip_consent": true})
		wantCode(t, g.alice.Authorize(g.ask()))
		g.dropRule(t, "Portal")
		wantAsked(t, g.alice.Authorize(g.ask()))
	})
}

// TestPolicyNamesWhatIsDeleted: a rule never becomes wider by what is deleted.
func TestPolicyNamesWhatIsDeleted(t *testing.T) {
	h := newHouse(t)
	other := h.PublicClient(callback)
	h.rule(servertest.Object{"name": "One", "clients": []string{h.clientID}})
	h.rule(servertest.Object{"name": "Two", "clients": []string{h.clientID, other.String("client_id")}, "resources": []string{resourceURI}})
	h.Must(http.MethodDelete, "/clients/"+h.find(t, "/clients", "client_id", h.clientID), nil)
	var left []string
	for _, p := range h.list(t, "/policies") {
		clients, err := json.Marshal(p["clients"])
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, p.String("name")+" "+string(clients))
	}
	if want := []string{everyone + " []", `Two ["` + other.String("client_id") + `"]`}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
	h.Must(http.MethodDelete, "/resources/"+h.find(t, "/resources", "uri", resourceURI), nil)
	if n := len(h.list(t, "/policies")); n != 1 {
		t.Errorf("%d rules are left", n)
	}
	if h.audited(t, "policy.deleted") != 2 || h.audited(t, "policy.updated") != 1 {
		t.Errorf("%d deletions, %d updates in the audit", h.audited(t, "policy.deleted"), h.audited(t, "policy.updated"))
	}
}

func TestPolicyOnDevices(t *testing.T) {
	k := newKiosk(t)
	k.risks(t)
	k.groups(t, "staff")
	k.rule(servertest.Object{"name": "Staff purge", "groups": []string{"staff"}, "scopes": []string{"notes:purge"}})
	c := k.ask(t)
	page := k.alice.Device(c.page)
	wantSays(t, page, "Allowed by the rules “<bdi>"+everyone+"</bdi>”, “<bdi>Staff purge</bdi>”")
	k.groups(t)
	if again := k.alice.Approve(page); !again.IsConsent() || !strings.Contains(again.Body, "does not let you allow: <code>notes:purge</code>") {
		t.Errorf("the answer to a page that policy has overtaken: %d\n%s", again.Status, again.Body)
	}
	k.approve(t, c)
	if got := wantTokens(t, k.poll(c.device)); got.scope != "notes:read notes:write" {
		t.Errorf("the device got %q", got.scope)
	}
	if detail := k.lastApproval(t); detail["policies"] != everyone {
		t.Errorf("the event has %v", detail)
	}
	late := k.approved(t)
	c = k.ask(t)
	k.dropRule(t, everyone)
	if page := k.alice.Device(c.page); page.Status != http.StatusForbidden || page.IsConsent() {
		t.Errorf("a page for what policy does not allow: %d\n%s", page.Status, page.Body)
	}
	wantError(t, k.poll(late), http.StatusBadRequest, "invalid_grant")
}

// TestPolicyRaces: whatever meets a refresh or an approval, what is given after the
// change is what the change left.
func TestPolicyRaces(t *testing.T) {
	onReplicas(t, func(t *testing.T, r *replicas) {
		r.groups(t, "staff")
		r.rule(servertest.Object{"name": "Staff", "groups": []string{"staff"}})
		r.rule(servertest.Object{"name": "All read", "scopes": []string{"notes:read"}})
		r.dropRule(t, everyone)
		for _, s := range r.all {
			s.Beat()
		}
		t.Run("leaving a group while refreshing", func(t *testing.T) {
			var tokens [8]issued
			for i := range tokens {
				tokens[i] = r.tokens(t)
			}
			race(len(tokens)+1, func(i int) {
				if i == len(tokens) {
					r.groups(t)
					return
				}
				tokens[i] = wantTokens(t, r.of(i).Refresh(r.clientID, tokens[i].refresh))
			})
			for i, got := range tokens {
				if scope := r.introspect(got.access).JSON.String("scope"); scope != "notes:read" {
					t.Errorf("introspection still says %q", scope)
				}
				if next := wantTokens(t, r.of(i).Refresh(r.clientID, got.refresh)); next.scope != "notes:read" {
					t.Errorf("a refresh still gives %q", next.scope)
				}
			}
			r.groups(t, "staff")
		})
		t.Run("deleting a rule while approving", func(t *testing.T) {
			page := r.alice.Authorize(servertest.AuthorizationRequest(r.clientID, loopback, resourceURI))
			id := r.find(t, "/policies", "name", "Staff")
			var answer *servertest.Page
			race(2, func(i int) {
				if i == 0 {
					r.Must(http.MethodDelete, "/policies/"+id, nil)
				} else {
					answer = r.alice.Approve(page)
				}
			})
			for _, s := range r.all {
				s.Beat()
			}
			if answer.Left == nil { // the rule was gone first: the page is shown again, with less
				if answer = r.alice.Approve(answer); answer.Left == nil {
					t.Fatalf("%d\n%s", answer.Status, answer.Body)
				}
			}
			if got := wantTokens(t, r.of(1).Redeem(r.clientID, answer.Left.Query().Get("code"))); got.scope != "notes:read" {
				t.Errorf("the code gives %q", got.scope)
			}
		})
	})
}
