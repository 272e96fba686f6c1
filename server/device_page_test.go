package server_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// enter sends a code from the page that asks for one.
func enter(b *servertest.Browser, k *kiosk, typed string) *servertest.Page {
	return b.Post(k.URL+"/device", servertest.Form("user_code", typed))
}

// wantCodeAsked checks that a page asks for a code and shows nothing of a device.
func wantCodeAsked(t testing.TB, page *servertest.Page, status int, says string) {
	t.Helper()
	if page.Status != status || !page.Fields().Has("user_code") || page.IsConsent() || !strings.Contains(page.Body, says) {
		t.Errorf("%d at %s, want %d, a field for the code and %q:\n%s", page.Status, page.URL, status, says, page.Body)
	}
}

// TestDevicePage: the rows DV that are about the person, and what CS demands of
// every page that asks for an approval.
func TestDevicePage(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		k := newKiosk(t, servertest.WithStore(open(t)))

		t.Run("sign-in first, and back with the code", func(t *testing.T) {
			c := k.ask(t)
			browser := k.Browser()
			login := browser.Get(c.page)
			if !login.IsLogin() || login.URL.RawQuery != "user_code="+c.user {
				t.Fatalf("at %s: %d", login.URL, login.Status)
			}
			page := browser.Post(login.Action(), servertest.Form("username", "alice", "password", servertest.Password))
			if page.URL.Path != "/device" || page.Fields().Get("user_code") != c.user {
				t.Fatalf("at %s: %d %s", page.URL, page.Status, page.Body)
			}
			page = browser.Approve(browser.Post(page.Action(), page.Fields()))
			if page.Status != http.StatusOK || page.Left != nil {
				t.Fatalf("at %s: %d %s", page.URL, page.Status, page.Body)
			}
			wantTokens(t, k.poll(c.device))
		})

		t.Run("sign-in without a code", func(t *testing.T) {
			browser := k.Browser()
			login := browser.Get(k.URL + "/device")
			page := browser.Post(login.Action(), servertest.Form("username", "alice", "password", servertest.Password))
			wantCodeAsked(t, page, http.StatusOK, "Enter the code")
			if page.URL.Path != "/device" {
				t.Errorf("at %s", page.URL)
			}
		})

		t.Run("a session that ended in between", func(t *testing.T) {
			c := k.ask(t)
			page := enter(k.Browser(), k, strings.ToLower(c.user))
			if !page.IsLogin() || page.URL.RawQuery != "user_code="+c.user {
				t.Errorf("at %s: %d", page.URL, page.Status)
			}
		})

		t.Run("DV-05 a link is never one click", func(t *testing.T) {
			c := k.ask(t)
			page := k.alice.Get(c.page)
			wantCodeAsked(t, page, http.StatusOK, "never one that somebody sent you")
			if page.Fields().Get("user_code") != c.user {
				t.Errorf("the code is not filled in: %v", page.Fields())
			}
			wantPending(t, k.poll(c.device))
			page = k.alice.Post(page.Action(), page.Fields())
			for _, says := range []string{
				"You are connecting another device", c.user, "Only continue if you started this on your own device just now",
				"Device asks to use", resourceURI, "notes:read", "notes:write", "Person alice", "Deny",
			} {
				if !strings.Contains(page.Body, says) {
					t.Errorf("the page does not say %q:\n%s", says, page.Body)
				}
			}
			if policy := page.Header.Get("Content-Security-Policy"); !strings.HasSuffix(policy, "; form-action 'self'") {
				t.Errorf("the policy is %q", policy)
			}
			k.Clock.Advance(5 * time.Second)
			wantPending(t, k.poll(c.device)) // to look is not to approve
		})

		t.Run("DV-06 cross-site post of the code and of the answer", func(t *testing.T) {
			c := k.ask(t)
			form := approval(k.alice.Device(c.page))
			for _, header := range []http.Header{
				{"Sec-Fetch-Site": {"cross-site"}}, {"Sec-Fetch-Site": {"same-site"}}, {"Origin": {"https://evil.example"}}, {"Origin": {"null"}},
			} {
				header.Set("Content-Type", formType)
				for _, body := range []url.Values{servertest.Form("user_code", c.user), form} {
					if answer := k.alice.Send(http.MethodPost, k.URL+"/device", body.Encode(), header); answer.Status != http.StatusForbidden {
						t.Errorf("%v: %d %s", header, answer.Status, answer.Body)
					}
				}
			}
			wantPending(t, k.poll(c.device))
		})

		t.Run("DV-06 script in the code", func(t *testing.T) {
			for _, typed := range []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `{{7*7}}`, "WDJB-MJHT\"'", "%00", "\u202eWDJB"} {
				pages := []*servertest.Page{k.alice.Get(k.URL + "/device?user_code=" + url.QueryEscape(typed)), enter(k.alice, k, typed)}
				for _, page := range pages {
					if strings.Contains(page.Body, "<script") || strings.Contains(page.Body, "<img src=x") || strings.Contains(page.Body, "49") || strings.Contains(page.Body, "\u202e") {
						t.Errorf("%q stands on the page:\n%s", typed, page.Body)
					}
				}
				login := k.Browser().Get(k.URL + "/device?user_code=" + url.QueryEscape(typed))
				if strings.Contains(login.Body, "script") || strings.Contains(login.Body, "onerror") || !login.IsLogin() {
					t.Errorf("%q on the way to the sign-in: %s", typed, login.Body)
				}
			}
			k.Clock.Advance(storage.DeviceLifetime) // some of that could have been codes
		})

		t.Run("a damaged or doubled query counts as none", func(t *testing.T) {
			k.alice = k.SignedIn("alice")
			for _, query := range []string{"user_code=%zz", "user_code=WDJB-MJHT&user_code=BCDF-GHJK", "user_code", "x=1;y=2"} {
				page := k.alice.Get(k.URL + "/device?" + query)
				wantCodeAsked(t, page, http.StatusOK, "Enter the code")
				if got := page.Fields().Get("user_code"); got != "" {
					t.Errorf("%s: filled in with %q", query, got)
				}
			}
		})

		t.Run("DV-07 ways to write a code", func(t *testing.T) {
			c := k.ask(t)
			bare := strings.ReplaceAll(c.user, "-", "")
			for _, typed := range []string{
				c.user, bare, strings.ToLower(c.user), strings.ToLower(bare), bare[:4] + " " + bare[4:], " " + c.user + "\t",
				strings.Join(strings.Split(bare, ""), " "), bare[:4] + "\u2011" + bare[4:], bare[:4] + "\u2013" + bare[4:], c.user + ".", "- " + strings.ToLower(bare[:1]) + bare[1:],
			} {
				if page := enter(k.alice, k, typed); !page.IsConsent() || page.Fields().Get("user_code") != c.user {
					t.Errorf("%q: %d %s", typed, page.Status, page.Body)
				}
			}
			for _, typed := range []string{
				"", bare[:7], bare + "B", "A" + bare, bare[:7] + "1", bare[:7] + "\u017f", strings.Repeat(" ", 60) + bare, bare + "\x00\xff",
			} {
				page := enter(k.alice, k, typed)
				wantCodeAsked(t, page, http.StatusBadRequest, "A code has eight letters")
			}
			// None of those were guesses.
			if page := enter(k.alice, k, c.user); !page.IsConsent() {
				t.Errorf("%d %s", page.Status, page.Body)
			}
		})

		t.Run("a code works once", func(t *testing.T) {
			c := k.ask(t)
			page := k.alice.Device(c.page)
			form := approval(page)
			first, second := k.alice.Post(page.Action(), form), k.alice.Post(page.Action(), form)
			if first.Status != http.StatusOK {
				t.Fatalf("%d %s", first.Status, first.Body)
			}
			wantCodeAsked(t, second, http.StatusBadRequest, "No device waits with this code")
			if n := len(k.list(t, "/grants")); n != 1 {
				t.Errorf("%d grants", n)
			}
			wantCodeAsked(t, enter(k.alice, k, c.user), http.StatusBadRequest, "No device waits with this code")
			k.Clock.Advance(storage.DeviceLifetime)
		})

		t.Run("an expired code", func(t *testing.T) {
			k.alice = k.SignedIn("alice")
			c := k.ask(t)
			form := approval(k.alice.Device(c.page))
			k.Clock.Advance(storage.DeviceLifetime)
			wantCodeAsked(t, k.alice.Post(k.URL+"/device", form), http.StatusBadRequest, "No device waits with this code")
			k.Clock.Advance(storage.DeviceLifetime)
		})
	})
}

// TestDeviceDecision: the rows CS for the page of a device.
func TestDeviceDecision(t *testing.T) {
	k := newKiosk(t)
	k.User("mallory")
	post := func(form url.Values) *servertest.Page { return k.alice.Post(k.URL+"/device", form) }
	refused := func(t *testing.T, page *servertest.Page, status int) {
		t.Helper()
		if page.Status != status || strings.Contains(page.Body, "is connected") {
			t.Errorf("%d, want %d: %s", page.Status, status, page.Body)
		}
	}
	asked := func(t *testing.T, page *servertest.Page, says string) {
		t.Helper()
		if page.Status != http.StatusOK || !page.IsConsent() || !strings.Contains(page.Body, says) {
			t.Errorf("%d, want the page again and %q: %s", page.Status, says, page.Body)
		}
	}
	pending := func(t *testing.T, c codes) {
		t.Helper()
		k.Clock.Advance(5 * time.Second)
		wantPending(t, k.poll(c.device))
	}

	t.Run("CS-01 no approval, forged, of another session, of an authorization request", func(t *testing.T) {
		c := k.ask(t)
		form := approval(k.alice.Device(c.page))
		request := k.alice.Authorize(servertest.AuthorizationRequest(k.clientID, loopback, resourceURI))
		mallory := k.SignedIn("mallory").Device(c.page)
		for _, sealed := range []string{"", "x", forged(form.Get("approval")), mallory.Fields().Get("approval")} {
			refused(t, post(changed(form, "approval", sealed)), http.StatusForbidden)
		}
		asked(t, post(changed(form, "approval", request.Fields().Get("approval"))), "out of date")
		answer := k.alice.Post(request.Action(), changed(approval(request), "approval", form.Get("approval")))
		if answer.Left != nil || !answer.IsConsent() {
			t.Errorf("a device's page approved an authorization request: %d %v", answer.Status, answer.Left)
		}
		pending(t, c)
		if page := post(form); !strings.Contains(page.Body, "is connected") {
			t.Errorf("the true page: %d %s", page.Status, page.Body)
		}
	})

	t.Run("CS-03 the page of one device approves no other", func(t *testing.T) {
		own, theirs := k.ask(t), k.ask(t)
		form := approval(k.alice.Device(own.page))
		asked(t, post(changed(form, "user_code", theirs.user)), theirs.user)
		pending(t, own)
		pending(t, theirs)
	})

	t.Run("CS-05 the page loaded twice", func(t *testing.T) {
		c := k.ask(t)
		form := approval(k.alice.Device(c.page))
		k.alice.Device(c.page)
		if page := post(form); !strings.Contains(page.Body, "is connected") {
			t.Errorf("%d %s", page.Status, page.Body)
		}
	})

	t.Run("CS-06 fields that were not on the page", func(t *testing.T) {
		c := k.ask(t, "scope", "notes:read")
		form := approval(k.alice.Device(c.page))
		refused(t, post(changed(form, "scope", "notes:write")), http.StatusBadRequest)
		for _, name := range []string{"resource", "client_id", "redirect_uri", "_method"} {
			refused(t, post(changed(form, name, "x")), http.StatusBadRequest)
		}
		refused(t, post(changed(form, "decision", "maybe")), http.StatusBadRequest)
		doubled := changed(form)
		doubled["user_code"] = []string{c.user, c.user}
		refused(t, post(doubled), http.StatusBadRequest)
		none := changed(form)
		none.Del("scope")
		asked(t, post(none), "Choose at least one permission")
		pending(t, c)
	})

	t.Run("CS-07 client renamed between page and answer", func(t *testing.T) {
		c := k.ask(t)
		form := approval(k.alice.Device(c.page))
		k.Must(http.MethodPatch, "/clients/"+k.device, servertest.Object{"client_name": "Another"})
		asked(t, post(form), "Another asks to use")
		pending(t, c)
	})

	t.Run("CS-09 nothing is remembered", func(t *testing.T) {
		client := k.Must(http.MethodPost, "/clients", servertest.Object{
			"client_name": "Both", "redirect_uris": []string{webCallback}, "grant_types": []string{"authorization_code", servertest.DeviceGrantType},
			"token_endpoint_auth_method": "none",
		}).String("client_id")
		request := servertest.AuthorizationRequest(client, webCallback, resourceURI)
		k.alice.Approve(k.alice.Authorize(request))
		if page := k.alice.Authorize(request); page.Left == nil {
			t.Fatalf("the approval of a redirect is not remembered: %d", page.Status)
		}
		page := k.alice.Device(k.DeviceAuthorization(client).JSON.String("verification_uri_complete"))
		asked(t, page, "Already allowed")
		k.alice.Approve(page)
		if page := k.alice.Authorize(request); page.Left != nil {
			t.Error("a device's approval is remembered for a redirect")
		}
		asked(t, k.alice.Device(k.DeviceAuthorization(client).JSON.String("verification_uri_complete")), "You are connecting another device")
	})

	t.Run("law 5: not shown is not taken, not ticked is taken away", func(t *testing.T) {
		k.renew(t)
		k.approve(t, k.ask(t))
		c := k.ask(t, "scope", "notes:write")
		k.approve(t, c, "notes:write")
		granted := func(want string) {
			t.Helper()
			if got := k.list(t, "/grants"); len(got) != 1 || fmt.Sprint(got[0]["scopes"]) != want {
				t.Errorf("the grants are %v, want one of %s", got, want)
			}
		}
		granted("[notes:read notes:write]")
		k.approve(t, k.ask(t), "notes:read")
		granted("[notes:read]")
		// What was approved for a device is what the grant still has.
		wantError(t, k.poll(c.device), http.StatusBadRequest, "invalid_grant")
	})

	t.Run("CS-19 method, content type", func(t *testing.T) {
		c := k.ask(t)
		form := approval(k.alice.Device(c.page))
		k.alice.Get(k.URL + "/device?" + form.Encode())
		if answer := k.alice.Send(http.MethodPut, k.URL+"/device", form.Encode(), http.Header{"Content-Type": {formType}}); answer.Status != http.StatusMethodNotAllowed {
			t.Errorf("PUT: %d", answer.Status)
		}
		for _, contentType := range []string{"text/plain", "application/json", "multipart/form-data; boundary=x"} {
			answer := k.alice.Send(http.MethodPost, k.URL+"/device", form.Encode(), http.Header{"Content-Type": {contentType}, "Origin": {k.Origin}})
			if answer.Status != http.StatusUnsupportedMediaType {
				t.Errorf("%s: %d", contentType, answer.Status)
			}
		}
		if answer := k.alice.Send(http.MethodHead, k.URL+"/device", "", nil); answer.Status != http.StatusOK || answer.Body != "" {
			t.Errorf("HEAD: %d", answer.Status)
		}
		pending(t, c)
	})

	t.Run("CS-20 client disabled, scope removed, signed out, user disabled", func(t *testing.T) {
		k.renew(t)
		c := k.ask(t, "scope", "notes:write")
		form := approval(k.alice.Device(c.page))
		k.Must(http.MethodPatch, "/clients/"+k.device, servertest.Object{"disabled": true})
		refused(t, post(form), http.StatusBadRequest)
		k.Must(http.MethodPatch, "/clients/"+k.device, servertest.Object{"disabled": false})
		k.Must(http.MethodPatch, "/resources/"+k.find(t, "/resources", "uri", resourceURI),
			servertest.Object{"scopes": []servertest.Object{{"name": "notes:read", "description": "Read."}}})
		refused(t, post(form), http.StatusBadRequest)
		wantPending(t, k.poll(c.device))

		c = k.ask(t)
		form = approval(k.alice.Device(c.page))
		k.alice.Post(k.URL+"/logout", nil)
		if page := post(form); !page.IsLogin() {
			t.Errorf("signed out: %d %s", page.Status, page.Body)
		}
		k.alice = k.SignedIn("alice")
		refused(t, post(form), http.StatusForbidden) // of the session before
		form = approval(k.alice.Device(c.page))
		k.Must(http.MethodPatch, "/users/"+k.find(t, "/users", "username", "alice"), servertest.Object{"disabled": true})
		if page := post(form); !page.IsLogin() {
			t.Errorf("disabled: %d %s", page.Status, page.Body)
		}
		wantPending(t, k.poll(c.device))
		if grants := k.list(t, "/grants"); len(grants) != 0 {
			t.Errorf("the grants are %v", grants)
		}
	})
}

// wrongCode is a code that no device has: ours has another first letter.
func wrongCode(right string, n int) string {
	const letters = "BCDFGHJKLMNPQRSTVWXZ"
	i := strings.IndexByte(letters, right[0])
	return string(letters[(i+1+n)%len(letters)]) + right[1:]
}

// TestUserCodeGuessing: DV-01.
func TestUserCodeGuessing(t *testing.T) {
	guess := func(b *servertest.Browser, k *kiosk, c codes, n int) *servertest.Page {
		return enter(b, k, wrongCode(c.user, n))
	}
	blocked := func(t *testing.T, page *servertest.Page) {
		t.Helper()
		if page.Status != http.StatusTooManyRequests || page.Header.Get("Retry-After") != "600" || !strings.Contains(page.Body, "Too many wrong codes") {
			t.Errorf("%d, Retry-After %q: %s", page.Status, page.Header.Get("Retry-After"), page.Body)
		}
	}
	unknown := func(t *testing.T, page *servertest.Page) {
		t.Helper()
		wantCodeAsked(t, page, http.StatusBadRequest, "No device waits with this code")
	}

	t.Run("five per person, whatever the session", func(t *testing.T) {
		k := newKiosk(t)
		c := k.ask(t)
		for n := range 5 {
			if n == 3 { // a right one in between buys nothing
				if page := enter(k.alice, k, c.user); !page.IsConsent() {
					t.Fatalf("%d %s", page.Status, page.Body)
				}
			}
			unknown(t, guess(k.alice, k, c, n))
		}
		blocked(t, guess(k.alice, k, c, 6))
		blocked(t, enter(k.alice, k, c.user))
		blocked(t, enter(k.SignedIn("alice"), k, c.user))
		if n := k.audited(t, "user_code.guessing_blocked"); n != 1 {
			t.Errorf("%d audit events, want 1", n)
		}
		k.Clock.Advance(10 * time.Minute)
		c = k.ask(t)
		if page := enter(k.alice, k, c.user); !page.IsConsent() {
			t.Errorf("ten minutes later: %d %s", page.Status, page.Body)
		}
	})

	t.Run("twenty per address, whoever signs in", func(t *testing.T) {
		k := newKiosk(t, servertest.WithTrustedProxies(netip.MustParsePrefix("127.0.0.0/8")))
		c := k.ask(t)
		from := func(b *servertest.Browser, address, typed string) *servertest.Answer {
			return b.Send(http.MethodPost, k.URL+"/device", servertest.Form("user_code", typed).Encode(),
				http.Header{"Content-Type": {formType}, "Origin": {k.Origin}, "X-Forwarded-For": {address}})
		}
		n := 0
		for _, name := range []string{"bob", "carol", "dave", "erin", "frank"} {
			k.User(name)
			b := k.SignedIn(name)
			for range 4 {
				if answer := from(b, "192.0.2.1", wrongCode(c.user, n%19)); answer.Status != http.StatusBadRequest {
					t.Fatalf("guess %d: %d %s", n, answer.Status, answer.Body)
				}
				n++
			}
		}
		if answer := from(k.alice, "192.0.2.1", c.user); answer.Status != http.StatusTooManyRequests || answer.Header.Get("Retry-After") != "600" {
			t.Errorf("after %d guesses: %d", n, answer.Status)
		}
		if answer := from(k.alice, "192.0.2.2", c.user); answer.Status != http.StatusOK {
			t.Errorf("from another address: %d %s", answer.Status, answer.Body)
		}
	})

	t.Run("many at once are no more", func(t *testing.T) {
		k := newKiosk(t)
		c := k.ask(t)
		pages := make([]*servertest.Answer, racers)
		race(racers, func(i int) {
			pages[i] = k.alice.Send(http.MethodPost, k.URL+"/device", servertest.Form("user_code", wrongCode(c.user, i%19)).Encode(),
				http.Header{"Content-Type": {formType}, "Origin": {k.Origin}})
		})
		looked := 0
		for _, page := range pages {
			if page.Status != http.StatusTooManyRequests {
				looked++
			}
		}
		if looked != 5 {
			t.Errorf("%d guesses were looked up, want 5", looked)
		}
	})

	t.Run("an outage is no guess", func(t *testing.T) {
		captureLogs(t)
		store := &unreliable{Store: servertest.SQLite(t)}
		k := newKiosk(t, servertest.WithStore(store))
		c := k.ask(t)
		store.set(func(call string) error {
			if call == "PendingDeviceAuthorization" {
				return storage.ErrUnavailable
			}
			return nil
		}, nil)
		for range 25 {
			wantOutage(t, enter(k.alice, k, c.user).Answer)
		}
		store.set(nil, nil)
		if page := enter(k.alice, k, c.user); !page.IsConsent() {
			t.Errorf("%d %s", page.Status, page.Body)
		}
	})
}

// TestDeviceRootKeys: the first root key makes, all check, and an unknown one is
// nobody's fault.
func TestDeviceRootKeys(t *testing.T) {
	captureLogs(t)
	old, fresh := servertest.RootKey, []byte("fedcba9876543210fedcba9876543210")
	databaseURL := servertest.MigratedPostgres(t)
	k := newKiosk(t, servertest.WithStore(servertest.OpenPostgres(t, databaseURL)))
	replica := func(root ...[]byte) *servertest.Server {
		return servertest.New(t, servertest.WithStore(servertest.OpenPostgres(t, databaseURL)), servertest.ReplicaOf(k.Server), servertest.WithRootKeys(root...))
	}
	c := k.ask(t)
	rotated := replica(fresh, old)
	page := k.alice.Send(http.MethodPost, rotated.URL+"/device", servertest.Form("user_code", c.user).Encode(), http.Header{"Content-Type": {formType}, "Origin": {k.Origin}})
	if page.Status != http.StatusOK || !strings.Contains(page.Body, c.user) {
		t.Errorf("a code of the key before: %d %s", page.Status, page.Body)
	}
	wantPending(t, rotated.Poll(k.device, c.device))
	made := rotated.DeviceAuthorization(k.device).JSON
	k.Clock.Advance(time.Minute)
	wantOutage(t, k.poll(made.String("device_code"))) // it knows only the old one
}

// TestDeviceSecrecy: ST-01, HT-01. Neither code can be had from the database or
// the log.
func TestDeviceSecrecy(t *testing.T) {
	written := captureLogs(t)
	path := t.TempDir() + "/grantd.db"
	k := newKiosk(t, servertest.WithStore(servertest.SQLiteFile(t, path)))
	c, denied := k.ask(t), k.ask(t)
	k.poll(c.device)
	k.poll(c.device)
	k.poll(forged(c.device))
	enter(k.Browser(), k, c.user)
	enter(k.alice, k, wrongCode(c.user, 1))
	k.alice.Deny(k.alice.Device(denied.page))
	k.approve(t, c)
	got := wantTokens(t, k.poll(c.device))
	k.Clock.Advance(time.Minute)
	k.poll(c.device)
	bare := strings.ReplaceAll(c.user, "-", "")
	for _, secret := range []string{c.device, denied.device, c.user, bare, denied.user, got.access, got.refresh} {
		if strings.Contains(written.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
		wantNotStored(t, path, secret)
	}
	for _, event := range k.list(t, "/audit-events") {
		if strings.Contains(event.String("target"), bare) {
			t.Errorf("the code is in %v", event)
		}
	}
}
