package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// chancellery is a server with an administrator, ada, and a client that people sign
// in with for the admin API.
type chancellery struct {
	*servertest.Server
	t        testing.TB
	ada      *servertest.Browser
	adaID    string
	clientID string
	resource string
}

func newChancellery(t testing.TB, store storage.Store) *chancellery {
	t.Helper()
	c := &chancellery{Server: servertest.New(t, servertest.WithStore(store)), t: t}
	c.resource = c.URL + "/admin"
	c.adaID = c.User("ada").String("id")
	c.Must(http.MethodPatch, "/users/"+c.adaID, servertest.Object{"groups": []string{"admins"}})
	c.User("bob")
	c.ada = c.SignedIn("ada")
	c.clientID = c.Must(http.MethodPost, "/clients", servertest.Object{
		"client_name": "Terminal", "token_endpoint_auth_method": "none", "redirect_uris": []string{"http://127.0.0.1/callback"}, "admin_access": true,
		"grant_types": []string{"authorization_code", "refresh_token", servertest.DeviceGrantType},
	}).String("client_id")
	return c
}

// request is an authorization request for the admin API.
func (c *chancellery) request(pairs ...string) url.Values {
	r := servertest.AuthorizationRequest(c.clientID, loopback, c.resource)
	for i := 0; i < len(pairs); i += 2 {
		r.Set(pairs[i], pairs[i+1])
	}
	return r
}

// signIn has ada approve and returns the tokens.
func (c *chancellery) signIn(pairs ...string) issued {
	c.t.Helper()
	return wantTokens(c.t, c.Redeem(c.clientID, c.ada.Code(c.request(pairs...))))
}

// call calls the admin API with a token, and returns the status and the problem's code.
func (c *chancellery) call(token, method, path, body string) (int, string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.Admin+"/admin/v1"+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var problem struct{ Type string }
	_ = json.NewDecoder(response.Body).Decode(&problem)
	return response.StatusCode, strings.TrimPrefix(problem.Type, "urn:grantd:problem:")
}

func (c *chancellery) want(token, method, path, body string, status int, code string) {
	c.t.Helper()
	if gotStatus, gotCode := c.call(token, method, path, body); gotStatus != status || gotCode != code {
		c.t.Errorf("%s %s: %d %q, want %d %q", method, path, gotStatus, gotCode, status, code)
	}
}

// actors are who did something of that action.
func (c *chancellery) actors(action string) []string {
	c.t.Helper()
	var actors []string
	for _, event := range c.Must(http.MethodGet, "/audit-events?limit=200", nil)["items"].([]any) {
		if event := event.(map[string]any); event["action"] == action {
			actors = append(actors, event["actor"].(string))
		}
	}
	return actors
}

func TestAdministratorsSignIn(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		c := newChancellery(t, open(t))
		page := c.ada.Authorize(c.request())
		if !page.IsConsent() || !strings.Contains(page.Body, "the administration of this server") {
			t.Fatalf("no consent page: %d\n%s", page.Status, page.Body)
		}
		tokens := c.signIn()
		if tokens.scope != "admin:read admin:write" || tokens.refresh == "" {
			t.Errorf("tokens = %+v", tokens)
		}
		if aud := servertest.Claims(tokens.access)["aud"]; aud != c.resource {
			t.Errorf("aud = %v", aud)
		}
		c.want(tokens.access, http.MethodPost, "/users", `{"username":"carol"}`, http.StatusCreated, "")
		if actors := c.actors("user.created"); actors[len(actors)-1] != "user:"+c.adaID {
			t.Errorf("users were created by %q", actors)
		}

		// Nothing is remembered of it: each sign-in is asked about.
		if page := c.ada.Authorize(c.request()); !page.IsConsent() {
			t.Errorf("the second time ends at %d, left for %v", page.Status, page.Left)
		}
		if page := c.ada.Authorize(c.request("prompt", "none")); page.Left == nil || page.Left.Query().Get("error") != "consent_required" {
			t.Errorf("prompt=none ends at %d, left for %v", page.Status, page.Left)
		}

		// Less was asked for, or ticked.
		reader := c.signIn("scope", "admin:read")
		c.want(reader.access, http.MethodGet, "/users", "", http.StatusOK, "")
		c.want(reader.access, http.MethodDelete, "/users/"+c.adaID, "", http.StatusForbidden, "read-only")

		// A refresh goes on; a working day later it does not.
		again := wantTokens(t, c.Refresh(c.clientID, tokens.refresh))
		c.want(again.access, http.MethodGet, "/users", "", http.StatusOK, "")
		c.Clock.Advance(storage.DefaultAccessTokenLifetime)
		c.want(again.access, http.MethodGet, "/users", "", http.StatusUnauthorized, "expired")
		c.Clock.Advance(storage.AdminFamilyLifetime)
		wantError(t, c.Refresh(c.clientID, again.refresh), http.StatusBadRequest, "invalid_grant")
	})
}

// AD-01: whatever an administrator's token stands on is looked up at each use.
func TestAdministratorsTokenEnds(t *testing.T) {
	ends := map[string]func(c *chancellery, tokens issued){
		"ada leaves the group": func(c *chancellery, _ issued) {
			c.Must(http.MethodPatch, "/users/"+c.adaID, servertest.Object{"groups": []string{"staff"}})
		},
		"ada is disabled": func(c *chancellery, _ issued) {
			c.Must(http.MethodPatch, "/users/"+c.adaID, servertest.Object{"disabled": true})
		},
		"the client loses its flag": func(c *chancellery, _ issued) {
			c.Must(http.MethodPatch, "/clients/"+c.clientID, servertest.Object{"admin_access": false})
		},
		"the client is disabled": func(c *chancellery, _ issued) {
			c.Must(http.MethodPatch, "/clients/"+c.clientID, servertest.Object{"disabled": true})
		},
		"the grant is revoked": func(c *chancellery, _ issued) {
			for _, grant := range c.Must(http.MethodGet, "/grants?user_id="+c.adaID, nil)["items"].([]any) {
				c.Must(http.MethodDelete, "/grants/"+grant.(map[string]any)["id"].(string), nil)
			}
		},
		"ada signs out": func(c *chancellery, tokens issued) {
			c.Post("/revoke", servertest.Form("token", tokens.refresh, "client_id", c.clientID), "")
		},
		"the token is revoked": func(c *chancellery, tokens issued) {
			c.Post("/revoke", servertest.Form("token", tokens.access, "client_id", c.clientID), "")
		},
	}
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		for name, end := range ends {
			t.Run(name, func(t *testing.T) {
				c := newChancellery(t, open(t))
				tokens := c.signIn()
				c.want(tokens.access, http.MethodGet, "/clients", "", http.StatusOK, "")
				end(c, tokens)
				c.want(tokens.access, http.MethodGet, "/clients", "", http.StatusUnauthorized, "unauthorized")
				if name != "the token is revoked" && isTokens(c.Refresh(c.clientID, tokens.refresh)) {
					t.Error("it can still be refreshed")
				}
			})
		}
	})
}

// AD-01: who gets no token for the admin API, and which tokens are none.
func TestOnlyAdministratorsAdminister(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		c := newChancellery(t, open(t))
		const other = "https://mcp.example/mcp"
		c.Resource(other, nil, "notes:read", "admin:write")

		t.Run("a person who is none", func(t *testing.T) {
			page := c.SignedIn("bob").Authorize(c.request())
			if page.Left == nil || page.Left.Query().Get("error") != "access_denied" || page.Left.Query().Get("code") != "" {
				t.Errorf("ended at %d, left for %v", page.Status, page.Left)
			}
		})
		t.Run("a person who was one when the page was shown", func(t *testing.T) {
			page := c.ada.Authorize(c.request())
			c.Must(http.MethodPatch, "/users/"+c.adaID, servertest.Object{"groups": []string{}})
			if page = c.ada.Approve(page); page.Left == nil || page.Left.Query().Get("error") != "access_denied" {
				t.Errorf("ended at %d, left for %v", page.Status, page.Left)
			}
			c.Must(http.MethodPatch, "/users/"+c.adaID, servertest.Object{"groups": []string{"admins"}})
		})
		t.Run("a person who was one when the code was made", func(t *testing.T) {
			code := c.ada.Code(c.request())
			c.Must(http.MethodPatch, "/users/"+c.adaID, servertest.Object{"groups": []string{}})
			wantError(t, c.Redeem(c.clientID, code), http.StatusBadRequest, "invalid_grant")
			c.Must(http.MethodPatch, "/users/"+c.adaID, servertest.Object{"groups": []string{"admins"}})
		})
		t.Run("a client without the flag", func(t *testing.T) {
			request := c.request()
			request.Set("client_id", c.PublicClient("http://127.0.0.1/callback").String("client_id"))
			if page := c.ada.Authorize(request); page.Left == nil || page.Left.Query().Get("error") != "invalid_target" {
				t.Errorf("ended at %d, left for %v", page.Status, page.Left)
			}
		})
		t.Run("no resource named", func(t *testing.T) {
			request := c.request("scope", "admin:read")
			request.Del("resource")
			if page := c.ada.Authorize(request); page.Left == nil || page.Left.Query().Get("error") != "invalid_scope" {
				t.Errorf("ended at %d, left for %v", page.Status, page.Left)
			}
		})
		t.Run("a machine", func(t *testing.T) {
			machine := c.Must(http.MethodPost, "/clients", servertest.Object{
				"grant_types": []string{"client_credentials", "authorization_code"}, "redirect_uris": []string{webCallback}, "admin_access": true,
			})
			answer := c.Post("/token", servertest.Form("grant_type", "client_credentials", "resource", c.resource), credentialsOf(machine).basic())
			wantError(t, answer, http.StatusBadRequest, "invalid_target")
		})
		t.Run("a token for another resource", func(t *testing.T) {
			request := c.request("scope", "admin:write")
			request.Set("resource", other)
			tokens := wantTokens(t, c.Redeem(c.clientID, c.ada.Code(request)))
			c.want(tokens.access, http.MethodGet, "/clients", "", http.StatusUnauthorized, "unauthorized")
		})
		t.Run("a token that was changed", func(t *testing.T) {
			token := c.signIn().access
			parts := strings.Split(token, ".")
			for _, forged := range []string{parts[0] + "." + parts[1] + ".", parts[0] + "." + parts[1] + "." + parts[1], "a.b.c", ".."} {
				c.want(forged, http.MethodGet, "/clients", "", http.StatusUnauthorized, "unauthorized")
			}
		})
		t.Run("a client that registers itself with the flag", func(t *testing.T) {
			c.Must(http.MethodPatch, "/registration-policy", servertest.Object{"dynamic": "allow"})
			answer := c.Do(c.Request(http.MethodPost, c.URL+"/register",
				`{"client_name":"Terminal","redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"none","admin_access":true}`,
				http.Header{"Content-Type": {"application/json"}}))
			if answer.Status != http.StatusCreated {
				t.Fatalf("register: %d %s", answer.Status, answer.Body)
			}
			request := c.request()
			request.Set("client_id", answer.JSON.String("client_id"))
			if page := c.ada.Authorize(request); page.IsConsent() || page.Left != nil && page.Left.Query().Has("code") {
				t.Errorf("ended at %d, left for %v", page.Status, page.Left)
			}
		})
	})
}

// The built-in resource is hidden: the rest of the server is as if it were not there.
// AD-02, AD-08: the public listener has neither the admin API nor what looks inside.
func TestAdministrationIsHidden(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		c := newChancellery(t, open(t))
		c.signIn()
		if items := c.Must(http.MethodGet, "/resources", nil)["items"].([]any); len(items) != 0 {
			t.Errorf("resources = %v", items)
		}
		for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
			if body := c.Get(c.Origin + path).Body; strings.Contains(body, "admin") {
				t.Errorf("%s names it: %s", path, body)
			}
		}
		// A client that names no resource gets the only one there is.
		const only = "https://mcp.example/mcp"
		c.Resource(only, nil, "notes:read")
		request := c.request()
		request.Del("resource")
		tokens := wantTokens(t, c.Redeem(c.clientID, c.ada.Code(request)))
		if aud := servertest.Claims(tokens.access)["aud"]; aud != only {
			t.Errorf("aud = %v", aud)
		}
		wantTokens(t, c.Refresh(c.clientID, tokens.refresh))
		// Nothing is at the resource's URI either.
		for _, path := range []string{"/admin", "/admin/v1/clients", "/admin/v1/sign-in", "/metrics", "/debug/pprof/"} {
			if got := c.Get(c.URL + path).Status; got != http.StatusNotFound {
				t.Errorf("GET %s: %d", path, got)
			}
		}
	})
}

func TestAdministratorsDevice(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		c := newChancellery(t, open(t))
		ask := func() codes {
			t.Helper()
			answer := c.DeviceAuthorization(c.clientID, "resource", c.resource)
			if answer.Status != http.StatusOK {
				t.Fatalf("no codes: %d %s", answer.Status, answer.Body)
			}
			return codes{answer.JSON.String("device_code"), answer.JSON.String("user_code"), answer.JSON.String("verification_uri_complete")}
		}
		refused := ask()
		if page := c.SignedIn("bob").Device(refused.page); page.Status != http.StatusForbidden || page.IsConsent() {
			t.Errorf("bob is shown %d", page.Status)
		}
		device := ask()
		c.ada.Approve(c.ada.Device(device.page))
		c.Clock.Advance(10 * time.Second)
		tokens := wantTokens(t, c.Poll(c.clientID, device.device))
		c.want(tokens.access, http.MethodPost, "/users", `{"username":"carol"}`, http.StatusCreated, "")

		left := ask()
		c.ada.Approve(c.ada.Device(left.page))
		c.Must(http.MethodPatch, "/users/"+c.adaID, servertest.Object{"groups": []string{}})
		c.Clock.Advance(10 * time.Second)
		wantError(t, c.Poll(c.clientID, left.device), http.StatusBadRequest, "invalid_grant")
	})
}

// A key that is deleted on one replica is out on all of them with the next look at the
// version row, which is each half second.
func TestAdminKeyEndsOnEveryReplica(t *testing.T) {
	url := servertest.MigratedPostgres(t)
	one := servertest.New(t, servertest.WithStore(servertest.OpenPostgres(t, url)))
	two := servertest.New(t, servertest.WithStore(servertest.OpenPostgres(t, url)), servertest.ReplicaOf(one))
	made := one.Must(http.MethodPost, "/admin-keys", servertest.Object{"name": "ci", "scope": "read"})
	there := &chancellery{Server: two, t: t}
	there.want(made.String("key"), http.MethodGet, "/clients", "", http.StatusOK, "")
	one.Must(http.MethodDelete, "/admin-keys/"+made.String("id"), nil)
	two.Beat()
	there.want(made.String("key"), http.MethodGet, "/clients", "", http.StatusUnauthorized, "unauthorized")
	here := &chancellery{Server: one, t: t}
	here.want(made.String("key"), http.MethodGet, "/clients", "", http.StatusUnauthorized, "unauthorized")
	if actors := here.actors("admin_key.created"); len(actors) != 1 || slices.Contains(actors, "") {
		t.Errorf("actors = %q", actors)
	}
}
