package server_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// kiosk is an office with a public client for devices.
type kiosk struct {
	*office
	device string // its client_id
}

func newKiosk(t testing.TB, opts ...servertest.Option) *kiosk {
	t.Helper()
	o := newOffice(t, opts...)
	return &kiosk{office: o, device: o.DeviceClient().String("client_id")}
}

// kioskOf is an office with its client for devices, when no limit is reached and
// alice was just seen.
func kioskOf(o *office, t testing.TB) *kiosk {
	t.Helper()
	o.Clock.Advance(storage.DeviceLifetime)
	if o.alice.Get(o.URL + "/account").IsLogin() {
		o.alice = o.SignedIn("alice")
	}
	for _, client := range o.list(t, "/clients") {
		if client["client_name"] == "Device" {
			return &kiosk{office: o, device: client.String("client_id")}
		}
	}
	return &kiosk{office: o, device: o.DeviceClient().String("client_id")}
}

// renew makes everything anew, as office.renew does.
func (k *kiosk) renew(t testing.TB) {
	t.Helper()
	k.office.renew(t)
	k.device = k.DeviceClient().String("client_id")
}

// codes are what a device was given.
type codes struct{ device, user, page string }

// ask has a device ask for codes; pairs are more parameters.
func (k *kiosk) ask(t testing.TB, pairs ...string) codes {
	t.Helper()
	answer := k.DeviceAuthorization(k.device, pairs...)
	if answer.Status != http.StatusOK {
		t.Fatalf("no codes: %d %s", answer.Status, answer.Body)
	}
	return codes{answer.JSON.String("device_code"), answer.JSON.String("user_code"), answer.JSON.String("verification_uri_complete")}
}

// approve has alice approve what a device asks for, with these scopes ticked (none
// named: as the page has them).
func (k *kiosk) approve(t testing.TB, c codes, scopes ...string) {
	t.Helper()
	if k.alice.Get(k.URL + "/account").IsLogin() {
		k.alice = k.SignedIn("alice")
	}
	if page := k.alice.Approve(k.alice.Device(c.page), scopes...); page.Status != http.StatusOK || !strings.Contains(page.Body, "Your device is connected") {
		t.Fatalf("not connected: %d %s", page.Status, page.Body)
	}
}

// approved has a device ask, and alice approve, and returns the device code.
func (k *kiosk) approved(t testing.TB, pairs ...string) string {
	t.Helper()
	c := k.ask(t, pairs...)
	k.approve(t, c)
	return c.device
}

func (k *kiosk) poll(deviceCode string, more ...string) *servertest.Answer {
	return k.Poll(k.device, deviceCode, more...)
}

func wantPending(t testing.TB, answer *servertest.Answer) {
	t.Helper()
	wantError(t, answer, http.StatusBadRequest, "authorization_pending")
}

// TestDeviceGrant: the rows DV of the catalogue of attacks as a device meets them.
func TestDeviceGrant(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		k := newKiosk(t, servertest.WithStore(open(t)))
		refused := func(t *testing.T, answer *servertest.Answer, code string) {
			t.Helper()
			wantError(t, answer, http.StatusBadRequest, code)
		}

		t.Run("RFC 8628 section 3, from the code to the tool", func(t *testing.T) {
			c := k.ask(t)
			wantPending(t, k.poll(c.device))
			k.approve(t, c)
			got := wantTokens(t, k.poll(c.device))
			if got.scope != "notes:read notes:write" || got.refresh == "" || !k.active(t, got.access) {
				t.Errorf("it got %+v", got)
			}
			claims := servertest.Claims(got.access)
			if claims["sub"] != k.find(t, "/users", "username", "alice") || claims["aud"] != resourceURI || claims["client_id"] != k.device {
				t.Errorf("the claims are %v", claims)
			}
			next := wantTokens(t, k.Refresh(k.device, got.refresh))
			if servertest.Claims(next.access)["family"] != claims["family"] {
				t.Error("refreshing changed the family")
			}
		})

		t.Run("DV-02 the interval, and polling faster", func(t *testing.T) {
			c := k.ask(t)
			wantPending(t, k.poll(c.device)) // the first may come at once
			for range 3 {
				k.Clock.Advance(5 * time.Second)
				wantPending(t, k.poll(c.device))
			}
			k.Clock.Advance(time.Second)
			refused(t, k.poll(c.device), "slow_down") // from now on 10 s
			k.Clock.Advance(5 * time.Second)
			refused(t, k.poll(c.device), "slow_down") // 15 s
			k.Clock.Advance(15 * time.Second)
			wantPending(t, k.poll(c.device))
			for range 20 { // sent twice, or a flood: it is not made longer each time
				refused(t, k.poll(c.device), "slow_down")
			}
			k.Clock.Advance(15 * time.Second)
			wantPending(t, k.poll(c.device))
			k.Clock.Advance(14 * time.Second) // clients round
			wantPending(t, k.poll(c.device))
			k.Clock.Advance(14*time.Second - time.Microsecond)
			refused(t, k.poll(c.device), "slow_down")
			// Whoever polls too fast gets the answer all the same.
			k.approve(t, c)
			wantTokens(t, k.poll(c.device))
		})

		t.Run("DV-02 a device that never listens", func(t *testing.T) {
			c := k.ask(t)
			wantPending(t, k.poll(c.device))
			for range 30 {
				k.Clock.Advance(2 * time.Second)
				refused(t, k.poll(c.device), "slow_down")
			}
			k.Clock.Advance(storage.MaxDevicePollInterval)
			wantPending(t, k.poll(c.device))
		})

		t.Run("DV-03 denied", func(t *testing.T) {
			c := k.ask(t)
			if page := k.alice.Deny(k.alice.Device(c.page)); page.Status != http.StatusOK || !strings.Contains(page.Body, "You denied the request") {
				t.Fatalf("%d %s", page.Status, page.Body)
			}
			for range 2 {
				refused(t, k.poll(c.device), "access_denied")
			}
			if n := k.audited(t, "device_authorization.denied"); n != 1 {
				t.Errorf("%d audit events, want 1", n)
			}
		})

		t.Run("DV-03 expired", func(t *testing.T) {
			k.alice = k.SignedIn("alice")
			pending, approved := k.ask(t), k.approved(t)
			k.Clock.Advance(storage.DeviceLifetime - time.Microsecond)
			wantPending(t, k.poll(pending.device))
			k.Clock.Advance(time.Microsecond)
			refused(t, k.poll(pending.device), "expired_token")
			refused(t, k.poll(approved), "expired_token")
			// And when nothing is left of them.
			if _, err := k.Store.Sweep(t.Context(), k.Clock.Now(), time.Hour, 1000); err != nil {
				t.Fatal(err)
			}
			refused(t, k.poll(pending.device), "expired_token")
		})

		t.Run("DV-03 redeemed twice", func(t *testing.T) {
			code := k.approved(t)
			got := wantTokens(t, k.poll(code))
			for range 3 { // sent twice
				refused(t, k.poll(code), "invalid_grant")
			}
			k.Clock.Advance(time.Second)
			refused(t, k.poll(code), "invalid_grant")
			if !k.active(t, got.access) {
				t.Error("the access token is dead")
			}
			next := wantTokens(t, k.Refresh(k.device, got.refresh))
			// Later it is somebody else, or the device learns that it was robbed.
			before := k.audited(t, "family.ended")
			k.Clock.Advance(time.Microsecond)
			refused(t, k.poll(code), "invalid_grant")
			if k.active(t, got.access) || k.active(t, next.access) {
				t.Error("an access token is still active")
			}
			refused(t, k.Refresh(k.device, next.refresh), "invalid_grant")
			if n := k.audited(t, "family.ended") - before; n != 1 {
				t.Errorf("%d audit events, want 1", n)
			}
		})

		t.Run("DV-03 replayed long after", func(t *testing.T) {
			code := k.approved(t)
			got := wantTokens(t, k.poll(code))
			k.Clock.Advance(time.Hour)
			if _, err := k.Store.Sweep(t.Context(), k.Clock.Now(), time.Hour, 1000); err != nil {
				t.Fatal(err)
			}
			refused(t, k.poll(code), "invalid_grant")
			refused(t, k.Refresh(k.device, got.refresh), "invalid_grant")
		})

		t.Run("DV-04 redeemed by another client", func(t *testing.T) {
			other := k.DeviceClient().String("client_id")
			waiting, code := k.ask(t), k.approved(t)
			for range 3 {
				refused(t, k.Poll(other, waiting.device), "invalid_grant")
				refused(t, k.Poll(other, code), "invalid_grant")
			}
			wantPending(t, k.poll(waiting.device)) // they were no polls of the owner
			got := wantTokens(t, k.poll(code))
			k.Clock.Advance(time.Minute)
			refused(t, k.Poll(other, code), "invalid_grant")
			if !k.active(t, got.access) {
				t.Error("another client ended what is not its own")
			}
		})

		t.Run("forged and misplaced codes", func(t *testing.T) {
			c := k.ask(t)
			code, got := k.code(t), k.tokens(t)
			for _, value := range []string{
				forged(c.device), c.device + "A", strings.ToUpper(c.device), "dc_", c.user, got.access, got.refresh, code,
				"dc_" + strings.TrimPrefix(code, "ac_"),
			} {
				refused(t, k.poll(value), "invalid_grant")
			}
			refused(t, k.Redeem(k.clientID, "ac_"+strings.TrimPrefix(c.device, "dc_")), "invalid_grant")
			refused(t, k.poll(""), "invalid_request")
			wantPending(t, k.poll(c.device))
		})

		t.Run("resource and scope of a poll", func(t *testing.T) {
			k.alice = k.SignedIn("alice")
			code := k.approved(t, "scope", "notes:read")
			refused(t, k.poll(code, "resource", "https://other.example.com/mcp"), "invalid_target")
			got := wantTokens(t, k.poll(code, "resource", resourceURI+"/", "scope", "notes:read notes:write"))
			if got.scope != "notes:read" {
				t.Errorf("scope %q", got.scope)
			}
		})

		t.Run("what was ticked", func(t *testing.T) {
			c := k.ask(t)
			k.approve(t, c, "notes:write")
			if got := wantTokens(t, k.poll(c.device)); got.scope != "notes:write" {
				t.Errorf("scope %q", got.scope)
			}
		})

		t.Run("without refresh_token", func(t *testing.T) {
			client := k.Must(http.MethodPost, "/clients", servertest.Object{
				"grant_types": []string{servertest.DeviceGrantType}, "token_endpoint_auth_method": "none",
			}).String("client_id")
			answer := k.DeviceAuthorization(client)
			k.approve(t, codes{page: answer.JSON.String("verification_uri_complete")})
			if got := wantTokens(t, k.Poll(client, answer.JSON.String("device_code"))); got.refresh != "" {
				t.Errorf("it got %+v", got)
			}
		})
	})
}

// TestDeviceCodeOutlivesNothing: each case ends something between the approval and
// the poll; what AC-15 is for authorization codes.
func TestDeviceCodeOutlivesNothing(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		k := newKiosk(t, servertest.WithStore(open(t)))
		alice := func(t *testing.T) string { t.Helper(); return "/users/" + k.find(t, "/users", "username", "alice") }
		resource := func(t *testing.T) string {
			t.Helper()
			return "/resources/" + k.find(t, "/resources", "uri", resourceURI)
		}
		for _, test := range []struct {
			name   string
			end    func(t *testing.T)
			status int
			code   string
		}{
			{"user disabled", func(t *testing.T) { k.Must(http.MethodPatch, alice(t), servertest.Object{"disabled": true}) }, 400, "invalid_grant"},
			{"user disabled and enabled again", func(t *testing.T) {
				k.Must(http.MethodPatch, alice(t), servertest.Object{"disabled": true})
				k.Must(http.MethodPatch, alice(t), servertest.Object{"disabled": false})
			}, 400, "invalid_grant"},
			// Nothing is left to say whose it was.
			{"user deleted", func(t *testing.T) { k.Must(http.MethodDelete, alice(t), nil) }, 400, "expired_token"},
			{"password changed", func(t *testing.T) {
				k.Must(http.MethodPatch, alice(t), servertest.Object{"password": "another horse battery staple"})
			}, 400, "invalid_grant"},
			{"grant revoked", func(t *testing.T) {
				k.Must(http.MethodDelete, "/grants/"+k.find(t, "/grants", "client_id", k.device), nil)
			}, 400, "invalid_grant"},
			{"client disabled", func(*testing.T) {
				k.Must(http.MethodPatch, "/clients/"+k.device, servertest.Object{"disabled": true})
			}, 401, "invalid_client"},
			{"client disabled and enabled again", func(*testing.T) {
				k.Must(http.MethodPatch, "/clients/"+k.device, servertest.Object{"disabled": true})
				k.Must(http.MethodPatch, "/clients/"+k.device, servertest.Object{"disabled": false})
			}, 400, "invalid_grant"},
			{"client may not use devices any more", func(*testing.T) {
				k.Must(http.MethodPatch, "/clients/"+k.device, servertest.Object{"grant_types": []string{"authorization_code"}, "redirect_uris": []string{callback}})
			}, 400, "unauthorized_client"},
			{"client no longer allowed on the resource", func(*testing.T) {
				k.Must(http.MethodPatch, "/clients/"+k.device, servertest.Object{"resources": []string{"https://elsewhere.example.com/"}})
			}, 400, "invalid_grant"},
			{"client's ceiling below the scope", func(*testing.T) {
				k.Must(http.MethodPatch, "/clients/"+k.device, servertest.Object{"scope": "notes:write"})
			}, 400, "invalid_grant"},
			{"scope gone from the resource", func(t *testing.T) {
				k.Must(http.MethodPatch, resource(t), servertest.Object{"scopes": []servertest.Object{{"name": "notes:write", "description": "Write."}}})
			}, 400, "invalid_grant"},
			{"resource deleted", func(t *testing.T) { k.Must(http.MethodDelete, resource(t), nil) }, 400, "expired_token"},
		} {
			t.Run(test.name, func(t *testing.T) {
				k.renew(t)
				if strings.HasPrefix(test.name, "password") { // of a person whose password is not that of the others
					defer k.Must(http.MethodDelete, alice(t), nil)
				}
				code := k.approved(t, "scope", "notes:read")
				test.end(t)
				wantError(t, k.poll(code), test.status, test.code)
			})
		}
	})
}

// TestDeviceRace: DV-03. Of many polls for one approved code one succeeds, on
// several replicas, and the winner keeps what it has.
func TestDeviceRace(t *testing.T) {
	onReplicas(t, func(t *testing.T, r *replicas) {
		k := &kiosk{office: r.office, device: r.DeviceClient().String("client_id")}
		for _, n := range []int{16, racers} {
			code, families := k.approved(t), r.rows(t)["families"]
			answers := make([]*servertest.Answer, n)
			race(n, func(i int) { answers[i] = r.of(i).Poll(k.device, code) })
			var won []issued
			for _, answer := range answers {
				if answer.Status == http.StatusOK {
					won = append(won, wantTokens(t, answer))
				} else {
					wantError(t, answer, http.StatusBadRequest, "invalid_grant")
				}
			}
			if len(won) != 1 {
				t.Fatalf("%d of %d polls succeeded", len(won), n)
			}
			if made := r.rows(t)["families"] - families; made != 1 {
				t.Errorf("%d families", made)
			}
			if !k.active(t, won[0].access) {
				t.Error("the winner's access token is dead")
			}
			wantTokens(t, r.of(1).Refresh(k.device, won[0].refresh))
		}
		t.Run("DV-02 replicas agree on the pace", func(t *testing.T) {
			c := k.ask(t)
			wantPending(t, r.of(0).Poll(k.device, c.device))
			r.Clock.Advance(2 * time.Second)
			wantError(t, r.of(1).Poll(k.device, c.device), http.StatusBadRequest, "slow_down")
			r.Clock.Advance(5 * time.Second)
			wantError(t, r.of(0).Poll(k.device, c.device), http.StatusBadRequest, "slow_down")
			r.Clock.Advance(15 * time.Second)
			wantPending(t, r.of(1).Poll(k.device, c.device))
			// Of many at once one is a poll.
			r.Clock.Advance(15 * time.Second)
			errors := make([]string, 16)
			race(len(errors), func(i int) { errors[i] = r.of(i).Poll(k.device, c.device).JSON.String("error") })
			slices.Sort(errors)
			if got := slices.Compact(errors); !slices.Equal(got, []string{"authorization_pending", "slow_down"}) {
				t.Errorf("the answers are %v", got)
			}
		})
	})
}

// TestDeviceAuthorizationEndpoint: POST /device_authorization (RFC 8628 §3.1, §3.2)
// and the rows TK that hold for every endpoint a client authenticates at.
func TestDeviceAuthorizationEndpoint(t *testing.T) {
	path := t.TempDir() + "/grantd.db"
	k := newKiosk(t, servertest.WithStore(servertest.SQLiteFile(t, path)))
	refused := func(t *testing.T, answer *servertest.Answer, status int, code string) {
		t.Helper()
		wantError(t, answer, status, code)
	}
	confidential := credentialsOf(k.Must(http.MethodPost, "/clients", servertest.Object{
		"grant_types": []string{servertest.DeviceGrantType}, "token_endpoint_auth_method": "client_secret_basic",
	}))

	t.Run("RFC 8628 section 3.2", func(t *testing.T) {
		answer := k.DeviceAuthorization(k.device, "scope", "notes:read", "resource", resourceURI)
		wantJSON(t, answer)
		user := answer.JSON.String("user_code")
		if !regexp.MustCompile(`^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$`).MatchString(user) {
			t.Errorf("user_code is %q", user)
		}
		if !strings.HasPrefix(answer.JSON.String("device_code"), "dc_") {
			t.Errorf("device_code is %q", answer.JSON.String("device_code"))
		}
		for name, want := range map[string]any{
			"verification_uri": k.URL + "/device", "verification_uri_complete": k.URL + "/device?user_code=" + user,
			"expires_in": float64(600), "interval": float64(5),
		} {
			if answer.JSON[name] != want {
				t.Errorf("%s is %v, want %v", name, answer.JSON[name], want)
			}
		}
		if len(answer.JSON) != 6 || answer.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("the answer is %v, its headers %v", answer.JSON, answer.Header)
		}
		again := k.DeviceAuthorization(k.device)
		if again.JSON["user_code"] == user || again.JSON["device_code"] == answer.JSON["device_code"] {
			t.Error("two devices have one code")
		}
	})
	t.Run("a confidential client", func(t *testing.T) {
		answer := k.Post("/device_authorization", servertest.Form("scope", "notes:read"), confidential.basic())
		if answer.Status != http.StatusOK {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		poll := servertest.Form("grant_type", servertest.DeviceGrantType, "device_code", answer.JSON.String("device_code"))
		wantPending(t, k.Post("/token", poll, confidential.basic()))
		refused(t, k.Post("/token", poll, confidential.id+":wrong"), http.StatusUnauthorized, "invalid_client")
	})
	t.Run("TK-01 not by GET, no CORS", func(t *testing.T) {
		if answer := k.Get("/device_authorization?client_id=" + k.device); answer.Status != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != http.MethodPost {
			t.Errorf("%d %v", answer.Status, answer.Header)
		}
		preflight := k.Do(k.Request(http.MethodOptions, "/device_authorization", "", http.Header{"Origin": {"https://app.example"}, "Access-Control-Request-Method": {"POST"}}))
		if preflight.Status != http.StatusMethodNotAllowed || preflight.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%d %v", preflight.Status, preflight.Header)
		}
	})
	t.Run("TK-02 secret in the URL", func(t *testing.T) {
		refused(t, k.Post("/device_authorization?client_id="+confidential.id+"&client_secret="+confidential.secret, servertest.Form("client_id", confidential.id), ""), http.StatusBadRequest, "invalid_request")
		if n := k.audited(t, "client.secret_in_url"); n != 1 {
			t.Errorf("%d audit events, want 1", n)
		}
	})
	t.Run("TK-06 repeated", func(t *testing.T) {
		form := servertest.Form("client_id", k.device, "client_id", k.device)
		refused(t, k.Post("/device_authorization", form, ""), http.StatusBadRequest, "invalid_request")
		form = servertest.Form("client_id", k.device, "scope", "notes:read", "scope", "notes:write")
		refused(t, k.Post("/device_authorization", form, ""), http.StatusBadRequest, "invalid_request")
	})
	t.Run("TK-08 grant type not registered", func(t *testing.T) {
		refused(t, k.DeviceAuthorization(k.clientID), http.StatusBadRequest, "unauthorized_client")
		refused(t, k.Poll(k.clientID, k.ask(t).device), http.StatusBadRequest, "unauthorized_client")
		refused(t, k.Post("/device_authorization", nil, k.machine.basic()), http.StatusBadRequest, "unauthorized_client")
	})
	t.Run("TK-09, TK-12, no client, unknown client", func(t *testing.T) {
		refused(t, k.Post("/device_authorization", servertest.Form("client_id", confidential.id), ""), http.StatusUnauthorized, "invalid_client")
		refused(t, k.Post("/device_authorization", nil, confidential.id+":wrong"), http.StatusUnauthorized, "invalid_client")
		refused(t, k.DeviceAuthorization(k.device, "client_secret", "any"), http.StatusUnauthorized, "invalid_client")
		refused(t, k.Post("/device_authorization", nil, ""), http.StatusBadRequest, "invalid_request")
		refused(t, k.DeviceAuthorization("cl_none"), http.StatusUnauthorized, "invalid_client")
	})
	t.Run("TK-10 two methods", func(t *testing.T) {
		refused(t, k.Post("/device_authorization", servertest.Form("client_secret", confidential.secret), confidential.basic()), http.StatusBadRequest, "invalid_request")
	})
	t.Run("target", func(t *testing.T) {
		refused(t, k.DeviceAuthorization(k.device, "resource", "https://unknown.example.com/"), http.StatusBadRequest, "invalid_target")
		refused(t, k.DeviceAuthorization(k.device, "resource", resourceURI, "resource", resourceURI), http.StatusBadRequest, "invalid_target")
		refused(t, k.DeviceAuthorization(k.device, "scope", "unknown"), http.StatusBadRequest, "invalid_scope")
		refused(t, k.DeviceAuthorization(k.device, "scope", "notes:\"read"), http.StatusBadRequest, "invalid_scope")
	})
	t.Run("what is refused writes nothing", func(t *testing.T) {
		before := rowsInSQLite(t, path)
		for range 30 {
			k.DeviceAuthorization("cl_none")
			k.DeviceAuthorization(k.clientID)
			k.DeviceAuthorization(k.device, "scope", "unknown")
		}
		for table, n := range rowsInSQLite(t, path) {
			if n != before[table] {
				t.Errorf("%s has %d rows, before %d", table, n, before[table])
			}
		}
	})
}

// TestDeviceAuthorizationLimits: strangers cannot fill the database in the name of
// a public client.
func TestDeviceAuthorizationLimits(t *testing.T) {
	path := t.TempDir() + "/grantd.db"
	k := newKiosk(t, servertest.WithStore(servertest.SQLiteFile(t, path)))
	given := 0
	var last *servertest.Answer
	for range 130 {
		if last = k.DeviceAuthorization(k.device); last.Status == http.StatusOK {
			given++
		}
	}
	wantError(t, last, http.StatusTooManyRequests, "temporarily_unavailable")
	if given != 100 || last.Header.Get("Retry-After") != "600" || rowsInSQLite(t, path)["device_authorizations"] != given {
		t.Errorf("%d given, Retry-After %q, %v", given, last.Header.Get("Retry-After"), rowsInSQLite(t, path))
	}
	k.Clock.Advance(storage.DeviceLifetime)
	k.ask(t)
	if _, err := k.Store.Sweep(t.Context(), k.Clock.Now(), time.Hour, 1000); err != nil {
		t.Fatal(err)
	}
	if n := rowsInSQLite(t, path)["device_authorizations"]; n != 1 {
		t.Errorf("%d rows after the sweep", n)
	}
}

// TestDeviceAuthorizationFull: a full house is nobody's fault.
func TestDeviceAuthorizationFull(t *testing.T) {
	store := &unreliable{Store: servertest.SQLite(t)}
	k := newKiosk(t, servertest.WithStore(store))
	store.set(func(call string) error {
		if call == "CreateDeviceAuthorization" {
			return storage.ErrFull
		}
		return nil
	}, nil)
	answer := k.DeviceAuthorization(k.device)
	wantError(t, answer, http.StatusServiceUnavailable, "temporarily_unavailable")
	if answer.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	// A user code that is taken is made anew.
	times := 0
	store.set(func(call string) error {
		if call == "CreateDeviceAuthorization" {
			if times++; times == 1 {
				return storage.ErrExists
			}
		}
		return nil
	}, nil)
	if k.ask(t); times != 2 {
		t.Errorf("%d attempts", times)
	}
}
