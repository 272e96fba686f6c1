package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"grantd/server/servertest"
)

// idp is a provider that says what a test has it say.
type idp struct {
	*httptest.Server
	key    *ecdsa.PrivateKey
	now    func() time.Time
	nonce  string
	change func(claims map[string]any)
	forge  func(claims map[string]any) string // nil: sign
	asked  int                                // codes that were exchanged
	token  http.HandlerFunc                   // answers instead, if it is not nil
}

func newIDP(t *testing.T) *idp {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &idp{key: key}
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	handlers := http.NewServeMux()
	handlers.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/jwks",
			"id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"}, "authorization_response_iss_parameter_supported": true,
		})
	})
	handlers.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Use: "sig"}}})
	})
	handlers.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		p.asked++
		if p.token != nil {
			p.token(w, r)
			return
		}
		claims := map[string]any{
			"iss": p.URL, "sub": "s1", "aud": "grantd", "nonce": p.nonce, "iat": p.now().Unix(), "exp": p.now().Add(time.Minute).Unix(),
			"name": "Bea", "email": "bea@example.com", "email_verified": true, "groups": []string{"staff"},
		}
		if p.change != nil {
			p.change(claims)
		}
		token := p.sign(t, claims)
		if p.forge != nil {
			token = p.forge(claims)
		}
		answer(w, map[string]any{"access_token": "at", "token_type": "Bearer", "id_token": token})
	})
	p.Server = httptest.NewServer(handlers)
	t.Cleanup(p.Close)
	return p
}

func (p *idp) sign(t *testing.T, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.key}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
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
	token, _ := jws.CompactSerialize()
	return token
}

// upstreamHouse is a house whose people sign in with the provider.
func upstreamHouse(t *testing.T, settings servertest.Object, opts ...servertest.Option) (*house, *idp, string) {
	t.Helper()
	p := newIDP(t)
	h := newHouse(t, append(opts, servertest.WithOutboundAllow(strings.TrimPrefix(p.URL, "http://")))...)
	p.now = h.Clock.Now
	body := servertest.Object{"name": "Example", "issuer": p.URL, "client_id": "grantd", "client_secret": "top"}
	maps.Copy(body, settings)
	return h, p, h.Must(http.MethodPost, "/providers", body).String("id")
}

// begin goes to the provider and returns where its answer belongs, with the state.
func (p *idp) begin(t *testing.T, h *house, b *servertest.Browser, id, query string) (callback string, state string) {
	t.Helper()
	page := b.Get(h.URL + "/login/upstream/" + id + query)
	if page.Left == nil {
		t.Fatalf("not sent to the provider: %d\n%s", page.Status, page.Body)
	}
	asked := page.Left.Query()
	if asked.Get("code_challenge_method") != "S256" || asked.Get("nonce") == "" || asked.Get("redirect_uri") != h.URL+"/login/upstream/"+id+"/callback" {
		t.Errorf("asked with %v", asked)
	}
	p.nonce = asked.Get("nonce")
	return asked.Get("redirect_uri"), asked.Get("state")
}

func (p *idp) answer(state string) string {
	return "?" + url.Values{"code": {"c"}, "state": {state}, "iss": {p.URL}}.Encode()
}

// LG-11 and CS-10: an upstream sign-in makes a session only; consent follows.
func TestLG11CS10UpstreamSignInLeadsToConsent(t *testing.T) {
	h, p, id := upstreamHouse(t, nil)
	b := h.Browser()
	request := servertest.AuthorizationRequest(h.clientID, "http://127.0.0.1:49152/callback", resourceURI)
	if page := b.Authorize(request); !page.IsLogin() || !strings.Contains(page.Body, "/login/upstream/"+id) {
		t.Fatalf("the sign-in page has no button:\n%s", page.Body)
	}
	callback, state := p.begin(t, h, b, id, "?"+request.Encode())
	page := b.Get(callback + p.answer(state))
	if !page.IsConsent() || !strings.Contains(page.Body, "Bea") {
		t.Fatalf("no consent page: %d %s\n%s", page.Status, page.URL, page.Body)
	}
	tokens := h.Redeem(h.clientID, b.Approve(page).Left.Query().Get("code"))
	h.Clock.Advance(8 * 24 * time.Hour)
	if got := h.Refresh(h.clientID, tokens.JSON.String("refresh_token")); got.JSON["error"] != "invalid_grant" {
		t.Errorf("refreshed long after the last sign-in: %d %s", got.Status, got.Body)
	}
}

// LG-09 and LG-10: an answer counts once, in time, in the browser that asked.
func TestLG09LG10UpstreamState(t *testing.T) {
	h, p, id := upstreamHouse(t, nil)
	b := h.Browser()
	callback, state := p.begin(t, h, b, id, "")
	refused := func(name string, b *servertest.Browser, answer string) {
		t.Helper()
		before := p.asked
		page := b.Get(callback + answer)
		if page.Status != http.StatusForbidden || p.asked != before || strings.Contains(strings.Join(page.Header.Values("Set-Cookie"), " "), "session") {
			t.Errorf("%s: %d, exchanged %d, cookies %v", name, page.Status, p.asked-before, page.Header.Values("Set-Cookie"))
		}
	}
	refused("another browser", h.Browser(), p.answer(state))
	refused("no state", b, p.answer(""))
	refused("a changed state", b, p.answer(state[:len(state)-4]+"AAAA"))
	if page := b.Get(callback + p.answer(state)); page.URL.Path != "/account" {
		t.Fatalf("the honest answer: %d %s", page.Status, page.Body)
	}
	refused("once more", b, p.answer(state))
	_, state = p.begin(t, h, b, id, "")
	refused("another issuer", b, strings.Replace(p.answer(state), url.QueryEscape(p.URL), "https%3A%2F%2Fevil.example", 1))
	_, state = p.begin(t, h, b, id, "")
	h.Clock.Advance(11 * time.Minute)
	refused("too late", b, p.answer(state))
}

// LG-12: an ID token that proves nothing signs nobody in and makes nobody.
func TestLG12UpstreamIDToken(t *testing.T) {
	set := func(name string, value any) func(map[string]any) { return func(c map[string]any) { c[name] = value } }
	for name, test := range map[string]struct {
		change func(map[string]any)
		none   bool
	}{
		"wrong iss": {change: set("iss", "https://evil.example")}, "wrong aud": {change: set("aud", "other")},
		"wrong azp": {change: set("azp", "other")}, "two audiences without azp": {change: set("aud", []string{"grantd", "other"})},
		"wrong nonce": {change: set("nonce", "other")}, "no nonce": {change: set("nonce", "")},
		"expired": {change: set("exp", 1)}, "from the future": {change: set("iat", 4e9)}, "alg none": {none: true},
		"no subject": {change: set("sub", "")},
	} {
		t.Run(name, func(t *testing.T) {
			h, p, id := upstreamHouse(t, nil)
			p.change = test.change
			if test.none {
				p.forge = func(c map[string]any) string {
					payload, _ := json.Marshal(c)
					return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
				}
			}
			b := h.Browser()
			callback, state := p.begin(t, h, b, id, "")
			if page := b.Get(callback + p.answer(state)); page.Status != http.StatusBadGateway {
				t.Errorf("status %d\n%s", page.Status, page.Body)
			}
			if users := h.Must(http.MethodGet, "/users", nil)["items"].([]any); len(users) != 1 {
				t.Errorf("%d users", len(users))
			}
			if n := h.audited(t, "provider.sign_in_refused"); n != 1 || !b.Get(h.URL+"/account").IsLogin() {
				t.Errorf("%d audit events, or somebody is signed in", n)
			}
		})
	}
}

// LG-13: a local account is taken over by its verified address only, and only where
// the admin allows it.
func TestLG13UpstreamLinking(t *testing.T) {
	for name, test := range map[string]struct {
		allowed  bool
		verified any // nil: not told
		email    string
		linked   bool
	}{
		"not allowed": {false, true, "alice@example.com", false}, "not verified": {true, false, "alice@example.com", false},
		"not told": {true, nil, "alice@example.com", false}, "verified as a number": {true, 1, "alice@example.com", false},
		"allowed and verified": {true, true, "alice@example.com", true}, "in capitals": {true, true, "ALICE@example.COM", true},
		"a letter that lowers to k": {true, true, "alice@example.com\u212a", false}, "an address beside it": {true, true, "alice+x@example.com", false},
	} {
		t.Run(name, func(t *testing.T) {
			h, p, id := upstreamHouse(t, servertest.Object{"link_by_email": test.allowed})
			p.change = func(c map[string]any) {
				c["email"], c["email_verified"], c["preferred_username"] = test.email, test.verified, "alice"
				if test.verified == nil {
					delete(c, "email_verified")
				}
			}
			b := h.Browser()
			callback, state := p.begin(t, h, b, id, "")
			if page := b.Get(callback + p.answer(state)); page.URL.Path != "/account" {
				t.Fatalf("%d\n%s", page.Status, page.Body)
			}
			if users := h.Must(http.MethodGet, "/users", nil)["items"].([]any); (len(users) == 1) != test.linked {
				t.Errorf("%d users", len(users))
			}
		})
	}
}

// LG-14: a provider that is down is a page, and no weaker way in.
func TestLG14UpstreamDown(t *testing.T) {
	h, p, id := upstreamHouse(t, nil)
	b := h.Browser()
	callback, state := p.begin(t, h, b, id, "")
	p.CloseClientConnections()
	p.Close()
	if page := b.Get(callback + p.answer(state)); page.Status != http.StatusBadGateway || !strings.Contains(page.Body, "/login/local") {
		t.Errorf("status %d\n%s", page.Status, page.Body)
	}
}

// What a client asks of the sign-in is passed on, and counts only if auth_time proves
// it (OpenID Connect Core §3.1.2.1).
func TestUpstreamStepUp(t *testing.T) {
	for name, test := range map[string]struct {
		authTime func(now time.Time) any // nil: not told
		status   int
	}{
		"just now": {func(now time.Time) any { return now.Unix() }, http.StatusOK},
		"long ago": {func(now time.Time) any { return now.Add(-time.Hour).Unix() }, http.StatusForbidden},
		"not told": {nil, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			h, p, id := upstreamHouse(t, nil)
			p.change = func(c map[string]any) {
				if test.authTime != nil {
					c["auth_time"] = test.authTime(h.Clock.Now())
				}
			}
			b := h.Browser()
			request := servertest.AuthorizationRequest(h.clientID, "http://127.0.0.1:49152/callback", resourceURI)
			request.Set("prompt", "login")
			login := b.Authorize(request)
			left := b.Get(h.URL + "/login/upstream/" + id + "?" + login.URL.RawQuery).Left
			if left == nil || left.Query().Get("prompt") != "login" {
				t.Fatalf("asked the provider with %v", left)
			}
			p.nonce = left.Query().Get("nonce")
			page := b.Get(left.Query().Get("redirect_uri") + p.answer(left.Query().Get("state")))
			if page.Status != test.status || page.IsConsent() != (test.status == http.StatusOK) {
				t.Errorf("%d at %s\n%s", page.Status, page.URL, page.Body)
			}
		})
	}
}

// Whoever was disabled stays so, and a name that is taken is not taken over.
func TestUpstreamDisabledAndCollision(t *testing.T) {
	h, p, id := upstreamHouse(t, nil)
	p.change = func(c map[string]any) { delete(c, "email"); c["preferred_username"] = "alice" }
	signIn := func() *servertest.Page {
		b := h.Browser()
		callback, state := p.begin(t, h, b, id, "")
		return b.Get(callback + p.answer(state))
	}
	if page := signIn(); page.URL.Path != "/account" || !strings.Contains(page.Body, "alice-2") {
		t.Fatalf("%d %s\n%s", page.Status, page.URL, page.Body)
	}
	made := h.Must(http.MethodGet, "/users?username=alice-2", nil)["items"].([]any)[0].(map[string]any)["id"].(string)
	if status, _ := h.Call(http.MethodPatch, "/users/"+made, servertest.Object{"password": "correct horse"}); status != http.StatusBadRequest {
		t.Errorf("a password for a provider's user: %d", status)
	}
	h.Must(http.MethodPatch, "/users/"+made, servertest.Object{"disabled": true})
	if page := signIn(); page.Status != http.StatusForbidden {
		t.Errorf("disabled: %d %s", page.Status, page.URL)
	}
}
