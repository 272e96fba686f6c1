package e2e

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"grantd/internal/freeport"
)

// views are the pages that people come to, by template: the headings that the journeys
// must meet in each manner, or the test that opens the page instead and says there why.
// A template without an entry fails TestJourneys.
var views = map[string]struct {
	headings []string
	instead  func(*testing.T)
}{
	"account.html":        {headings: []string{"Your account"}},
	"activity.html":       {headings: []string{"Recent activity"}},
	"ask.html":            {headings: []string{"Your administrator must allow this application first", "Your administrator has been asked"}},
	"consent.html":        {headings: []string{"Writing desk asks to use Notes", "You are connecting another device"}},
	"continue.html":       {headings: []string{"Your password is set", "You are signed out"}},
	"device.html":         {headings: []string{"Connect another device"}},
	"device_done.html":    {headings: []string{"Your device is connected", "You denied the request"}},
	"enrol.html":          {headings: []string{"Set up an authenticator app"}},
	"error.html":          {headings: []string{"There is no such page", "This link is no longer valid"}},
	"link.html":           {headings: []string{"Welcome"}},
	"login.html":          {headings: []string{"Sign in"}},
	"logout.html":         {headings: []string{"Sign out?"}},
	"passkey.html":        {instead: TestPasskeysInABrowser}, // it needs a script
	"password.html":       {headings: []string{"Change your password"}},
	"recovery_codes.html": {headings: []string{"Your recovery codes"}},
	"revoke.html":         {headings: []string{"Remove access?"}},
	"second_factor.html":  {headings: []string{"Enter a code"}},
	"security.html":       {headings: []string{"Second factor"}},
}

// TestJourneys goes in each manner through every page and path that needs no script:
// an invitation, password, authenticator app, recovery code, consent with a part
// unticked, refusal, step-up, devices, asking the administrators, the account and its
// pages, and taking back what was allowed, after which the client has nothing.
func TestJourneys(t *testing.T) {
	for _, m := range manners {
		t.Run(m.name, func(t *testing.T) {
			w := newWalk(t, newDesk(t), m)
			w.invited()
			key := w.secured()
			w.consents(key)
			w.revokes()
			w.recovers(key)
			w.stepsUp()
			w.accountPages()
			w.devices()
			w.asks()
			for template, view := range views {
				for _, heading := range view.headings {
					if !w.met[heading] {
						t.Errorf("no journey comes to %q of %s", heading, template)
					}
				}
			}
		})
	}
	files, err := fs.Glob(os.DirFS("../templates/html"), "*.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if view := views[file]; len(view.headings) == 0 && view.instead == nil && file != "layout.html" && file != "parts.html" {
			t.Errorf("%s is a page that nobody opens in Chromium: give it an entry in views, and a journey", file)
		}
	}
	for file := range views {
		if !slices.Contains(files, file) {
			t.Errorf("there is no %s", file)
		}
	}
}

// invited follows an invitation, mistyping, and finds it used up.
func (w *walk) invited() {
	w.t.Helper()
	w.g.create("users", map[string]any{"username": "bob", "name": "بوب Okafor-Schwarzenbergerhausen"})
	link := linkIn(w.t, w.g.run(0, nil, "", "user", "invite", "bob"))
	w.open(link, "Welcome")
	w.fill("password", userPassword, "again", "another password")
	w.press(submit)
	w.sees("The two new passwords are not the same.")
	w.at("Welcome")
	w.fill("password", userPassword, "again", userPassword)
	w.press(submit)
	w.at("Your password is set")
	w.press(`main a.button`)
	w.signIn("bob")
	w.at("Your account")
	w.open(link, "This link is no longer valid")
	w.open(w.g.issuer+"/nowhere", "There is no such page")
}

// authenticator is a person's authenticator app and one of their recovery codes.
type authenticator struct{ key, next, recovery string }

// secured sets up a second factor on the account page and signs out.
func (w *walk) secured() authenticator {
	w.t.Helper()
	w.open(w.g.issuer+"/account", "Your account")
	w.press(`a[href$="/account/security"]`)
	w.at("Second factor")
	w.press(`a[href$="/account/security/totp"]`)
	key, used, recovery := w.setUp()
	w.at("Second factor")
	w.press(`a[href$="/account"]`)
	w.at("Your account")
	w.open(w.g.issuer+"/logout", "Sign out?")
	w.press(`main a.button`)
	w.at("Your account")
	w.open(w.g.issuer+"/logout", "Sign out?")
	w.press(submit)
	w.at("You are signed out")
	return authenticator{key, again(w.t, key, used), recovery}
}

// consents signs in with password and code, each mistyped once, allows a part, and
// refuses the next time.
func (w *walk) consents(app authenticator) {
	w.t.Helper()
	w.open(w.authorize(), "Sign in")
	w.fill("username", "bob", "password", "wrong password")
	w.press(submit)
	w.sees("The user name or the password is not right.")
	w.fill("password", userPassword)
	w.press(submit)
	w.at("Enter a code")
	w.code("000000")
	w.sees("The code is not right")
	w.code(app.next)
	w.at("Writing desk asks to use Notes")
	w.tick(`[name="scope"][value="notes:write"]`)
	w.press(`[name="decision"][value="approve"]`)
	w.tokens = w.redeem(w.came())
	if w.tokens["scope"] != "notes:read" || !w.active(w.tokens["access_token"]) {
		w.t.Errorf("of two scopes one was unticked, and the token has %q", w.tokens["scope"])
	}
	w.open(w.authorize(), "Writing desk asks to use Notes")
	w.sees("One of these is new.")
	w.press(`[name="decision"][value="deny"]`)
	if code := w.came(); code != "" {
		w.t.Error("a code came of a refusal")
	}
}

// revokes takes back on the account page what was allowed.
func (w *walk) revokes() {
	w.t.Helper()
	w.open(w.g.issuer+"/account", "Your account")
	w.press(`a[href*="/account/revoke?grant=grt_"]`)
	w.at("Remove access?")
	w.press(submit)
	w.at("Your account")
	w.sees("The access is removed.")
	if w.active(w.tokens["access_token"]) {
		w.t.Error("the access token is good")
	}
	if answer := w.refresh(w.tokens["refresh_token"]); answer.status != http.StatusBadRequest || answer.body["error"] != "invalid_grant" {
		w.t.Errorf("the refresh token: %d %v", answer.status, answer.body)
	}
}

// recovers signs in with a recovery code and makes new ones.
func (w *walk) recovers(app authenticator) {
	w.t.Helper()
	w.another()
	w.open(w.g.issuer+"/login", "Sign in")
	w.signIn("bob")
	w.at("Enter a code")
	w.code(app.recovery)
	w.at("Your account")
	w.open(w.g.issuer+"/account/security", "Second factor")
	w.sees("9 codes are left.")
	w.press(`form:has([value="new_codes"]) button`)
	w.at("Your recovery codes")
}

// stepsUp is signed in with a password alone when an application wants two factors, and
// sets one up.
func (w *walk) stepsUp() {
	w.t.Helper()
	w.another()
	w.open(w.g.issuer+"/login", "Sign in")
	w.signIn("alice")
	w.at("Your account")
	w.open(w.authorize()+"&acr_values="+url.QueryEscape("https://refeds.org/profile/mfa"), "Sign in")
	w.signIn("alice")
	w.sees("You need a second factor to go on.")
	w.setUp()
	w.at("Writing desk asks to use Notes")
	w.press(`[name="decision"][value="approve"]`)
	token := w.redeem(w.came())["access_token"].(string)
	said := post(w.t, w.g.issuer+"/introspect", url.Values{"client_id": {w.guard}, "client_secret": {w.guardKey}, "token": {token}})
	if said.body["acr"] != "https://refeds.org/profile/mfa" {
		w.t.Errorf("the token does not say that there were two factors: %v", said.body)
	}
}

// accountPages changes the password and reads the activity.
func (w *walk) accountPages() {
	w.t.Helper()
	w.open(w.g.issuer+"/account", "Your account")
	w.press(`a[href$="/account/password"]`)
	w.at("Change your password")
	w.fill("current", "wrong password", "password", userPassword+"!", "again", userPassword+"!")
	w.press(submit)
	w.sees("The current password is not right.")
	w.fill("current", userPassword, "password", userPassword+"!", "again", userPassword+"!")
	w.press(submit)
	w.at("Your account")
	w.press(`a[href$="/account/activity"]`)
	w.at("Recent activity")
	w.sees("You changed your password.")
	w.press(`a[href$="/account"]`)
	w.at("Your account")
}

// devices connects one device and denies another.
func (w *walk) devices() {
	w.t.Helper()
	client := w.g.create("clients", map[string]any{
		"client_name": "Television", "grant_types": []string{"urn:ietf:params:oauth:grant-type:device_code", "refresh_token"}, "token_endpoint_auth_method": "none",
	})["client_id"].(string)
	for _, decision := range []string{"approve", "deny"} {
		waits := post(w.t, w.g.issuer+"/device_authorization", url.Values{"client_id": {client}})
		w.open(w.g.issuer+"/device", "Connect another device")
		w.fill("user_code", "BBBB-BBB")
		w.press(submit)
		w.sees("A code has eight letters")
		w.fill("user_code", waits.body["user_code"].(string))
		w.press(submit)
		w.at("You are connecting another device")
		w.press(`[name="decision"][value="` + decision + `"]`)
		w.at(map[string]string{"approve": "Your device is connected", "deny": "You denied the request"}[decision])
		answer := post(w.t, w.g.issuer+"/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {client}, "device_code": {waits.body["device_code"].(string)}})
		if got := answer.status == http.StatusOK; got != (decision == "approve") {
			w.t.Errorf("%s: %d %v", decision, answer.status, answer.body)
		}
	}
}

// asks asks the administrators to allow an application that has introduced itself.
func (w *walk) asks() {
	w.t.Helper()
	response, err := http.Post(w.g.issuer+"/register", "application/json", strings.NewReader( //nolint:noctx // the test ends with it
		`{"client_name": "تطبيق الملاحظات", "redirect_uris": ["`+w.callback.url+`"], "token_endpoint_auth_method": "none"}`))
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var client struct {
		ID string `json:"client_id"`
	}
	if err := json.NewDecoder(response.Body).Decode(&client); err != nil {
		w.t.Fatal(err)
	}
	stranger := *w.desk
	stranger.clientID = client.ID
	w.open(stranger.authorize(), "Your administrator must allow this application first")
	w.press(submit)
	w.at("Your administrator has been asked")
}

// TestProviderJourney signs in with an identity provider in each manner. Another one is
// away, and the local account still signs in.
func TestProviderJourney(t *testing.T) {
	for _, m := range manners {
		t.Run(m.name, func(t *testing.T) {
			idp, nobody := startProvider(t), freeport.For(t)
			d := newDesk(t, "--outbound-allow", strings.TrimPrefix(idp.issuer, "http://")+","+nobody)
			const secret = "a secret of the test's provider"
			provider := func(name, issuer string) (id, redirectURI string) {
				made := d.g.create("providers", map[string]any{
					"name": name, "label": name + " Inc.", "issuer": issuer, "client_id": "grantd", "client_secret": secret, "scopes": []string{"profile", "email"},
				})
				return made["id"].(string), made["redirect_uri"].(string)
			}
			example, redirectURI := provider("Example", idp.issuer)
			idp.register("grantd", secret, redirectURI)
			away, _ := provider("Away", "http://"+nobody)
			w := newWalk(t, d, m)
			w.open(w.authorize(), "Sign in")
			w.press(`.providers a[href*="` + example + `"]`)
			w.do(signInAt("bea")) // the provider's pages are not ours
			w.at("Writing desk asks to use Notes")
			w.sees("Bea Okafor")
			w.press(`[name="decision"][value="approve"]`)
			if tokens := w.redeem(w.came()); !w.active(tokens["access_token"]) {
				t.Error("the token is not good")
			}
			w.open(w.g.issuer+"/account", "Your account")
			w.sees("You sign in with Example Inc.")
			w.another()
			w.open(w.authorize(), "Sign in")
			w.press(`.providers a[href*="` + away + `"]`)
			w.at("Your identity provider does not answer")
			w.press(`main a.switch`)
			w.signIn("alice")
			w.at("Writing desk asks to use Notes")
		})
	}
}
