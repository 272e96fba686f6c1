package e2e

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

// device is a browser with an authenticator in it, which verifies its user.
type device struct {
	t       *testing.T
	browser context.Context
	id      webauthn.AuthenticatorID
}

func newDevice(t *testing.T) *device {
	t.Helper()
	d := &device{t: t, browser: newBrowser(t)}
	d.do(chromedp.EmulateViewport(320, 900), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		if _, err := cdp.Call(ctx, target, webauthn.Enable, webauthn.EnableParams{}); err != nil {
			return err
		}
		added, err := cdp.Call(ctx, target, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{
			Options: &webauthn.VirtualAuthenticatorOptions{
				Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
				HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true,
			},
		})
		if err == nil {
			d.id = added.AuthenticatorID
		}
		return err
	}))
	return d
}

func (d *device) do(actions ...chromedp.Action[chromedp.Void]) {
	d.t.Helper()
	if err := chromedp.Do(d.browser, actions...); err != nil {
		at, _ := chromedp.Run(d.browser, chromedp.Evaluate[string](`location.pathname + " " + document.body.innerText`))
		d.t.Fatalf("%v at %s", err, at)
	}
}

// call calls the authenticator or the browser.
func (d *device) call(act func(ctx context.Context, target *chromedp.Target) error) {
	d.t.Helper()
	d.do(chromedp.Func(act))
}

// touched says whether the person touches the device when it asks.
func (d *device) touched(yes bool) {
	d.t.Helper()
	d.call(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, webauthn.SetAutomaticPresenceSimulation, webauthn.SetAutomaticPresenceSimulationParams{AuthenticatorID: d.id, Enabled: yes})
		return err
	})
}

// verifies says whether the device knows the person again.
func (d *device) verifies(yes bool) {
	d.t.Helper()
	d.call(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, webauthn.SetUserVerified, webauthn.SetUserVerifiedParams{AuthenticatorID: d.id, IsUserVerified: yes})
		return err
	})
}

// forgets has the browser be signed in nowhere and known to nobody.
func (d *device) forgets() {
	d.t.Helper()
	d.call(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.ClearBrowserCookies, cdp.Empty{})
		return err
	})
}

// copyTo gives the other device the passkeys of this one.
func (d *device) copyTo(other *device) {
	d.t.Helper()
	var credentials []*webauthn.Credential
	d.call(func(ctx context.Context, target *chromedp.Target) error {
		got, err := cdp.Call(ctx, target, webauthn.GetCredentials, webauthn.GetCredentialsParams{AuthenticatorID: d.id})
		if err == nil {
			credentials = got.Credentials
		}
		return err
	})
	for _, c := range credentials {
		// Without the fields of an extension, which Chromium tells and refuses to be told.
		told := map[string]any{"authenticatorId": other.id, "credential": map[string]any{
			"credentialId": c.CredentialID, "isResidentCredential": c.IsResidentCredential, "rpId": c.RpID, "privateKey": c.PrivateKey,
			"userHandle": c.UserHandle, "signCount": c.SignCount, "backupEligibility": c.BackupEligibility, "backupState": c.BackupState,
		}}
		other.call(func(ctx context.Context, target *chromedp.Target) error {
			return target.Call(ctx, webauthn.AddCredential.Method, told, nil)
		})
	}
}

// narrow checks that the page fits on the screen.
func (d *device) narrow() {
	d.t.Helper()
	wide, err := chromedp.Run(d.browser, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > document.documentElement.clientWidth`))
	if err != nil || wide {
		d.t.Errorf("the page is wider than the screen, or %v", err)
	}
}

// password signs in with the password, as far as that goes.
func (d *device) password(at string) chromedp.Action[chromedp.Void] {
	return steps(
		chromedp.Navigate(at), chromedp.WaitVisible(chromedp.CSS(`input[name="username"]`)),
		chromedp.SendKeys(chromedp.CSS(`input[name="username"]`), "alice"),
		chromedp.SendKeys(chromedp.CSS(`input[name="password"]`), userPassword+"\r"),
	)
}

var (
	withPasskey = chromedp.CSS(`form[data-passkey] button`)
	account     = chromedp.CSS(`#applications`)
)

// TestPasskeysInABrowser goes through all that passkeys are for as a person at 320
// pixels does: made on the account page, alone, after the password, to step up for a
// destructive scope, not touched, and removed.
func TestPasskeysInABrowser(t *testing.T) {
	g := startGrantdAs(t, "localhost")
	g.create("groups", map[string]any{"name": "cleaners"})
	g.create("users", map[string]any{"username": "alice", "name": "Alice", "password": userPassword, "groups": []string{"cleaners"}})
	g.create("resources", map[string]any{"uri": "https://notes.example.com/mcp", "name": "Notes", "scopes": []map[string]any{
		{"name": "notes:read", "description": "Read your notes", "risk": "read"}, {"name": "notes:purge", "description": "Delete all notes", "risk": "destructive"},
	}})
	g.create("policies", map[string]any{"name": "Cleaning", "groups": []string{"cleaners"}, "scopes": []string{"notes:read", "notes:purge"}})
	client := g.create("clients", map[string]any{"client_name": "Desk", "redirect_uris": []string{"https://desk.example.com/callback"}, "token_endpoint_auth_method": "none"})
	g.run(0, nil, "", "sign-in-policy", "set", "--destructive-scopes", "second_factor")
	authorize := g.issuer + "/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {client["client_id"].(string)}, "redirect_uri": {"https://desk.example.com/callback"},
		"code_challenge": {strings.Repeat("a", 43)}, "code_challenge_method": {"S256"}, "scope": {"notes:read notes:purge"},
	}.Encode()
	consent := chromedp.WaitVisible(chromedp.CSS(`button[name="decision"][value="approve"]`))

	// The browser of later signs in with the password while that is all there is.
	later := newDevice(t)
	later.do(later.password(g.issuer+"/login"), chromedp.WaitVisible(account))

	// Made on the account page, after a refusal that is said in words.
	d := newDevice(t)
	d.do(d.password(g.issuer+"/login"), chromedp.WaitVisible(account))
	d.do(chromedp.Navigate(g.issuer+"/account/security"), chromedp.Click(chromedp.CSS(`a[href$="/account/security/passkey"]`)), chromedp.WaitVisible(withPasskey))
	d.narrow()
	d.verifies(false)
	d.do(chromedp.Click(withPasskey), chromedp.WaitVisible(chromedp.CSS(`[data-problem="failed"]`)))
	d.narrow()
	d.verifies(true)
	d.do(chromedp.Click(withPasskey), chromedp.WaitVisible(chromedp.CSS(`.codes`)))
	d.do(chromedp.Navigate(g.issuer+"/account/security"), chromedp.WaitVisible(chromedp.CSS(`#passkeys`)))
	d.narrow()
	// The same device makes no second one.
	d.do(chromedp.Navigate(g.issuer+"/account/security/passkey"), chromedp.WaitVisible(withPasskey), chromedp.Click(withPasskey), chromedp.WaitVisible(chromedp.CSS(`[data-problem="exists"]`)))

	// Alone; first in vain.
	d.forgets()
	d.touched(false)
	d.do(chromedp.Navigate(g.issuer+"/login"), chromedp.WaitVisible(withPasskey))
	d.narrow()
	d.verifies(false)
	d.touched(true)
	d.do(chromedp.Navigate(g.issuer+"/login"), chromedp.WaitVisible(withPasskey), chromedp.Click(withPasskey), chromedp.WaitVisible(chromedp.CSS(`[data-problem="failed"]`)))
	d.verifies(true)
	d.do(chromedp.Click(withPasskey), chromedp.WaitVisible(account))

	// After the password. Nothing is touched until then: else the autofill signs in.
	d.forgets()
	d.touched(false)
	d.do(d.password(g.issuer+"/login"), chromedp.WaitVisible(chromedp.CSS(`input[name="code"]`)), chromedp.WaitVisible(withPasskey))
	d.narrow()
	d.touched(true)
	d.do(chromedp.Click(withPasskey), chromedp.WaitVisible(account))
	d.do(chromedp.Navigate(authorize), consent)

	// Added to a sign-in from before, for a destructive scope.
	d.copyTo(later)
	later.do(chromedp.Navigate(authorize), chromedp.WaitVisible(withPasskey), chromedp.Click(withPasskey), consent)

	// Removed: it opens nothing any more.
	d.do(
		chromedp.Navigate(g.issuer+"/account/security"), chromedp.Click(chromedp.CSS(`details summary`)),
		chromedp.Click(chromedp.CSS(`button[value="remove_passkey"]`)), chromedp.WaitVisible(chromedp.CSS(`.callout.info`)),
	)
	// The autofill of the browser offers it, and the page that refuses it asks no more.
	d.forgets()
	d.do(chromedp.Navigate(g.issuer+"/login"), chromedp.WaitVisible(chromedp.CSS(`#problem`)))
	d.touched(false)
	d.do(d.password(g.issuer+"/login"), chromedp.WaitVisible(account))
}

// TestPasskeysOnlyInABrowser has somebody follow an invitation where a password proves
// nothing, and sign in.
func TestPasskeysOnlyInABrowser(t *testing.T) {
	g := startGrantdAs(t, "localhost")
	if said := g.run(0, nil, "", "sign-in-policy", "set", "--second-factor", "passkeys_only"); !strings.Contains(said, "passkeys_only") {
		t.Errorf("the command says %q", said)
	}
	user := g.create("users", map[string]any{"username": "bob", "name": "Bob"})
	link := g.administer(http.MethodPost, "users/"+user["id"].(string)+"/links", "application/json", map[string]any{"purpose": "invitation"}, http.StatusCreated)
	d := newDevice(t)
	d.do(chromedp.Navigate(link["url"].(string)), chromedp.WaitVisible(withPasskey))
	d.narrow()
	d.do(chromedp.Click(withPasskey), chromedp.WaitVisible(chromedp.CSS(`a.button[href$="/login"]`)))
	d.do(chromedp.Navigate(g.issuer+"/login"), chromedp.WaitVisible(withPasskey))
	d.narrow()
	if fields, err := chromedp.Run(d.browser, chromedp.Evaluate[int](`document.querySelectorAll('input[type="password"]').length`)); err != nil || fields != 0 {
		t.Errorf("%d fields for a password, %v", fields, err)
	}
	d.do(chromedp.Click(withPasskey), chromedp.WaitVisible(account))
	shown := g.run(0, nil, "", "user", "factors", "bob")
	if !strings.Contains(shown, "pk_") || !strings.Contains(shown, "Chrom") {
		t.Errorf("the command shows %q", shown)
	}

	// Without scripts the page says what is missing.
	plain := newBrowser(t)
	err := chromedp.Do(plain, noScripts(), chromedp.Navigate(g.issuer+"/login"), chromedp.WaitVisible(chromedp.CSS(`noscript .callout`)))
	if err != nil {
		t.Error(err)
	}
}
