package server_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/server/servertest"
	"grantd/storage"
)

// TestIntrospect: the rows IN of the catalogue of attacks.
func TestIntrospect(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		const elsewhere = "https://elsewhere.example.com/mcp"
		foreign := credentialsOf(o.MachineClient())
		o.Resource(elsewhere, []string{foreign.id}, "elsewhere:read")
		ask := func(token, basic string, pairs ...string) *servertest.Answer {
			return o.Post("/introspect", servertest.Form(append([]string{"token", token}, pairs...)...), basic)
		}
		inactive := func(t *testing.T, answer *servertest.Answer) {
			t.Helper()
			if answer.Status != http.StatusOK || strings.TrimSpace(answer.Body) != `{"active":false}` {
				t.Errorf("the answer is %d %s", answer.Status, answer.Body)
			}
			wantJSON(t, answer)
		}

		t.Run("IN-01 nobody, or wrong credentials", func(t *testing.T) {
			token := o.tokens(t).access
			for name, answer := range map[string]*servertest.Answer{
				"nobody":            ask(token, ""),
				"wrong secret":      ask(token, o.guard.id+":wrong"),
				"secret left out":   ask(token, "", "client_id", o.guard.id),
				"wrong in the body": ask(token, "", "client_id", o.guard.id, "client_secret", "wrong"),
				"public client":     ask(token, "", "client_id", o.clientID),
				"unknown client":    ask(token, "cl_nobody:x"),
				"bearer token": o.Do(o.Request(http.MethodPost, "/introspect", "token="+token,
					http.Header{"Content-Type": {formType}, "Authorization": {"Bearer " + token}})),
			} {
				wantError(t, answer, http.StatusUnauthorized, "invalid_client")
				if !strings.HasPrefix(answer.Header.Get("WWW-Authenticate"), "Basic ") {
					t.Errorf("%s: no challenge", name)
				}
			}
		})

		t.Run("IN-01 secret in the body", func(t *testing.T) {
			answer := ask(o.tokens(t).access, "", "client_id", o.guard.id, "client_secret", o.guard.secret)
			if answer.JSON["active"] != true {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
		})

		t.Run("IN-02 asked by whom it does not concern", func(t *testing.T) {
			token := o.tokens(t).access
			for _, caller := range []credentials{foreign, o.web, o.machine} {
				inactive(t, ask(token, caller.basic()))
			}
			theirs := wantTokens(t, o.Post("/token", servertest.Form("grant_type", "client_credentials", "resource", elsewhere), o.machine.basic()))
			inactive(t, ask(theirs.access, o.guard.basic()))
			inactive(t, ask(theirs.access, o.machine.basic()))
			if answer := ask(theirs.access, foreign.basic()); answer.JSON["active"] != true {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
		})

		t.Run("IN-03 what is no access token", func(t *testing.T) {
			code, got := o.code(t), o.tokens(t)
			inactive(t, ask(code, o.guard.basic()))
			inactive(t, ask(got.refresh, o.guard.basic(), "token_type_hint", "refresh_token"))
			wantTokens(t, o.Redeem(o.clientID, code))
			wantTokens(t, o.Refresh(o.clientID, got.refresh))
		})

		t.Run("IN-04 expired", func(t *testing.T) {
			token := o.tokens(t).access
			o.Clock.Advance(10*time.Minute - time.Second)
			if !o.active(t, token) {
				t.Error("a second before it expires it is not active")
			}
			o.Clock.Advance(time.Second)
			inactive(t, ask(token, o.guard.basic()))
		})

		t.Run("IN-04 not yet valid", func(t *testing.T) {
			token := o.tokens(t).access
			o.Clock.Advance(-30 * time.Second) // another replica's clock may be ahead
			if !o.active(t, token) {
				t.Error("30 s before it was issued it is not active")
			}
			o.Clock.Advance(-time.Minute)
			inactive(t, ask(token, o.guard.basic()))
			o.Clock.Advance(90 * time.Second)
		})

		t.Run("IN-04 rights that were taken away", func(t *testing.T) {
			resource := "/resources/" + o.find(t, "/resources", "uri", resourceURI)
			before := o.Must(http.MethodGet, resource, nil)["scopes"].([]any)
			token := o.tokens(t).access
			all := strings.Fields(o.introspect(token).JSON.String("scope"))
			o.Must(http.MethodPatch, resource, servertest.Object{"scopes": before[1:]})
			if got := o.introspect(token).JSON.String("scope"); len(all) < 2 || got != strings.Join(all[1:], " ") {
				t.Errorf("of the scopes %q, the first removed, it says %q", all, got)
			}
			// What the person approves again is another Grant's affair.
			o.Must(http.MethodPatch, resource, servertest.Object{"scopes": before})
			if got := o.introspect(token).JSON.String("scope"); got != strings.Join(all[1:], " ") {
				t.Errorf("after the scope came back it says %q", got)
			}
		})

		t.Run("IN-04 tampered with", func(t *testing.T) {
			token := o.tokens(t).access
			parts := strings.Split(token, ".")
			claims := servertest.Claims(token)
			reclaimed := func(name string, value any) string {
				other := maps.Clone(claims)
				other[name] = value
				raw, err := json.Marshal(other)
				if err != nil {
					t.Fatal(err)
				}
				return parts[0] + "." + base64.RawURLEncoding.EncodeToString(raw) + "." + parts[2]
			}
			header := func(json string) string { return base64.RawURLEncoding.EncodeToString([]byte(json)) }
			for _, value := range []string{
				forged(token), reclaimed("scope", "admin"), reclaimed("exp", 4102444800), reclaimed("aud", elsewhere),
				header(`{"alg":"none","typ":"at+jwt"}`) + "." + parts[1] + ".",
				header(`{"alg":"HS256","typ":"at+jwt"}`) + "." + parts[1] + "." + parts[2],
				parts[0] + "." + parts[1] + ".", parts[1] + "." + parts[1] + "." + parts[2], token + ".", token + "=",
			} {
				inactive(t, ask(value, o.guard.basic()))
			}
			if !o.active(t, token) {
				t.Error("the token itself is not active")
			}
		})

		t.Run("IN-04 signed by keys of another deployment with the same issuer", func(t *testing.T) {
			twin := servertest.New(t, servertest.ReplicaOf(o.Server))
			twin.Resource(resourceURI, nil, "notes:read")
			machine := credentialsOf(twin.MachineClient())
			got := wantTokens(t, twin.Post("/token", servertest.Form("grant_type", "client_credentials"), machine.basic()))
			inactive(t, ask(got.access, o.guard.basic()))
		})

		for name, body := range map[string]string{
			"garbage": "garbage", "dots": "...", "binary": "\x00\xff\xfe", "SQL": "' OR 1=1; DROP TABLE families; --", "60 KB": strings.Repeat("a.", 30_000),
		} {
			t.Run("IN-05 "+name, func(t *testing.T) { inactive(t, ask(body, o.guard.basic())) })
		}
		t.Run("IN-05 1 MiB", func(t *testing.T) {
			wantError(t, ask(strings.Repeat("a", 1<<20), o.guard.basic()), http.StatusRequestEntityTooLarge, "invalid_request")
		})
		t.Run("IN-05 no token, two tokens, GET", func(t *testing.T) {
			wantError(t, ask("", o.guard.basic()), http.StatusBadRequest, "invalid_request")
			header := http.Header{"Content-Type": {formType}, "Authorization": {basicHeader(o.guard.basic())}}
			wantError(t, o.Do(o.Request(http.MethodPost, "/introspect", "token=a&token=b", header)), http.StatusBadRequest, "invalid_request")
			if answer := o.Do(o.Request(http.MethodGet, "/introspect?token=a", "", header)); answer.Status != http.StatusMethodNotAllowed {
				t.Errorf("GET: %d", answer.Status)
			}
		})

		t.Run("IN-06 active answer", func(t *testing.T) {
			got := o.tokens(t, "scope", "notes:read")
			answer := ask(got.access, o.guard.basic())
			wantJSON(t, answer)
			claims := servertest.Claims(got.access)
			want := servertest.Object{
				"active": true, "iss": o.URL, "sub": o.find(t, "/users", "username", "alice"), "aud": resourceURI, "client_id": o.clientID,
				"scope": "notes:read", "exp": claims["exp"], "iat": claims["iat"], "jti": claims["jti"], "token_type": "Bearer",
				"acr": storage.ACRSingleFactor, "amr": []any{"pwd"}, "auth_time": claims["auth_time"],
			}
			if diff := cmp.Diff(want, answer.JSON); diff != "" {
				t.Error(diff)
			}
		})
	})
}

// TestIntrospectFollowsRights: IN-04. What a token stands on is gone, and with it
// the token.
func TestIntrospectFollowsRights(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		for _, test := range []struct {
			name    string
			machine bool
			end     func(o *office, t *testing.T)
		}{
			{"user disabled", false, func(o *office, t *testing.T) {
				o.Must(http.MethodPatch, "/users/"+o.find(t, "/users", "username", "alice"), servertest.Object{"disabled": true})
			}},
			{"user deleted", false, func(o *office, t *testing.T) {
				o.Must(http.MethodDelete, "/users/"+o.find(t, "/users", "username", "alice"), nil)
			}},
			{"password changed", false, func(o *office, t *testing.T) {
				o.Must(http.MethodPatch, "/users/"+o.find(t, "/users", "username", "alice"), servertest.Object{"password": "another horse battery staple"})
			}},
			{"client disabled", false, func(o *office, _ *testing.T) {
				o.Must(http.MethodPatch, "/clients/"+o.clientID, servertest.Object{"disabled": true})
			}},
			{"client deleted", false, func(o *office, _ *testing.T) { o.Must(http.MethodDelete, "/clients/"+o.clientID, nil) }},
			{"grant revoked", false, func(o *office, t *testing.T) {
				o.Must(http.MethodDelete, "/grants/"+o.find(t, "/grants", "client_id", o.clientID), nil)
			}},
			{"resource deleted", false, func(o *office, t *testing.T) {
				o.Must(http.MethodDelete, "/resources/"+o.find(t, "/resources", "uri", resourceURI), nil)
			}},
			{"resource's server no longer trusted", false, func(o *office, t *testing.T) {
				o.Must(http.MethodPatch, "/resources/"+o.find(t, "/resources", "uri", resourceURI), servertest.Object{"introspection_clients": []string{}})
			}},
			{"machine disabled", true, func(o *office, _ *testing.T) {
				o.Must(http.MethodPatch, "/clients/"+o.machine.id, servertest.Object{"disabled": true})
			}},
			{"machine deleted", true, func(o *office, _ *testing.T) { o.Must(http.MethodDelete, "/clients/"+o.machine.id, nil) }},
		} {
			t.Run("IN-04 "+test.name, func(t *testing.T) {
				o.renew(t)
				token := ""
				if test.machine {
					token = wantTokens(t, o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.basic())).access
				} else {
					token = o.tokens(t).access
				}
				if !o.active(t, token) {
					t.Fatal("the token was not active to begin with")
				}
				test.end(o, t)
				if o.active(t, token) {
					t.Error("the token is still active")
				}
			})
		}
	})
}

// TestIntrospectionClients: several servers may guard one resource.
func TestIntrospectionClients(t *testing.T) {
	o := newOffice(t)
	second := credentialsOf(o.MachineClient())
	id := o.find(t, "/resources", "uri", resourceURI)
	token := o.tokens(t).access
	active := func(who credentials) bool {
		return o.Post("/introspect", servertest.Form("token", token), who.basic()).JSON["active"] == true
	}
	for _, guards := range [][]string{{o.guard.id, second.id}, {second.id}, {}} {
		o.Must(http.MethodPatch, "/resources/"+id, servertest.Object{"introspection_clients": guards})
		for _, who := range []credentials{o.guard, second, o.machine} {
			if active(who) != slices.Contains(guards, who.id) {
				t.Errorf("with %d introspection clients the answer to %s is wrong", len(guards), who.id)
			}
		}
	}
}
