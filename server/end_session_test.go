package server_test

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

const (
	goodbye = "https://app.example.com/bye?from=grantd"
	// idTokenLifetime is how long an ID token is valid.
	idTokenLifetime = 10 * time.Minute
)

// leaver is a registered client with an address for people who have signed out, and
// alice with an ID token of hers for it.
type leaver struct {
	*house
	alice    *servertest.Browser
	client   string
	idToken  string
	returned string // goodbye with the state
}

func newLeaver(t testing.TB, opts ...servertest.Option) *leaver {
	t.Helper()
	h := newHouse(t, opts...)
	client := h.Must(http.MethodPost, "/clients", servertest.Object{
		"client_name": "Desk", "redirect_uris": []string{callback}, "token_endpoint_auth_method": "none", "post_logout_redirect_uris": []string{goodbye},
	})
	l := &leaver{house: h, client: client["client_id"].(string), returned: goodbye + "&state=a%20b"}
	l.signIn(t)
	return l
}

func (l *leaver) signIn(t testing.TB) {
	t.Helper()
	l.alice = l.SignedIn("alice")
	l.idToken = l.Redeem(l.client, l.alice.Code(openID(l.client, loopback, "openid"))).JSON.String("id_token")
	if l.idToken == "" {
		t.Fatal("there is no ID token")
	}
}

func (l *leaver) logout(more ...string) string {
	return l.URL + "/logout?" + servertest.Form(more...).Encode()
}

func (l *leaver) signedIn() bool { return !l.alice.Get(l.URL + "/account").IsLogin() }

// TestRPInitiatedLogout: OpenID Connect RP-Initiated Logout §2 and §3.
func TestRPInitiatedLogout(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		l := newLeaver(t, servertest.WithStore(open(t)))
		wantLeft := func(t *testing.T, page *servertest.Page, target string) {
			t.Helper()
			if page.Left == nil || page.Left.String() != target {
				t.Errorf("it is at %s (%d), left for %v, want %s", page.URL, page.Status, page.Left, target)
			}
		}
		wantStays := func(t *testing.T, page *servertest.Page) {
			t.Helper()
			if page.Left != nil || page.URL.Path != "/logout" || page.Status != http.StatusOK || strings.Contains(page.Body, "evil") {
				t.Errorf("it is at %s (%d), left for %v", page.URL, page.Status, page.Left)
			}
		}
		t.Run("the ID token of this session asks nobody", func(t *testing.T) {
			head := l.alice.Send(http.MethodHead, l.logout("id_token_hint", l.idToken), "", nil)
			early := l.alice.Send(http.MethodGet, l.logout("id_token_hint", l.idToken), "", http.Header{"Sec-Purpose": {"prefetch"}})
			if head.Status != http.StatusOK || early.Status != http.StatusOK || !l.signedIn() {
				t.Fatalf("looking signed somebody out: %d, %d", head.Status, early.Status)
			}
			l.Clock.Advance(2 * idTokenLifetime)
			wantLeft(t, l.alice.Get(l.logout("id_token_hint", l.idToken, "post_logout_redirect_uri", goodbye, "state", "a b")), l.returned)
			if l.signedIn() {
				t.Error("alice is still signed in")
			}
			// Again: there is nobody to ask.
			wantLeft(t, l.alice.Get(l.logout("id_token_hint", l.idToken, "post_logout_redirect_uri", goodbye, "state", "a b")), l.returned)
		})
		t.Run("the ID token of another session asks", func(t *testing.T) {
			earlier := l.idToken
			l.signIn(t)
			page := l.alice.Get(l.logout("id_token_hint", earlier, "post_logout_redirect_uri", goodbye, "state", "a b"))
			wantStays(t, page)
			if !l.signedIn() {
				t.Fatal("it asked nobody")
			}
			wantLeft(t, l.alice.Post(page.Action(), page.Fields()), l.returned)
			if l.signedIn() {
				t.Error("alice is still signed in")
			}
		})
		t.Run("the client alone asks", func(t *testing.T) {
			l.signIn(t)
			page := l.alice.Get(l.logout("client_id", l.client, "post_logout_redirect_uri", goodbye))
			wantStays(t, page)
			wantLeft(t, l.alice.Post(page.Action(), page.Fields()), goodbye)
		})
		t.Run("a post from the application", func(t *testing.T) {
			l.signIn(t)
			form := servertest.Form("id_token_hint", l.idToken, "post_logout_redirect_uri", goodbye, "other", "x")
			header := http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://app.example.com"}, "Content-Type": {"application/x-www-form-urlencoded"}}
			answer := l.alice.Send(http.MethodPost, l.URL+"/logout", form.Encode(), header)
			target, err := url.Parse(answer.Header.Get("Location"))
			if err != nil || answer.Status != http.StatusSeeOther || target.Path != "/logout" || target.Query().Has("other") || !l.signedIn() {
				t.Fatalf("%d to %s", answer.Status, target)
			}
			wantLeft(t, l.alice.Get(l.URL+target.String()), goodbye)
		})
		other := l.PublicClient(callback).String("client_id")
		for name, request := range map[string][]string{
			"SS-05: an address that is not registered": {"id_token_hint", "HINT", "post_logout_redirect_uri", "https://evil.example/"},
			"an address with something added":          {"id_token_hint", "HINT", "post_logout_redirect_uri", goodbye + "&x=y"},
			"the redirect URI":                         {"id_token_hint", "HINT", "post_logout_redirect_uri", callback},
			"another client's address":                 {"client_id", other, "post_logout_redirect_uri", goodbye},
			"another client than the hint's":           {"id_token_hint", "HINT", "client_id", other, "post_logout_redirect_uri", goodbye},
			"nobody's address":                         {"post_logout_redirect_uri", goodbye},
			"a hint that is none":                      {"id_token_hint", "a.b.c", "post_logout_redirect_uri", goodbye},
			"an unknown client":                        {"client_id", "nobody", "post_logout_redirect_uri", goodbye},
		} {
			t.Run(name, func(t *testing.T) {
				l.signIn(t)
				for i := range request {
					if request[i] == "HINT" {
						request[i] = l.idToken
					}
				}
				page := l.alice.Get(l.logout(request...))
				wantStays(t, page)
				if l.signedIn() {
					wantStays(t, l.alice.Post(page.Action(), page.Fields()))
				}
				if l.signedIn() {
					t.Error("alice is still signed in")
				}
			})
		}
	})
}

// TestLogoutToADynamicClient: whoever registered itself is not gone to by itself.
func TestLogoutToADynamicClient(t *testing.T) {
	h := newHouse(t, servertest.WithDynamicRegistration())
	register := func(addresses ...string) *servertest.Answer {
		body := `{"redirect_uris":["` + callback + `"],"token_endpoint_auth_method":"none","post_logout_redirect_uris":["` + strings.Join(addresses, `","`) + `"]}`
		return h.Do(h.Request(http.MethodPost, "/register", body, http.Header{"Content-Type": {"application/json"}}))
	}
	for _, bad := range []string{"javascript:alert(1)", "http://app.example.com/", "/bye"} {
		if answer := register(bad); answer.Status != http.StatusBadRequest || answer.JSON["error"] != "invalid_client_metadata" {
			t.Errorf("%s: %d %s", bad, answer.Status, answer.Body)
		}
	}
	first, second := register(goodbye), register("https://app.example.com/other")
	if first.Status != http.StatusCreated || first.JSON["post_logout_redirect_uris"].([]any)[0] != goodbye || first.JSON["client_id"] == second.JSON["client_id"] {
		t.Fatalf("%d %s, %s", first.Status, first.Body, second.Body)
	}
	page := h.Browser().Get(h.URL + "/logout?" + servertest.Form("client_id", first.JSON.String("client_id"), "post_logout_redirect_uri", goodbye).Encode())
	if page.Left != nil || !strings.Contains(page.Body, "app.example.com") || strings.Contains(page.Body, `http-equiv="refresh"`) {
		t.Errorf("it is at %s, left for %v\n%s", page.URL, page.Left, page.Body)
	}
}

// TestPostLogoutRedirectURIsOfAnAdmin: bad ones are named, and nothing is stored.
func TestPostLogoutRedirectURIsOfAnAdmin(t *testing.T) {
	h := newHouse(t)
	status, problem := h.Call(http.MethodPost, "/clients", servertest.Object{
		"client_name": "Desk", "redirect_uris": []string{callback}, "post_logout_redirect_uris": []string{goodbye, "javascript:alert(1)"},
	})
	if faults, _ := problem["errors"].([]any); status != http.StatusUnprocessableEntity && status != http.StatusBadRequest || len(faults) != 1 || faults[0].(map[string]any)["pointer"] != "/post_logout_redirect_uris/1" {
		t.Errorf("%d %v", status, problem)
	}
}

// TestLogoutToADocumentClient: what a metadata document says counts once somebody has
// approved its client, until somebody approves one that does not say it; nobody is sent
// there unasked, and signing out fetches nothing.
func TestLogoutToADocumentClient(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		n := newNotebook(t, servertest.WithStore(open(t)))
		n.host.publish(notebookPath, servertest.Object{"post_logout_redirect_uris": []string{goodbye}})
		leave := func() *servertest.Page {
			t.Helper()
			var page *servertest.Page
			fetches := n.host.fetched(func() {
				page = n.Browser().Get(n.URL + "/logout?" + servertest.Form("client_id", n.url, "post_logout_redirect_uri", goodbye).Encode())
			})
			if page.Status != http.StatusOK || page.Left != nil || strings.Contains(page.Body, `http-equiv="refresh"`) || fetches != 0 {
				t.Errorf("signing out leads to %d, %v, with %d fetches", page.Status, page.Left, fetches)
			}
			return page
		}
		if page := leave(); strings.Contains(page.Body, "app.example.com") {
			t.Errorf("nobody has approved the client, and the page leads there:\n%s", page.Body)
		}
		n.alice.Approve(n.alice.Authorize(n.request()), "notes:read")
		if page := leave(); !strings.Contains(page.Body, `href="`+html.EscapeString(goodbye)+`"`) {
			t.Errorf("the page does not lead back:\n%s", page.Body)
		}
		n.host.publish(notebookPath, nil)
		n.Clock.Advance(48 * time.Hour)
		again := n.SignedIn("alice")
		again.Approve(again.Authorize(n.request()), "notes:read")
		if page := leave(); strings.Contains(page.Body, "app.example.com") {
			t.Errorf("the document does not say it any more, and the page leads there:\n%s", page.Body)
		}
	})
}
