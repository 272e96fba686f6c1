package server_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"grantd/server/servertest"
)

// comeBack signs in with the provider in a new browser, before a query or "".
func (p *idp) comeBack(t *testing.T, h *house, id string) *servertest.Page {
	t.Helper()
	b := h.Browser()
	callback, state := p.begin(t, h, b, id, "")
	return b.Get(callback + p.answer(state))
}

// people are the users that there are besides alice, by e-mail address.
func people(t *testing.T, h *house) map[string]servertest.Object {
	t.Helper()
	found := map[string]servertest.Object{}
	for _, user := range h.list(t, "/users") {
		if user["username"] != "alice" {
			found[user["email"].(string)] = user
		}
	}
	return found
}

// LG-12: what everybody knows, or the client knows, signs nothing.
func TestLG12UpstreamIDTokenConfusion(t *testing.T) {
	with := func(algorithm jose.SignatureAlgorithm, key any, kid string) func(map[string]any) string {
		return func(claims map[string]any) string {
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid))
			if err != nil {
				t.Fatal(err)
			}
			payload, err := json.Marshal(claims)
			if err != nil {
				t.Fatal(err)
			}
			jws, err := signer.Sign(payload)
			if err != nil {
				t.Fatal(err)
			}
			token, err := jws.CompactSerialize()
			if err != nil {
				t.Fatal(err)
			}
			return token
		}
	}
	secret := strings.Repeat("a-secret-of-the-client-", 3)
	other := newIDP(t)
	for name, forge := range map[string]func(p *idp) func(map[string]any) string{
		"HS256 with the public key": func(p *idp) func(map[string]any) string {
			der, err := x509.MarshalPKIXPublicKey(p.key.Public())
			if err != nil {
				t.Fatal(err)
			}
			return with(jose.HS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "k")
		},
		"HS256 with the client secret":         func(*idp) func(map[string]any) string { return with(jose.HS256, []byte(secret), "k") },
		"another's key under the same kid":     func(*idp) func(map[string]any) string { return with(jose.ES256, other.key, "k") },
		"another's key under a kid of its own": func(*idp) func(map[string]any) string { return with(jose.ES256, other.key, "foreign") },
		"nothing":                              func(*idp) func(map[string]any) string { return func(map[string]any) string { return "" } },
		"no token at all":                      func(*idp) func(map[string]any) string { return func(map[string]any) string { return "a.b.c" } },
	} {
		t.Run(name, func(t *testing.T) {
			h, p, id := upstreamHouse(t, servertest.Object{"client_secret": secret})
			p.forge = forge(p)
			if page := p.comeBack(t, h, id); page.Status != http.StatusBadGateway || len(people(t, h)) > 0 {
				t.Errorf("status %d, people %v", page.Status, people(t, h))
			}
			if n := h.audited(t, "provider.sign_in_refused"); n != 1 {
				t.Errorf("%d audit events", n)
			}
		})
	}
}

// Mix-up (RFC 9700 §4.4): one provider's answer is not taken at the callback of
// another, and nobody asks it for tokens.
func TestUpstreamMixUp(t *testing.T) {
	honest, evil := newIDP(t), newIDP(t)
	h := newHouse(t, servertest.WithOutboundAllow("127.0.0.0/8"))
	honest.now, evil.now = h.Clock.Now, h.Clock.Now
	id := h.Must(http.MethodPost, "/providers", servertest.Object{"name": "Honest", "issuer": honest.URL, "client_id": "grantd"}).String("id")
	evilID := h.Must(http.MethodPost, "/providers", servertest.Object{"name": "Evil", "issuer": evil.URL, "client_id": "grantd"}).String("id")
	for name, answer := range map[string]func(honestAt, honestState, evilAt, evilState string) string{
		"the other's state":    func(at, _, _, state string) string { return at + honest.answer(state) },
		"the other's callback": func(_, state, at, _ string) string { return at + evil.answer(state) },
		"the other's issuer":   func(at, state, _, _ string) string { return at + evil.answer(state) },
		"no issuer, where it is promised": func(at, state, _, _ string) string {
			return at + "?" + url.Values{"code": {"c"}, "state": {state}}.Encode()
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := h.Browser()
			evilAt, evilState := evil.begin(t, h, b, evilID, "")
			honestAt, honestState := honest.begin(t, h, b, id, "")
			if page := b.Get(answer(honestAt, honestState, evilAt, evilState)); page.Status != http.StatusForbidden || honest.asked+evil.asked > 0 {
				t.Errorf("status %d, asked %d and %d times", page.Status, honest.asked, evil.asked)
			}
		})
	}
}

// A person is issuer and subject: their address may change, and whoever gets an
// address that was another's is somebody else.
func TestUpstreamPersonIsTheSubject(t *testing.T) {
	h, p, id := upstreamHouse(t, servertest.Object{"link_by_email": true})
	is := func(subject, email string) {
		t.Helper()
		p.change = func(c map[string]any) { c["sub"], c["email"] = subject, email }
		if page := p.comeBack(t, h, id); page.URL.Path != "/account" {
			t.Fatalf("%s as %s: %d\n%s", subject, email, page.Status, page.Body)
		}
	}
	is("s1", "bea@example.com")
	first := people(t, h)["bea@example.com"]["id"]
	is("s1", "bea.new@example.com")
	if now := people(t, h); len(now) != 1 || now["bea.new@example.com"]["id"] != first {
		t.Errorf("after the change: %v", now)
	}
	p.change = func(c map[string]any) { c["sub"], c["email"] = "s2", "bea.new@example.com" }
	if page := p.comeBack(t, h, id); page.Status != http.StatusForbidden || len(people(t, h)) != 1 {
		t.Errorf("another person with the same address: %d, %v", page.Status, people(t, h))
	}
}

// Sign-in is for whom the provider's settings let in, and they are told why not.
func TestUpstreamLimits(t *testing.T) {
	const tenant, person = "8f7e6d5c-0000-4000-8000-000000000001", "8f7e6d5c-0000-4000-8000-000000000002"
	entra := func(more servertest.Object) servertest.Object {
		more["preset"] = "entra"
		return more
	}
	set := func(pairs ...any) func(map[string]any) {
		return func(c map[string]any) {
			for i := 0; i < len(pairs); i += 2 {
				c[pairs[i].(string)] = pairs[i+1]
			}
		}
	}
	for name, test := range map[string]struct {
		settings servertest.Object
		change   func(map[string]any)
		status   int
		says     string
	}{
		"group":                 {servertest.Object{"allowed_groups": []string{"staff"}}, set(), http.StatusOK, ""},
		"no such group":         {servertest.Object{"allowed_groups": []string{"board"}}, set(), http.StatusForbidden, "not of a group"},
		"domain":                {servertest.Object{"allowed_domains": []string{"EXAMPLE.com"}}, set(), http.StatusOK, ""},
		"another domain":        {servertest.Object{"allowed_domains": []string{"example.com"}}, set("email", "bea@example.com.evil.example"), http.StatusForbidden, "not of a domain"},
		"domain not verified":   {servertest.Object{"allowed_domains": []string{"example.com"}}, set("email_verified", false), http.StatusForbidden, "not of a domain"},
		"tenant":                {entra(servertest.Object{"allowed_tenants": []string{tenant}}), set("tid", tenant, "oid", person), http.StatusOK, ""},
		"another tenant":        {entra(servertest.Object{"allowed_tenants": []string{tenant}}), set("tid", person, "oid", person), http.StatusForbidden, "not of a tenant"},
		"no tenant":             {entra(servertest.Object{}), set("oid", person), http.StatusBadGateway, ""},
		"no oid":                {entra(servertest.Object{}), set("tid", tenant), http.StatusBadGateway, ""},
		"Entra's group overage": {entra(servertest.Object{"claims": servertest.Object{"groups": "groups"}}), set("tid", tenant, "oid", person, "groups", nil, "_claim_names", map[string]any{"groups": "src1"}, "_claim_sources", map[string]any{"src1": map[string]any{"endpoint": "https://graph.example/getMemberObjects"}}), http.StatusForbidden, "too many groups"},
		"implicit overage":      {servertest.Object{}, set("groups", nil, "hasgroups", true), http.StatusForbidden, "too many groups"},
		"acr":                   {servertest.Object{"acr_values": []string{"phr"}}, set("acr", "phr"), http.StatusOK, ""},
		"a weaker acr":          {servertest.Object{"acr_values": []string{"phr"}}, set("acr", "pwd"), http.StatusForbidden, "stronger sign-in"},
	} {
		t.Run(name, func(t *testing.T) {
			h, p, id := upstreamHouse(t, test.settings)
			p.change = test.change
			page := p.comeBack(t, h, id)
			if page.Status != test.status || (len(people(t, h)) == 1) != (test.status == http.StatusOK) {
				t.Errorf("status %d, people %v\n%s", page.Status, people(t, h), page.Body)
			}
			wantSays(t, page, test.says)
		})
	}
}

// Entra ID has another sub for each application; oid says who somebody is.
func TestUpstreamEntraKnowsPeopleByOID(t *testing.T) {
	const tenant = "8f7e6d5c-0000-4000-8000-000000000001"
	h, p, id := upstreamHouse(t, servertest.Object{"preset": "entra"})
	for _, who := range []struct {
		sub, oid, email string
		people          int
	}{{"a", "o1", "one@example.com", 1}, {"b", "o1", "one@example.com", 1}, {"a", "o2", "two@example.com", 2}} {
		p.change = func(c map[string]any) {
			c["tid"], c["oid"], c["sub"], c["email"] = tenant, who.oid, who.sub, who.email
		}
		if page := p.comeBack(t, h, id); page.URL.Path != "/account" || len(people(t, h)) != who.people {
			t.Errorf("%v: %d, people %v", who, page.Status, people(t, h))
		}
	}
}

// Groups come from the provider at each sign-in, and the policy then narrows at the
// next refresh.
func TestUpstreamGroupsNarrow(t *testing.T) {
	h, p, id := upstreamHouse(t, nil)
	h.dropRule(t, everyone)
	h.rule(servertest.Object{"name": "All read", "scopes": []string{"notes:read"}})
	h.rule(servertest.Object{"name": "Staff write", "groups": []string{"staff"}, "scopes": []string{"notes:write"}})
	b := h.Browser()
	callback, state := p.begin(t, h, b, id, "?"+servertest.AuthorizationRequest(h.clientID, loopback, resourceURI).Encode())
	page := b.Get(callback + p.answer(state))
	if !page.IsConsent() {
		t.Fatalf("no consent page: %d\n%s", page.Status, page.Body)
	}
	tokens := wantTokens(t, h.Redeem(h.clientID, b.Approve(page).Left.Query().Get("code")))
	if scope := tokens.scope; scope != "notes:read notes:write" {
		t.Fatalf("as staff: %q", scope)
	}
	p.change = func(c map[string]any) { c["groups"] = []string{"guests"} }
	if page := p.comeBack(t, h, id); page.URL.Path != "/account" {
		t.Fatalf("%d\n%s", page.Status, page.Body)
	}
	again := wantTokens(t, h.Refresh(h.clientID, tokens.refresh))
	if scope := again.scope; scope != "notes:read" {
		t.Errorf("no longer of staff: %q", scope)
	}
}

// LG-14: a document without end is not read to its end, and an address that is not
// allowed is not asked.
func TestLG14UpstreamDocuments(t *testing.T) {
	h, p, id := upstreamHouse(t, nil)
	p.forge = func(map[string]any) string { return strings.Repeat("a", 1<<20) }
	if page := p.comeBack(t, h, id); page.Status != http.StatusBadGateway {
		t.Errorf("a huge answer: %d", page.Status)
	}
	inside := newIDP(t) // on an address that --outbound-allow does not name
	if status, _ := h.Call(http.MethodPost, "/providers", servertest.Object{"name": "Inside", "issuer": inside.URL, "client_id": "grantd"}); status != http.StatusBadRequest {
		t.Errorf("a provider at an internal address: %d", status)
	}
}
