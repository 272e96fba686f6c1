package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// gate is a front with a client of each way to introduce oneself, under the
// policy of a new server.
type gate struct {
	*front
	host    *documentHost
	clients map[string]introduced
}

const vendorCallback = "https://vendor.example/callback"

// introduced is a client and where its answers go.
type introduced struct{ id, redirect string }

func newGate(t testing.TB, opts ...servertest.Option) *gate {
	t.Helper()
	host := newDocumentHost(t)
	opts = append(append(host.options(), servertest.WithRegistration(storage.RegistrationAskAdmin, storage.RegistrationAskAdmin)), opts...)
	f := newFront(t, opts...)
	g := &gate{front: f, host: host, clients: map[string]introduced{"registered": {f.web, webCallback}, "dynamic": {f.dynamic, dynamicCallback}}}
	for name, uri := range map[string]string{
		"dynamic, local":  "http://localhost/callback",
		"dynamic, Claude": "https://claude.ai/api/mcp/auth_callback",
	} {
		g.clients[name] = introduced{f.registered(t, `{"client_name":"Claude","redirect_uris":["`+uri+`"]}`).String("client_id"), uri}
	}
	g.clients["document"] = introduced{g.host.publish("/client.json", servertest.Object{"redirect_uris": []string{vendorCallback}}), vendorCallback}
	// Its host is out of reach: the document that ships with grantd stands in.
	g.clients["document, Claude Code"] = introduced{"https://claude.ai/oauth/claude-code-client-metadata", "http://localhost/callback"}
	return g
}

func (g *gate) request(name string, pairs ...string) url.Values {
	c := g.clients[name]
	return changed(servertest.AuthorizationRequest(c.id, c.redirect, resourceURI), pairs...)
}

// outcome is what a page says: consent, ask, asked, off, or neither.
func outcome(page *servertest.Page) string {
	switch {
	case page.Left != nil:
		return "left for " + page.Left.Host
	case page.IsConsent():
		return "consent"
	case page.Fields().Has("request"):
		return "ask"
	case page.Status == http.StatusOK && strings.Contains(page.Body, "waiting for a decision"):
		return "asked"
	case page.Status == http.StatusBadRequest && strings.Contains(page.Body, "not allowed here"):
		return "off"
	case page.Status == http.StatusBadRequest && strings.Contains(page.Body, "claude.ai"):
		return "unread" // its host is out of reach
	}
	return fmt.Sprint(page.Status, " ", page.Body)
}

// press presses the one button of a page.
func press(b *servertest.Browser, page *servertest.Page) *servertest.Page {
	return b.Post(page.Action(), page.Fields())
}

// requestFor is the request in the queue for the client, or nil.
func (g *gate) requestFor(t testing.TB, clientID string) servertest.Object {
	t.Helper()
	for _, r := range g.list(t, "/registration-requests") {
		if r["client_id"] == clientID {
			return r
		}
	}
	return nil
}

func (g *gate) decide(t testing.TB, clientID, decision, object string) {
	t.Helper()
	r := g.requestFor(t, clientID)
	if r == nil {
		t.Fatalf("nobody has asked for %s", clientID)
	}
	g.Must(http.MethodPost, "/registration-requests/"+r.String("id")+"/decision", servertest.Object{"decision": decision, "for": object})
}

// RG-13, CM-26: what each mode and decision makes of each way to introduce
// oneself.
func TestRegistrationModes(t *testing.T) {
	g := newGate(t)
	host := func(host, decision string) servertest.Object {
		return servertest.Object{"host": host, "decision": decision}
	}
	hosts := func(list ...servertest.Object) servertest.Object { return servertest.Object{"hosts": list} }
	for _, c := range []struct {
		name   string
		policy servertest.Object
		want   map[string]string // of clients that are not as in a new server
	}{
		{"a new server", nil, nil},
		{
			"allow",
			servertest.Object{"dynamic": "allow", "metadata_documents": "allow"},
			map[string]string{"dynamic": "consent", "dynamic, local": "consent", "document": "consent"},
		},
		{
			"RG-13 off",
			servertest.Object{"dynamic": "off", "metadata_documents": "off"},
			map[string]string{"dynamic": "off", "dynamic, local": "off", "dynamic, Claude": "off", "document": "off", "document, Claude Code": "off"},
		},
		{"RG-13 token, and they came without", servertest.Object{"dynamic": "token"}, nil},
		{"only documents", servertest.Object{"metadata_documents": "allow"}, map[string]string{"document": "consent"}},
		{
			"CM-26 hosts are allowed, which loopback never is", hosts(host("127.0.0.1", "allow"), host("dynamic.example", "allow"), host("localhost", "allow")),
			map[string]string{"document": "consent", "dynamic": "consent"},
		},
		{
			"CM-26 hosts are turned away where all is allowed",
			servertest.Object{
				"dynamic": "allow", "metadata_documents": "allow",
				"hosts": []servertest.Object{host("127.0.0.1", "off"), host("dynamic.example", "off"), host("claude.ai", "off"), host("localhost", "off")},
			},
			map[string]string{"document": "off", "dynamic": "off", "dynamic, local": "off", "dynamic, Claude": "off", "document, Claude Code": "off"},
		},
		{
			"CM-26 hosts are asked about where all is allowed",
			servertest.Object{
				"dynamic": "allow", "metadata_documents": "allow",
				"hosts": []servertest.Object{host("127.0.0.1", "ask_admin"), host("dynamic.example", "ask_admin"), host("claude.ai", "ask_admin")},
			},
			map[string]string{"dynamic, local": "consent", "document, Claude Code": "ask", "dynamic, Claude": "ask"},
		},
		{
			"CM-26 hosts are allowed where all is off",
			servertest.Object{
				"dynamic": "off", "metadata_documents": "off", "hosts": []servertest.Object{host("127.0.0.1", "allow"), host("dynamic.example", "allow")},
			},
			map[string]string{"document": "consent", "dynamic": "consent", "dynamic, local": "off", "dynamic, Claude": "off", "document, Claude Code": "off"},
		},
		{
			"profiles are off",
			servertest.Object{"disabled_profiles": []string{"claude", "claude-code"}},
			map[string]string{"dynamic, Claude": "ask", "document, Claude Code": "unread"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.Must(http.MethodPatch, "/registration-policy", servertest.Object{"dynamic": nil, "metadata_documents": nil, "hosts": nil, "disabled_profiles": nil})
			if c.policy != nil {
				g.Must(http.MethodPatch, "/registration-policy", c.policy)
			}
			g.Clock.Advance(time.Minute) // so that no limit on fetches is met
			for name := range g.clients {
				want := map[string]string{"registered": "consent", "dynamic, Claude": "consent", "document, Claude Code": "consent"}[name]
				if want == "" {
					want = "ask"
				}
				if other, ok := c.want[name]; ok {
					want = other
				}
				g.quiet(t, func() {
					if got := outcome(g.alice.Authorize(g.request(name))); got != want {
						t.Errorf("%s: %s, want %s", name, got, want)
					}
				})
			}
		})
	}
}

// A person meets a client that nobody allowed, asks for it, and goes on when it is
// allowed; when it is refused, the page says so.
func TestAskingAnAdministrator(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		g := newGate(t, servertest.WithStore(&quietStore{Store: open(t)}))
		g.User("bob")
		bob := g.SignedIn("bob")
		for _, name := range []string{"dynamic", "document"} {
			id := g.clients[name].id
			page := g.alice.Authorize(g.request(name))
			if outcome(page) != "ask" {
				t.Fatalf("%s: %s", name, outcome(page))
			}
			wantPageHeaders(t, page.Answer, true)
			u, _ := url.Parse(g.clients[name].redirect)
			if !strings.Contains(page.Body, u.Host) || !strings.Contains(page.Body, "Not verified by your organisation") || !strings.Contains(page.Body, "Name it gives itself") {
				t.Errorf("%s: the page does not say who asks:\n%s", name, page.Body)
			}
			if g.requestFor(t, id) != nil {
				t.Errorf("%s: looking made a request", name)
			}
			before := g.audited(t, "registration_request.created")
			for range 2 { // twice is once
				asked := press(g.alice, page)
				if outcome(asked) != "asked" || asked.URL.Path != "/authorize" || !strings.Contains(asked.Body, g.requestFor(t, id).String("id")) {
					t.Fatalf("%s: asking led to %s at %s", name, outcome(asked), asked.URL)
				}
			}
			if got := outcome(press(bob, bob.Authorize(g.request(name)))); got != "asked" {
				t.Errorf("%s: another asking: %s", name, got)
			}
			r := g.requestFor(t, id)
			if r["asked"] != float64(2) || r["state"] != "pending" || r["source"] != strings.ReplaceAll(name, "document", "metadata_document") {
				t.Errorf("%s: the queue has %v", name, r)
			}
			if n := g.audited(t, "registration_request.created") - before; n != 2 {
				t.Errorf("%s: %d events of two people asking", name, n)
			}

			g.decide(t, id, "allow", "client")
			page = g.alice.Authorize(g.request(name))
			if outcome(page) != "consent" {
				t.Fatalf("%s: allowed, and the page is %s", name, outcome(page))
			}
			if done := g.alice.Approve(page); done.Left == nil || done.Left.Query().Get("code") == "" {
				t.Errorf("%s: no code: %s", name, outcome(done))
			}
			page = g.alice.Authorize(g.request(name))
			g.decide(t, id, "refuse", "client")
			if got := outcome(g.alice.Approve(page)); got != "off" {
				t.Errorf("%s: refused while the page was open, approving leads to %s", name, got)
			}
			refused := bob.Authorize(g.request(name))
			if outcome(refused) != "off" {
				t.Errorf("%s: refused, and the page is %s", name, outcome(refused))
			}
			for _, link := range refused.Links() {
				if !strings.HasPrefix(link, "/") {
					t.Errorf("%s: the page leads to %s", name, link)
				}
			}
		}
	})
}

func TestAskingIsBounded(t *testing.T) {
	g := newGate(t, servertest.WithDynamicRegistration())
	var last *servertest.Page
	for i := range 11 {
		id := g.registered(t, fmt.Sprintf(`{"client_name":"App %d","redirect_uris":["http://localhost/cb%d"]}`, i, i)).String("client_id")
		g.clients[id] = introduced{id, fmt.Sprintf("http://localhost/cb%d", i)}
		if i == 0 {
			g.Must(http.MethodPatch, "/registration-policy", servertest.Object{"dynamic": "ask_admin"})
		}
		last = press(g.alice, g.alice.Authorize(g.request(id)))
	}
	if outcome(last) != "ask" || !strings.Contains(last.Body, "Too many requests") {
		t.Errorf("the eleventh request of one person: %s", outcome(last))
	}
	if n := len(g.list(t, "/registration-requests")); n != 10 {
		t.Errorf("%d requests in the queue", n)
	}
}

// CS-18: nobody asks in another person's name.
func TestAskingIsThePersonsOwn(t *testing.T) {
	g := newGate(t)
	g.User("bob")
	bob := g.SignedIn("bob")
	page := g.alice.Authorize(g.request("dynamic"))
	fields, target := page.Fields(), page.Action()
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	with := func(name, value string) http.Header {
		h := form.Clone()
		h.Set(name, value)
		return h
	}
	own := with("Origin", g.Origin)
	for _, c := range []struct {
		name   string
		who    *servertest.Browser
		target string
		body   string
		header http.Header
		want   int
	}{
		{"CS-18 another site", g.alice, target, fields.Encode(), with("Origin", "https://evil.example"), 403},
		{"CS-18 cross-site without origin", g.alice, target, fields.Encode(), with("Sec-Fetch-Site", "cross-site"), 403},
		{"CS-04 another person's page", bob, target, fields.Encode(), own, 403},
		{"CS-04 made up", g.alice, target, "request=x", own, 403},
		{"CS-04 nothing", g.alice, target, "", own, 403},
		{"CS-04 the page of a consent", g.alice, target, "request=" + url.QueryEscape(g.alice.Authorize(g.ask()).Fields().Get("approval")), own, 403},
		{"twice", g.alice, target, fields.Encode() + "&" + fields.Encode(), own, 400},
		{"JSON", g.alice, target, `{}`, http.Header{"Content-Type": {"application/json"}, "Origin": {g.Origin}}, 415},
		{"CS-05 for another client", g.alice, g.URL + "/authorize/ask?" + g.request("document").Encode(), fields.Encode(), own, 200},
		{"nobody is signed in", g.Browser(), target, fields.Encode(), own, 303},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.quiet(t, func() {
				if answer := c.who.Send(http.MethodPost, c.target, c.body, c.header); answer.Status != c.want {
					t.Errorf("%d, want %d: %s", answer.Status, c.want, answer.Body)
				}
			})
		})
	}
	if answer := g.alice.Send(http.MethodGet, target, "", nil); answer.Status != http.StatusMethodNotAllowed {
		t.Errorf("GET is %d", answer.Status)
	}
	if answer := g.alice.Send(http.MethodPost, g.URL+"/authorize?"+g.request("dynamic").Encode(), fields.Encode(), own); answer.Status != http.StatusMethodNotAllowed {
		t.Errorf("the same to /authorize is %d", answer.Status)
	}
	g.Clock.Advance(11 * time.Minute)
	g.quiet(t, func() {
		if stale := press(g.alice, page); outcome(stale) != "ask" || !strings.Contains(stale.Body, "out of date") {
			t.Errorf("a page of eleven minutes: %s", outcome(stale))
		}
	})
	if got := outcome(press(g.alice, g.alice.Authorize(g.request("dynamic")))); got != "asked" {
		t.Errorf("a fresh page: %s", got)
	}
}

// HR-7: a client that nobody may approve yet is told nothing by itself, whatever
// it asks.
func TestUnadmittedClientsAreNotFollowed(t *testing.T) {
	g := newGate(t)
	for name, pairs := range map[string][]string{
		"HR-7 prompt=none":        {"prompt", "none"},
		"HR-7 an invalid request": {"response_type", "token"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, client := range []string{"dynamic", "document"} {
				page := g.alice.Authorize(g.request(client, pairs...))
				wantRefusalPage(t, page)
				found := false
				for _, link := range page.Links() {
					found = found || strings.HasPrefix(link, g.clients[client].redirect+"?error=")
				}
				if !found {
					t.Errorf("%s: the page has no way back: %q", client, page.Links())
				}
				if pairs[0] == "prompt" && !strings.Contains(page.Body, "error=consent_required") {
					t.Errorf("%s: the client would not learn why:\n%s", client, page.Body)
				}
			}
			g.Must(http.MethodPatch, "/registration-policy", servertest.Object{"dynamic": "off", "metadata_documents": "off"})
			for _, client := range []string{"dynamic", "document"} {
				page := g.alice.Authorize(g.request(client, pairs...))
				if outcome(page) != "off" || strings.Contains(page.Body, g.clients[client].redirect) {
					t.Errorf("%s: turned away, the page is %s", client, outcome(page))
				}
			}
			g.Must(http.MethodPatch, "/registration-policy", servertest.Object{"dynamic": nil, "metadata_documents": nil})
		})
	}
	if page := g.Browser().Authorize(g.request("dynamic")); !page.IsLogin() {
		t.Errorf("with nobody signed in the page is %s", outcome(page))
	}
	// Signing in anew is not asked again after the answer.
	b := g.SignedIn("alice")
	login := b.Authorize(g.request("dynamic", "prompt", "login"))
	form := login.Fields()
	form.Set("username", "alice")
	form.Set("password", servertest.Password)
	if got := outcome(press(b, b.Post(login.Action(), form))); got != "asked" {
		t.Errorf("after prompt=login, asking leads to %s", got)
	}
}

// CS-11, CS-14: a hostile client is shown as what it is, to the person and to the
// administrator.
func TestHostileClientsAsk(t *testing.T) {
	g := newGate(t)
	const claim = `<script>alert(1)</script>\"><img src=x onerror=alert(1)>{{7*7}}\u202egpj\u200b`
	redirect := "https://xn--pple-43d.com/cb"
	id := g.registered(t, `{"client_name":"`+claim+`","redirect_uris":["`+redirect+`"]}`).String("client_id")
	g.clients["hostile"] = introduced{id, redirect}
	page := g.alice.Authorize(g.request("hostile"))
	asked := press(g.alice, page)
	for _, p := range []*servertest.Page{page, asked} {
		if strings.Contains(p.Body, "<script") || strings.Contains(p.Body, "<img src=x") || strings.Contains(p.Body, "\u202e") || !strings.Contains(p.Body, "{{7*7}}") || !strings.Contains(p.Body, "xn--pple-43d.com") {
			t.Errorf("the page is\n%s", p.Body)
		}
	}
	r := g.requestFor(t, id)
	if name := r.String("client_name"); strings.ContainsAny(name, "\u202e\u200b") || !strings.Contains(name, "<script>") || r["host"] != "xn--pple-43d.com" {
		t.Errorf("the administrator sees %v", r)
	}
}
