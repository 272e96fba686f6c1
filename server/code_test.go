package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

const otherVerifier = "another-code-verifier-of-sufficient-length-9876543210"

// TestCodeGrant: the rows AC of the catalogue of attacks, as a client at /token
// meets them. A refused attempt must leave everything as it was.
func TestCodeGrant(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		other := o.PublicClient(callback).String("client_id")
		redeem := func(code string, pairs ...string) *servertest.Answer {
			return o.Post("/token", o.redemption(code, pairs...), "")
		}
		refused := func(t *testing.T, answer *servertest.Answer) {
			t.Helper()
			wantError(t, answer, http.StatusBadRequest, "invalid_grant")
		}

		t.Run("AC-01 replay with full proof ends everything", func(t *testing.T) {
			code := o.code(t)
			first := wantTokens(t, redeem(code))
			second := wantTokens(t, o.Refresh(o.clientID, first.refresh))
			o.Clock.Advance(10*time.Second + time.Microsecond)
			before := o.audited(t, "family.ended")
			refused(t, redeem(code))
			for _, token := range []string{first.access, second.access} {
				if o.active(t, token) {
					t.Error("an access token that came of the code is still active")
				}
			}
			o.wantGone(t, second.refresh)
			if n := o.audited(t, "family.ended") - before; n != 1 {
				t.Errorf("%d audit events, want 1", n)
			}
		})

		t.Run("AC-01 replay long after the code has expired", func(t *testing.T) {
			code := o.code(t)
			got := wantTokens(t, redeem(code))
			o.Clock.Advance(5 * time.Minute)
			refused(t, redeem(code))
			if o.active(t, got.access) {
				t.Error("the access token is still active")
			}
			o.wantGone(t, got.refresh)
		})

		t.Run("AC-01 a double submit within 10 s is only refused", func(t *testing.T) {
			code := o.code(t)
			got := wantTokens(t, redeem(code))
			for _, wait := range []time.Duration{0, 10 * time.Second} {
				o.Clock.Advance(wait)
				refused(t, redeem(code))
			}
			if !o.active(t, got.access) {
				t.Error("the access token is dead")
			}
			wantTokens(t, o.Refresh(o.clientID, got.refresh))
		})

		t.Run("AC-01 ends only what came of this code", func(t *testing.T) {
			code, sibling := o.code(t), o.tokens(t)
			wantTokens(t, redeem(code))
			o.Clock.Advance(11 * time.Second)
			refused(t, redeem(code))
			if !o.active(t, sibling.access) {
				t.Error("another installation of the client lost its access token")
			}
			wantTokens(t, o.Refresh(o.clientID, sibling.refresh))
		})

		t.Run("AC-02 replay without full proof", func(t *testing.T) {
			code := o.code(t)
			got := wantTokens(t, redeem(code))
			o.Clock.Advance(11 * time.Second)
			refused(t, redeem(code, "code_verifier", otherVerifier))
			refused(t, redeem(code, "code_verifier", ""))
			refused(t, redeem(code, "client_id", other))
			refused(t, redeem(code, "redirect_uri", "http://127.0.0.1:1/callback"))
			wantError(t, redeem(code, "client_secret", "any"), http.StatusUnauthorized, "invalid_client")
			if !o.active(t, got.access) {
				t.Error("the victim's access token is dead")
			}
			wantTokens(t, o.Refresh(o.clientID, got.refresh))
		})

		t.Run("AC-02 replay of a confidential client's code without its secret", func(t *testing.T) {
			code := o.webCode(t)
			form := o.redemption(code, "client_id", "")
			got := wantTokens(t, o.Post("/token", form, o.web.basic()))
			o.Clock.Advance(11 * time.Second)
			wantError(t, o.Post("/token", form, o.web.id+":wrong"), http.StatusUnauthorized, "invalid_client")
			wantError(t, redeem(code, "client_id", o.web.id), http.StatusUnauthorized, "invalid_client")
			refused(t, redeem(code))
			if !o.active(t, got.access) {
				t.Error("the victim's access token is dead")
			}
		})

		t.Run("AC-03 forged code", func(t *testing.T) {
			code := o.code(t)
			got := wantTokens(t, redeem(code))
			o.Clock.Advance(11 * time.Second)
			for _, value := range []string{forged(code), code[:len(code)-4], code + "A", strings.ToUpper(code), "ac_", strings.TrimPrefix(code, "ac_")} {
				refused(t, redeem(value))
			}
			if !o.active(t, got.access) {
				t.Error("the victim's access token is dead")
			}
			wantTokens(t, o.Refresh(o.clientID, got.refresh))
		})

		t.Run("AC-05 59 s old", func(t *testing.T) {
			code := o.code(t)
			o.Clock.Advance(59 * time.Second)
			wantTokens(t, redeem(code))
		})
		t.Run("AC-05 60 s and 61 s old", func(t *testing.T) {
			code := o.code(t)
			o.Clock.Advance(60 * time.Second)
			refused(t, redeem(code))
			o.Clock.Advance(time.Second)
			refused(t, redeem(code))
		})

		t.Run("AC-06 presented by another client", func(t *testing.T) {
			code := o.code(t)
			for range storage.MaxFailedProofs + 1 {
				refused(t, redeem(code, "client_id", other))
				refused(t, o.Post("/token", o.redemption(code, "client_id", ""), o.web.basic()))
			}
			wantTokens(t, redeem(code))
		})

		t.Run("AC-07 wrong verifier, then the right one", func(t *testing.T) {
			code := o.code(t)
			for range storage.MaxFailedProofs - 1 {
				refused(t, redeem(code, "code_verifier", otherVerifier))
			}
			wantTokens(t, redeem(code))
		})
		t.Run("AC-07 five wrong verifiers end the code", func(t *testing.T) {
			code := o.code(t)
			for range storage.MaxFailedProofs {
				refused(t, redeem(code, "code_verifier", otherVerifier))
			}
			refused(t, redeem(code))
		})

		for _, client := range []string{"public", "confidential"} {
			t.Run("AC-08 wrong verifier, then none, "+client, func(t *testing.T) {
				code, basic := o.code(t), ""
				form := o.redemption(code)
				if client == "confidential" {
					code, basic = o.webCode(t), o.web.basic()
					form = o.redemption(code, "client_id", "")
				}
				refused(t, o.Post("/token", changed(form, "code_verifier", otherVerifier), basic))
				refused(t, o.Post("/token", changed(form, "code_verifier", ""), basic))
				wantTokens(t, o.Post("/token", form, basic))
			})
		}

		t.Run("AC-09 malformed verifier", func(t *testing.T) {
			code := o.code(t)
			for range 2 { // they cost the code none of its tries
				for _, verifier := range []string{
					"", strings.Repeat("a", 42), strings.Repeat("a", 129), strings.Repeat("a", 42) + "+", strings.Repeat("a", 43) + " ",
					strings.Repeat("é", 43), servertest.Verifier + "\x00", servertest.Challenge + "=",
				} {
					refused(t, redeem(code, "code_verifier", verifier))
				}
			}
			wantTokens(t, redeem(code))
		})

		t.Run("AC-09 the challenge is no verifier", func(t *testing.T) {
			code := o.code(t)
			refused(t, redeem(code, "code_verifier", servertest.Challenge))
			wantTokens(t, redeem(code))
		})

		t.Run("AC-10 code injection", func(t *testing.T) {
			attackers := o.code(t, "code_challenge", servertest.ChallengeOf(otherVerifier))
			refused(t, redeem(attackers))
			victims := o.code(t)
			refused(t, redeem(victims, "code_verifier", otherVerifier))
			wantTokens(t, redeem(victims))
		})

		t.Run("AC-11 another redirect_uri", func(t *testing.T) {
			code := o.code(t)
			for _, uri := range []string{callback, "http://127.0.0.1:49153/callback", loopback + "/", "http://localhost:49152/callback", webCallback} {
				for range 2 {
					refused(t, redeem(code, "redirect_uri", uri))
				}
			}
			wantTokens(t, redeem(code, "redirect_uri", loopback))
		})
		t.Run("AC-11 no redirect_uri", func(t *testing.T) { wantTokens(t, redeem(o.code(t), "redirect_uri", "")) })

		t.Run("AC-12 another resource", func(t *testing.T) {
			o.Resource("https://other.example.com/mcp", nil, "other:read")
			code := o.code(t)
			for _, uri := range []string{"https://other.example.com/mcp", "https://unknown.example.com/", "mcp", resourceURI + "/x", resourceURI + "#x"} {
				wantError(t, redeem(code, "resource", uri), http.StatusBadRequest, "invalid_target")
			}
			two := o.redemption(code)
			two["resource"] = []string{resourceURI, resourceURI}
			wantError(t, o.Post("/token", two, ""), http.StatusBadRequest, "invalid_target")
			got := wantTokens(t, redeem(code, "resource", resourceURI+"/"))
			if claims := servertest.Claims(got.access); claims["aud"] != resourceURI {
				t.Errorf("aud is %v", claims["aud"])
			}
		})

		t.Run("AC-13 scope in the token request", func(t *testing.T) {
			for _, scope := range []string{"notes:read notes:write", "notes:write", "admin"} {
				got := wantTokens(t, redeem(o.code(t, "scope", "notes:read"), "scope", scope))
				if got.scope != "notes:read" {
					t.Errorf("asking for %q at the token endpoint gave %q", scope, got.scope)
				}
				next := wantTokens(t, o.Refresh(o.clientID, got.refresh))
				if next.scope != "notes:read" {
					t.Errorf("and refreshing then gave %q", next.scope)
				}
			}
		})

		t.Run("AC-14 tokens in the wrong place", func(t *testing.T) {
			got := o.tokens(t)
			code := o.code(t)
			for _, value := range []string{got.access, got.refresh, "ac_" + strings.TrimPrefix(got.refresh, "rt_")} {
				refused(t, redeem(value))
			}
			for _, value := range []string{code, got.access, "rt_" + strings.TrimPrefix(code, "ac_")} {
				refused(t, o.Refresh(o.clientID, value))
			}
			if !o.active(t, got.access) {
				t.Error("the access token is dead")
			}
			wantTokens(t, o.Refresh(o.clientID, got.refresh))
			wantTokens(t, redeem(code))
		})

		t.Run("AC-17 no refresh token for a client that may not refresh, no ID token without openid", func(t *testing.T) {
			client := o.Must(http.MethodPost, "/clients", servertest.Object{
				"redirect_uris": []string{callback}, "token_endpoint_auth_method": "none", "grant_types": []string{"authorization_code"},
			}).String("client_id")
			code := o.code(t, "client_id", client, "scope", "notes:read offline_access profile")
			got := wantTokens(t, redeem(code, "client_id", client))
			if got.refresh != "" || got.scope != "notes:read" {
				t.Errorf("it got %+v", got)
			}
		})

		t.Run("AC-17 what the tokens are", func(t *testing.T) {
			got := o.tokens(t, "scope", "notes:write")
			claims := servertest.Claims(got.access)
			userID := o.find(t, "/users", "username", "alice")
			for name, want := range map[string]any{
				"iss": o.URL, "sub": userID, "aud": resourceURI, "client_id": o.clientID, "scope": "notes:write",
				"iat": float64(o.Clock.Now().Unix()), "exp": float64(o.Clock.Now().Unix() + 600),
			} {
				if claims[name] != want {
					t.Errorf("%s is %v, want %v", name, claims[name], want)
				}
				delete(claims, name)
			}
			if !strings.HasPrefix(claims.String("jti"), "tok_") || !strings.HasPrefix(claims.String("family"), "fam_") || len(claims) != 2 {
				t.Errorf("besides, the claims are %v", claims)
			}
			if !strings.HasPrefix(got.refresh, "rt_") {
				t.Errorf("the refresh token does not begin with rt_")
			}
		})
	})
}

// TestCodeOutlivesNothing: AC-15. Each case ends something between the code and
// its redemption.
func TestCodeOutlivesNothing(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		for _, test := range []struct {
			name   string
			end    func(o *office, t *testing.T)
			status int
			code   string
		}{
			{"user disabled", func(o *office, t *testing.T) {
				o.Must(http.MethodPatch, "/users/"+o.find(t, "/users", "username", "alice"), servertest.Object{"disabled": true})
			}, 400, "invalid_grant"},
			{"user disabled and enabled again", func(o *office, t *testing.T) {
				id := o.find(t, "/users", "username", "alice")
				o.Must(http.MethodPatch, "/users/"+id, servertest.Object{"disabled": true})
				o.Must(http.MethodPatch, "/users/"+id, servertest.Object{"disabled": false})
			}, 400, "invalid_grant"},
			{"user deleted", func(o *office, t *testing.T) {
				o.Must(http.MethodDelete, "/users/"+o.find(t, "/users", "username", "alice"), nil)
			}, 400, "invalid_grant"},
			{"password changed", func(o *office, t *testing.T) {
				o.Must(http.MethodPatch, "/users/"+o.find(t, "/users", "username", "alice"), servertest.Object{"password": "another horse battery staple"})
			}, 400, "invalid_grant"},
			{"grant revoked", func(o *office, t *testing.T) {
				o.Must(http.MethodDelete, "/grants/"+o.find(t, "/grants", "client_id", o.clientID), nil)
			}, 400, "invalid_grant"},
			{"client disabled", func(o *office, _ *testing.T) {
				o.Must(http.MethodPatch, "/clients/"+o.clientID, servertest.Object{"disabled": true})
			}, 401, "invalid_client"},
			{"client disabled and enabled again", func(o *office, _ *testing.T) {
				o.Must(http.MethodPatch, "/clients/"+o.clientID, servertest.Object{"disabled": true})
				o.Must(http.MethodPatch, "/clients/"+o.clientID, servertest.Object{"disabled": false})
			}, 400, "invalid_grant"},
			{"client deleted", func(o *office, _ *testing.T) {
				o.Must(http.MethodDelete, "/clients/"+o.clientID, nil)
			}, 401, "invalid_client"},
			{"resource deleted", func(o *office, t *testing.T) {
				o.Must(http.MethodDelete, "/resources/"+o.find(t, "/resources", "uri", resourceURI), nil)
			}, 400, "invalid_grant"},
			{"client no longer allowed on the resource", func(o *office, _ *testing.T) {
				o.Must(http.MethodPatch, "/clients/"+o.clientID, servertest.Object{"resources": []string{"https://elsewhere.example.com/"}})
			}, 400, "invalid_grant"},
			{"client's ceiling below the scope", func(o *office, _ *testing.T) {
				o.Must(http.MethodPatch, "/clients/"+o.clientID, servertest.Object{"scope": "notes:write"})
			}, 400, "invalid_grant"},
			{"scope gone from the resource", func(o *office, t *testing.T) {
				o.Must(http.MethodPatch, "/resources/"+o.find(t, "/resources", "uri", resourceURI),
					servertest.Object{"scopes": []servertest.Object{{"name": "notes:write", "description": "Write."}}})
			}, 400, "invalid_grant"},
		} {
			t.Run("AC-15 "+test.name, func(t *testing.T) {
				o.renew(t)
				code := o.code(t, "scope", "notes:read")
				test.end(o, t)
				wantError(t, o.Redeem(o.clientID, code), test.status, test.code)
			})
		}
	})
}

// TestConfidentialCode: a client with a secret sends it by Basic or in the body.
func TestConfidentialCode(t *testing.T) {
	o := newOffice(t)
	form := o.redemption(o.webCode(t), "client_id", "", "redirect_uri", webCallback)
	wantTokens(t, o.Post("/token", form, url.QueryEscape(o.web.id)+":"+url.QueryEscape(o.web.secret)))
	form = o.redemption(o.webCode(t), "client_id", o.web.id, "client_secret", o.web.secret)
	wantTokens(t, o.Post("/token", form, ""))
}
