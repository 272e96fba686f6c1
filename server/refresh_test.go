package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

const day = 24 * time.Hour

// withOrWithoutResource runs a test of what is asked of the database in another way
// when the request names its resource.
func withOrWithoutResource(t *testing.T, test func(t *testing.T, named []string)) {
	t.Helper()
	t.Run("resource named", func(t *testing.T) { test(t, []string{"resource", resourceURI}) })
	t.Run("no resource named", func(t *testing.T) { test(t, nil) })
}

// TestRefreshGrant: the rows RF of the catalogue of attacks.
func TestRefreshGrant(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		withOrWithoutResource(t, func(t *testing.T, named []string) { testRefreshGrant(t, open, named) })
	})
}

func testRefreshGrant(t *testing.T, open func(testing.TB) storage.Store, named []string) {
	o := newOffice(t, servertest.WithStore(open(t)))
	other := o.PublicClient(callback).String("client_id")
	refresh := func(token string, pairs ...string) *servertest.Answer {
		if !slices.Contains(pairs, "resource") {
			pairs = append(pairs, named...)
		}
		return o.Refresh(o.clientID, token, pairs...)
	}
	refused := func(t *testing.T, answer *servertest.Answer) {
		t.Helper()
		wantError(t, answer, http.StatusBadRequest, "invalid_grant")
	}
	// ended fails unless the family is gone with everything it gave out.
	ended := func(t *testing.T, current issued, earlier ...issued) {
		t.Helper()
		o.wantGone(t, current.refresh)
		for _, one := range append(earlier, current) {
			if o.active(t, one.access) {
				t.Error("an access token of the family is still active")
			}
		}
	}

	for _, wait := range []time.Duration{31 * time.Second, time.Hour, 20 * day} {
		t.Run("RF-01 spent token after "+wait.String(), func(t *testing.T) {
			first := o.tokens(t)
			second := wantTokens(t, refresh(first.refresh))
			o.Clock.Advance(wait)
			before := o.audited(t, "family.ended")
			refused(t, refresh(first.refresh))
			ended(t, second, first)
			if n := o.audited(t, "family.ended") - before; n != 1 {
				t.Errorf("%d audit events, want 1", n)
			}
		})
	}

	t.Run("RF-03 lost response", func(t *testing.T) {
		first := o.tokens(t)
		second := wantTokens(t, refresh(first.refresh))
		if second.refresh == first.refresh {
			t.Fatal("the refresh token did not change")
		}
		for _, wait := range []time.Duration{0, time.Second, 28 * time.Second} {
			o.Clock.Advance(wait)
			again := wantTokens(t, refresh(first.refresh))
			if again.refresh != second.refresh {
				t.Error("another successor")
			}
			if again.access == second.access {
				t.Error("the same access token")
			}
		}
		third := wantTokens(t, refresh(second.refresh))
		if !o.active(t, third.access) {
			t.Error("the access token is not active")
		}
	})

	t.Run("RF-03 a retry does not make the window longer", func(t *testing.T) {
		first := o.tokens(t)
		second := wantTokens(t, refresh(first.refresh))
		o.Clock.Advance(29 * time.Second)
		wantTokens(t, refresh(first.refresh))
		o.Clock.Advance(2 * time.Second)
		refused(t, refresh(first.refresh))
		ended(t, second, first)
	})

	t.Run("RF-04 grandparent within the window", func(t *testing.T) {
		first := o.tokens(t)
		second := wantTokens(t, refresh(first.refresh))
		third := wantTokens(t, refresh(second.refresh))
		fourth := wantTokens(t, refresh(third.refresh))
		refused(t, refresh(second.refresh))
		ended(t, fourth, first, second, third)
	})

	t.Run("RF-05 predecessor after its successor was used", func(t *testing.T) {
		first := o.tokens(t)
		second := wantTokens(t, refresh(first.refresh))
		third := wantTokens(t, refresh(second.refresh))
		refused(t, refresh(first.refresh))
		ended(t, third, first, second)
	})

	t.Run("RF-06 retry that asks for something else", func(t *testing.T) {
		first := o.tokens(t)
		refresh := func(token string, pairs ...string) *servertest.Answer { return o.Refresh(o.clientID, token, pairs...) }
		second := wantTokens(t, refresh(first.refresh, "resource", resourceURI))
		for _, pairs := range [][]string{{}, {"scope", "notes:read"}, {"scope", "notes:read", "resource", resourceURI}} {
			refused(t, refresh(first.refresh, pairs...))
		}
		if again := wantTokens(t, refresh(first.refresh, "resource", resourceURI)); again.refresh != second.refresh {
			t.Error("another successor")
		}
		wantTokens(t, refresh(second.refresh))
	})

	t.Run("RF-08 forged", func(t *testing.T) {
		first := o.tokens(t)
		second := wantTokens(t, refresh(first.refresh))
		o.Clock.Advance(time.Minute)
		for _, value := range []string{forged(first.refresh), forged(second.refresh), first.refresh + "A", first.refresh[:40], "rt_", strings.TrimPrefix(first.refresh, "rt_")} {
			refused(t, refresh(value))
			refused(t, o.Refresh(other, value))
		}
		if !o.active(t, second.access) {
			t.Error("the access token is dead")
		}
		wantTokens(t, refresh(second.refresh))
	})

	t.Run("RF-09 scope wider than granted", func(t *testing.T) {
		got := o.tokens(t, "scope", "notes:read")
		for _, scope := range []string{"notes:write", "notes:read notes:write", "notes:read admin"} {
			wantError(t, refresh(got.refresh, "scope", scope), http.StatusBadRequest, "invalid_scope")
		}
		// Had it been rotated, this would be a reuse.
		o.Clock.Advance(time.Minute)
		wantTokens(t, refresh(got.refresh))
	})

	t.Run("RF-10 scope narrower", func(t *testing.T) {
		got := o.tokens(t)
		narrow := wantTokens(t, refresh(got.refresh, "scope", "notes:write offline_access"))
		if narrow.scope != "notes:write" {
			t.Errorf("scope is %q", narrow.scope)
		}
		if wide := wantTokens(t, refresh(narrow.refresh)); wide.scope != got.scope {
			t.Errorf("the next refresh gave %q, want %q", wide.scope, got.scope)
		}
	})

	t.Run("RF-11 another resource", func(t *testing.T) {
		o.Resource("https://other.example.com/mcp", nil, "other:read")
		got := o.tokens(t)
		for _, uri := range []string{"https://other.example.com/mcp", "https://unknown.example.com/", resourceURI + "/x"} {
			wantError(t, refresh(got.refresh, "resource", uri), http.StatusBadRequest, "invalid_target")
		}
		o.Clock.Advance(time.Minute)
		next := wantTokens(t, refresh(got.refresh, "resource", resourceURI+"/"))
		if claims := servertest.Claims(next.access); claims["aud"] != resourceURI {
			t.Errorf("aud is %v", claims["aud"])
		}
	})

	t.Run("RF-15 reuse is seen as long as the family lives", func(t *testing.T) {
		first := o.tokens(t)
		current := first
		for range 5 {
			o.Clock.Advance(15 * day)
			if _, err := o.Store.Sweep(t.Context(), o.Clock.Now(), day, 1000); err != nil {
				t.Fatal(err)
			}
			current = wantTokens(t, refresh(current.refresh))
		}
		refused(t, refresh(first.refresh))
		ended(t, current)
	})

	t.Run("RF-16 sweeping while refreshing", func(t *testing.T) {
		first := o.tokens(t)
		current := first
		race(2, func(i int) {
			for range 20 {
				if i == 0 {
					if _, err := o.Store.Sweep(t.Context(), o.Clock.Now(), day, 10); err != nil {
						t.Error(err)
					}
					continue
				}
				current = wantTokens(t, refresh(current.refresh))
			}
		})
		if !o.active(t, current.access) {
			t.Error("the access token is dead")
		}
		refused(t, refresh(first.refresh))
		ended(t, current)
	})

	known := o.tokens(t).refresh
	zeros := known[:10] + strings.Repeat("A", len(known)-10)
	for _, test := range []struct {
		name   string
		form   []string
		status int
		code   string
	}{
		{"no client_id", []string{"client_id", ""}, 400, "invalid_request"},
		{"empty refresh_token", []string{"refresh_token", ""}, 400, "invalid_request"},
		{"refresh_token of 60 KiB", []string{"refresh_token", "rt_" + strings.Repeat("A", 60<<10)}, 400, "invalid_grant"},
		{"refresh_token of 1 MiB", []string{"refresh_token", "rt_" + strings.Repeat("A", 1<<20)}, 413, "invalid_request"},
		{"refresh_token of zeros under the known root key", []string{"refresh_token", zeros}, 400, "invalid_grant"},
	} {
		t.Run("RF-20 "+test.name, func(t *testing.T) {
			form := servertest.Form("grant_type", "refresh_token", "client_id", o.clientID, "refresh_token", "rt_x")
			wantError(t, o.Post("/token", changed(form, test.form...), ""), test.status, test.code)
		})
	}
}

// TestRefreshOfAnotherClient: RF-07.
func TestRefreshOfAnotherClient(t *testing.T) {
	o := newOffice(t)
	other := o.PublicClient(callback).String("client_id")
	first := o.tokens(t)
	second := wantTokens(t, o.Refresh(o.clientID, first.refresh))
	o.Clock.Advance(time.Minute)
	for _, token := range []string{first.refresh, second.refresh} {
		wantError(t, o.Refresh(other, token), http.StatusBadRequest, "invalid_grant")
		form := servertest.Form("grant_type", "refresh_token", "refresh_token", token)
		wantError(t, o.Post("/token", form, o.web.basic()), http.StatusBadRequest, "invalid_grant")
	}
	if n := o.audited(t, "family.presented_by_another_client"); n != 4 {
		t.Errorf("%d audit events, want 4", n)
	}
	for range 50 { // it does not fill the audit log
		wantError(t, o.Refresh(other, second.refresh), http.StatusBadRequest, "invalid_grant")
	}
	if n := o.audited(t, "family.presented_by_another_client"); n != 10 {
		t.Errorf("%d audit events of 54 attempts in an hour, want 10", n)
	}
	wantTokens(t, o.Refresh(o.clientID, second.refresh))
}

// TestRefreshFollowsRights: RF-12, RF-13. A right that was taken away is gone
// from the next token.
func TestRefreshFollowsRights(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		scopes := func(names ...string) servertest.Object {
			list := make([]servertest.Object, len(names))
			for i, name := range names {
				list[i] = servertest.Object{"name": name, "description": "Use " + name + "."}
			}
			return servertest.Object{"scopes": list}
		}
		user := func(o *office, t *testing.T) string { return "/users/" + o.find(t, "/users", "username", "alice") }
		resource := func(o *office, t *testing.T) string {
			return "/resources/" + o.find(t, "/resources", "uri", resourceURI)
		}
		for _, test := range []struct {
			name   string
			change func(o *office, t *testing.T)
			status int
			want   string // the error, or the scope that is left
		}{
			{"RF-12 ceiling lowered", func(o *office, _ *testing.T) {
				o.Must(http.MethodPatch, "/clients/"+o.clientID, servertest.Object{"scope": "notes:read other"})
			}, 200, "notes:read"},
			{"RF-12 ceiling elsewhere", func(o *office, _ *testing.T) {
				o.Must(http.MethodPatch, "/clients/"+o.clientID, servertest.Object{"scope": "other"})
			}, 400, "invalid_grant"},
			{"RF-12 scope taken from the resource", func(o *office, t *testing.T) {
				o.Must(http.MethodPatch, resource(o, t), scopes("notes:read"))
			}, 200, "notes:read"},
			{"RF-12 scope taken from the resource and put back", func(o *office, t *testing.T) {
				o.Must(http.MethodPatch, resource(o, t), scopes("notes:read"))
				o.Must(http.MethodPatch, resource(o, t), scopes("notes:read", "notes:write"))
			}, 200, "notes:read"},
			{"RF-12 every scope taken from the resource", func(o *office, t *testing.T) {
				o.Must(http.MethodPatch, resource(o, t), scopes("notes:delete"))
			}, 400, "invalid_grant"},
			{"RF-12 resource closed to the client", func(o *office, _ *testing.T) {
				o.Must(http.MethodPatch, "/clients/"+o.clientID, servertest.Object{"resources": []string{"https://elsewhere.example.com/"}})
			}, 400, "invalid_grant"},
			{"RF-12 grant type taken away", func(o *office, _ *testing.T) {
				o.Must(http.MethodPatch, "/clients/"+o.clientID, servertest.Object{"grant_types": []string{"authorization_code"}})
			}, 400, "unauthorized_client"},
			{"RF-12 client disabled", func(o *office, _ *testing.T) {
				o.Must(http.MethodPatch, "/clients/"+o.clientID, servertest.Object{"disabled": true})
			}, 401, "invalid_client"},
			{"RF-12 client disabled and enabled again", func(o *office, _ *testing.T) {
				o.Must(http.MethodPatch, "/clients/"+o.clientID, servertest.Object{"disabled": true})
				o.Must(http.MethodPatch, "/clients/"+o.clientID, servertest.Object{"disabled": false})
			}, 400, "invalid_grant"},
			{"RF-12 client deleted", func(o *office, _ *testing.T) {
				o.Must(http.MethodDelete, "/clients/"+o.clientID, nil)
			}, 401, "invalid_client"},
			{"RF-12 resource deleted", func(o *office, t *testing.T) {
				o.Must(http.MethodDelete, resource(o, t), nil)
			}, 400, "invalid_grant"},
			{"RF-13 user disabled", func(o *office, t *testing.T) {
				o.Must(http.MethodPatch, user(o, t), servertest.Object{"disabled": true})
			}, 400, "invalid_grant"},
			{"RF-13 user disabled and enabled again", func(o *office, t *testing.T) {
				o.Must(http.MethodPatch, user(o, t), servertest.Object{"disabled": true})
				o.Must(http.MethodPatch, user(o, t), servertest.Object{"disabled": false})
			}, 400, "invalid_grant"},
			{"RF-13 user deleted", func(o *office, t *testing.T) {
				o.Must(http.MethodDelete, user(o, t), nil)
			}, 400, "invalid_grant"},
			{"RF-13 password changed", func(o *office, t *testing.T) {
				o.Must(http.MethodPatch, user(o, t), servertest.Object{"password": "another horse battery staple"})
			}, 400, "invalid_grant"},
			{"RF-13 grant revoked", func(o *office, t *testing.T) {
				o.Must(http.MethodDelete, "/grants/"+o.find(t, "/grants", "client_id", o.clientID), nil)
			}, 400, "invalid_grant"},
			{"RF-13 grant revoked and approved again", func(o *office, t *testing.T) {
				o.Must(http.MethodDelete, "/grants/"+o.find(t, "/grants", "client_id", o.clientID), nil)
				o.tokens(t)
			}, 400, "invalid_grant"},
			{"RF-13 approved again with less", func(o *office, t *testing.T) {
				page := o.alice.Approve(o.alice.Authorize(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI)), "notes:write")
				if page.Left == nil {
					t.Fatalf("not approved: %d", page.Status)
				}
			}, 200, "notes:write"},
		} {
			withOrWithoutResource(t, func(t *testing.T, named []string) {
				t.Run(test.name, func(t *testing.T) {
					o.renew(t)
					got := o.tokens(t)
					test.change(o, t)
					answer := o.Refresh(o.clientID, got.refresh, named...)
					if test.status != http.StatusOK {
						wantError(t, answer, test.status, test.want)
						return
					}
					if next := wantTokens(t, answer); next.scope != test.want {
						t.Errorf("the next token has %q, want %q", next.scope, test.want)
					}
				})
			})
		}
	})
}

// TestRefreshAges: RF-14.
func TestRefreshAges(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		h := newHouse(t, servertest.WithStore(open(t)))
		// Each case needs a newer sign-in than the one before has left.
		first := func(t *testing.T) issued {
			t.Helper()
			code := h.SignedIn("alice").Code(servertest.AuthorizationRequest(h.clientID, loopback, resourceURI))
			return wantTokens(t, h.Redeem(h.clientID, code))
		}
		t.Run("RF-14 idle for just less than 30 days", func(t *testing.T) {
			got := first(t)
			h.Clock.Advance(30*day - time.Second)
			wantTokens(t, h.Refresh(h.clientID, got.refresh))
		})
		t.Run("RF-14 idle for 30 days", func(t *testing.T) {
			got := first(t)
			h.Clock.Advance(30 * day)
			wantError(t, h.Refresh(h.clientID, got.refresh), http.StatusBadRequest, "invalid_grant")
			h.Clock.Advance(-time.Hour)
			wantTokens(t, h.Refresh(h.clientID, got.refresh))
		})
		t.Run("RF-14 90 days, however often it was refreshed", func(t *testing.T) {
			got := first(t)
			for range 89 {
				h.Clock.Advance(day)
				got = wantTokens(t, h.Refresh(h.clientID, got.refresh))
			}
			h.Clock.Advance(day - time.Second)
			got = wantTokens(t, h.Refresh(h.clientID, got.refresh))
			h.Clock.Advance(time.Second)
			wantError(t, h.Refresh(h.clientID, got.refresh), http.StatusBadRequest, "invalid_grant")
		})
		t.Run("RF-14 a retry does not outlive the 90 days either", func(t *testing.T) {
			got := first(t)
			for range 3 {
				h.Clock.Advance(30*day - 5*time.Second)
				got = wantTokens(t, h.Refresh(h.clientID, got.refresh))
			}
			last := wantTokens(t, h.Refresh(h.clientID, got.refresh))
			h.Clock.Advance(15 * time.Second)
			for _, token := range []string{got.refresh, last.refresh} {
				wantError(t, h.Refresh(h.clientID, token), http.StatusBadRequest, "invalid_grant")
			}
		})
	})
}

// TestRefreshAfterRestore: the database is put back to a backup, and clients come
// with refresh tokens that are newer than their rows (law 10 and 1.5 of the
// design). None of them is signed out, an administrator can see it, and what was
// spent before stays spent.
func TestRefreshAfterRestore(t *testing.T) {
	folder := t.TempDir()
	o := newOffice(t, servertest.WithStore(servertest.SQLiteFile(t, folder+"/grantd.db")))
	first := o.tokens(t)
	second := wantTokens(t, o.Refresh(o.clientID, first.refresh))
	backUp(t, folder+"/grantd.db", folder+"/backup.db")
	later := second
	var spent []string
	for range 3 {
		spent = append(spent, later.refresh)
		later = wantTokens(t, o.Refresh(o.clientID, later.refresh))
	}

	restored := &office{house: &house{
		Server:   servertest.New(t, servertest.WithStore(servertest.SQLiteFile(t, folder+"/backup.db")), servertest.ReplicaOf(o.Server)),
		clientID: o.clientID,
	}, guard: o.guard}
	o.Clock.Advance(time.Hour)
	next := wantTokens(t, restored.Refresh(o.clientID, later.refresh))
	if n := restored.audited(t, "family.moved_forward"); n != 1 {
		t.Errorf("%d audit events, want 1", n)
	}
	if !restored.active(t, next.access) {
		t.Error("the access token is not active")
	}
	// A lost answer is answered again, as ever.
	if again := wantTokens(t, restored.Refresh(o.clientID, later.refresh)); again.refresh != next.refresh {
		t.Error("another successor")
	}
	next = wantTokens(t, restored.Refresh(o.clientID, next.refresh))
	if n := restored.audited(t, "family.moved_forward"); n != 1 {
		t.Errorf("%d audit events after an ordinary refresh, want 1", n)
	}
	wantError(t, restored.Refresh(o.clientID, spent[len(spent)-1]), http.StatusBadRequest, "invalid_grant")
	restored.wantGone(t, next.refresh)
}

// TestRefreshManyTimes: no refresh token comes twice.
func TestRefreshManyTimes(t *testing.T) {
	o := newOffice(t)
	got := o.tokens(t)
	seen := map[string]bool{got.refresh: true}
	for i := range 300 { // beyond one byte of the generation
		got = wantTokens(t, o.Refresh(o.clientID, got.refresh))
		if seen[got.refresh] {
			t.Fatal(fmt.Sprint("refresh ", i, " repeats a token"))
		}
		seen[got.refresh] = true
	}
	if !o.active(t, got.access) {
		t.Error("the access token is not active")
	}
}
