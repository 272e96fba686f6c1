package server_test

import (
	"net/http"
	"strings"
	"testing"

	"grantd/server/servertest"
	"grantd/storage"
)

// methods has the provider say how people signed in.
func (p *idp) methods(acr string, amr ...any) {
	p.change = func(c map[string]any) {
		c["auth_time"] = p.now().Unix()
		if len(amr) > 0 {
			c["amr"] = amr
		}
		if acr != "" {
			c["acr"] = acr
		}
	}
}

// signIn signs in with the provider before a query, and returns the page that it
// leads to.
func (p *idp) signIn(t *testing.T, h *house, b *servertest.Browser, id, query string) *servertest.Page {
	t.Helper()
	callback, state := p.begin(t, h, b, id, query)
	return b.Get(callback + p.answer(state))
}

// RFC 8176: tokens tell the methods that the provider tells of, as far as they are
// registered ones; two factors there are two factors here.
func TestUpstreamMethods(t *testing.T) {
	for name, test := range map[string]struct {
		acr  string
		amr  []any
		want string
		two  bool
	}{
		"a password":          {"", []any{"pwd"}, "pwd", false},
		"two factors":         {"", []any{"mfa", "otp", "pwd"}, "mfa otp pwd", true},
		"names of its own":    {"", []any{"pwd", "acme-badge", 7, "hwk"}, "hwk pwd", false},
		"by the context":      {storage.ACRMultiFactor, []any{"pwd"}, "pwd mfa", true},
		"by another context":  {"phr", nil, "", false},
		"nothing said of how": {"", nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			h, p, id := upstreamHouse(t, nil)
			p.methods(test.acr, test.amr...)
			b := h.Browser()
			request := servertest.AuthorizationRequest(h.clientID, loopback, resourceURI)
			page := p.signIn(t, h, b, id, "?"+request.Encode())
			wantStatus(t, page, http.StatusOK)
			claims := servertest.Claims(wantTokens(t, h.Redeem(h.clientID, b.Approve(page).Left.Query().Get("code"))).access)
			acr := storage.ACRSingleFactor
			if test.two {
				acr = storage.ACRMultiFactor
			}
			var amr []string
			said, _ := claims["amr"].([]any)
			for _, method := range said {
				amr = append(amr, method.(string))
			}
			if got := strings.Join(amr, " "); got != test.want || claims["acr"] != acr {
				t.Errorf("amr %q, acr %v; want %q, %q", got, claims["acr"], test.want, acr)
			}
			// A request for two is met by them, and asks for another factor otherwise.
			request.Set("acr_values", storage.ACRMultiFactor)
			if again := b.Authorize(request); again.IsConsent() != test.two || again.IsLogin() == test.two {
				t.Errorf("asked for two factors: %d at %s", again.Status, again.URL)
			}
		})
	}
}

// A provider that is trusted need not tell of two factors, whatever the organisation
// wants of passwords. One that is not has them proved here: who has no second factor
// sets one up before there is a session.
func TestUpstreamSecondFactor(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		h, p, id := upstreamHouse(t, nil, servertest.WithStore(open(t)))
		h.Must(http.MethodPatch, "/sign-in-policy", servertest.Object{"second_factor": "required"})
		p.methods("", "pwd")
		wantAccount(t, p.comeBack(t, h, id))

		h.Must(http.MethodPatch, "/providers/"+id, servertest.Object{"second_factor": "required"})
		b := h.Browser()
		page := p.signIn(t, h, b, id, "")
		phone := appOf(t, page)
		wantStatus(t, page, http.StatusOK)
		if !b.Get(h.URL + "/account").IsLogin() {
			t.Fatal("the provider alone signs in")
		}
		wantStatus(t, answer(b, page, "000000"), http.StatusUnauthorized)
		if done := answer(b, page, phone.code(h.Clock.Now())); !codeOnPage.MatchString(done.Body) {
			t.Fatalf("set up: %d\n%s", done.Status, done.Body)
		}
		wantAccount(t, b.Get(h.URL+"/account"))

		h.Clock.Advance(storage.MinReverifyAfter)
		b = h.Browser()
		page = p.signIn(t, h, b, id, "")
		wantFactorAsked(t, page)
		wantStatus(t, answer(b, page, "000000"), http.StatusUnauthorized)
		if !b.Get(h.URL + "/account").IsLogin() {
			t.Fatal("a wrong code signs in")
		}
		wantAccount(t, answer(b, page, phone.code(h.Clock.Now())))
		var methods []string
		for _, event := range h.list(t, "/audit-events") {
			if event["action"] != "user.signed_in" {
				continue
			}
			details := servertest.Object(event["detail"].(map[string]any))
			if details.String("provider") != id {
				t.Errorf("signed in with %q", details.String("provider"))
			}
			methods = append(methods, details.String("method"))
		}
		if got := strings.Join(methods, ", "); got != "provider, provider and TOTP, provider and TOTP" {
			t.Errorf("signed in by %s", got)
		}

		p.methods("", "pwd", "mfa") // which the provider has asked for
		wantAccount(t, p.comeBack(t, h, id))

		// What was proved so far ends with the provider, and with the user.
		p.methods("", "pwd")
		for _, end := range []func(){
			func() { h.Must(http.MethodPatch, "/providers/"+id, servertest.Object{"enabled": false}) },
			func() {
				h.Must(http.MethodPatch, "/users/"+h.find(t, "/users", "email", "bea@example.com"), servertest.Object{"disabled": true})
			},
		} {
			b = h.Browser()
			page = p.signIn(t, h, b, id, "")
			wantFactorAsked(t, page)
			h.Clock.Advance(storage.MinReverifyAfter)
			page = p.signIn(t, h, b, id, "")
			end()
			if late := answer(b, page, phone.code(h.Clock.Now())); late.Status < 400 || !b.Get(h.URL+"/account").IsLogin() {
				t.Errorf("after the end: %d at %s", late.Status, late.URL)
			}
			h.Must(http.MethodPatch, "/providers/"+id, servertest.Object{"enabled": true})
		}
	})
}

// RFC 9470 §5: a request that needs two factors has the second one asked here where the
// provider tells of none, of who comes from there and of who is signed in already.
func TestUpstreamStepUpIsAskedHere(t *testing.T) {
	h, p, id := upstreamHouse(t, nil)
	p.methods("", "pwd")
	request := changed(servertest.AuthorizationRequest(h.clientID, loopback, resourceURI), "acr_values", storage.ACRMultiFactor)
	b := h.Browser()
	wantAccount(t, p.signIn(t, h, b, id, ""))
	if page := b.Authorize(request); !page.IsLogin() || !strings.Contains(page.Body, "/login/upstream/"+id) {
		t.Fatalf("%d at %s\n%s", page.Status, page.URL, page.Body)
	}
	page := p.signIn(t, h, b, id, "?"+request.Encode())
	phone := appOf(t, page)
	done := answer(b, page, phone.code(h.Clock.Now()))
	if !codeOnPage.MatchString(done.Body) {
		t.Fatalf("set up: %d\n%s", done.Status, done.Body)
	}
	if page := b.Authorize(request); !page.IsConsent() {
		t.Fatalf("after the set-up: %d at %s", page.Status, page.URL)
	}

	h.Clock.Advance(storage.MinReverifyAfter)
	b = h.Browser()
	page = p.signIn(t, h, b, id, "?"+request.Encode())
	wantFactorAsked(t, page)
	if page = answer(b, page, phone.code(h.Clock.Now())); !page.IsConsent() {
		t.Fatalf("a new sign-in: %d at %s", page.Status, page.URL)
	}

	h.Clock.Advance(storage.MinReverifyAfter)
	b = h.Browser()
	wantAccount(t, p.signIn(t, h, b, id, ""))
	page = b.Authorize(request)
	wantFactorAsked(t, page) // of the session that there is
	if page = answer(b, page, phone.code(h.Clock.Now())); !page.IsConsent() {
		t.Fatalf("a session with one factor: %d at %s", page.Status, page.URL)
	}
}

// The second factor is changed only after a sign-in of just now, which the provider is
// asked for.
func TestUpstreamSecondFactorIsChangedFresh(t *testing.T) {
	h, p, id := upstreamHouse(t, nil)
	at := h.Clock.Now().Add(-8 * storage.MinReverifyAfter)
	p.change = func(c map[string]any) { c["auth_time"] = at.Unix() }
	b := h.Browser()
	wantAccount(t, p.signIn(t, h, b, id, ""))
	page := b.Get(h.URL + "/account/security/totp")
	if !page.IsLogin() {
		t.Fatalf("an old sign-in may change it: %d at %s", page.Status, page.URL)
	}
	left := b.Get(h.URL + "/login/upstream/" + id + "?" + page.URL.RawQuery).Left
	if left == nil || left.Query().Get("prompt") != "login" {
		t.Fatalf("asked the provider with %v", left)
	}
	p.nonce = left.Query().Get("nonce")
	wantStatus(t, b.Get(left.Query().Get("redirect_uri")+p.answer(left.Query().Get("state"))), http.StatusForbidden)
	p.methods("")
	if back := p.signIn(t, h, b, id, "?"+page.URL.RawQuery); back.URL.Path != "/account/security" {
		t.Fatalf("%d at %s", back.Status, back.URL)
	}
	page = b.Get(h.URL + "/account/security/totp")
	if done := answer(b, page, appOf(t, page).code(h.Clock.Now())); !codeOnPage.MatchString(done.Body) {
		t.Errorf("set up: %d\n%s", done.Status, done.Body)
	}
}
