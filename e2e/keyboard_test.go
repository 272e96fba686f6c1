package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// desk is a person before Chromium, a client that waits for them, and the MCP server
// that may ask about its tokens.
type desk struct {
	t               *testing.T
	g               *grantd
	browser         context.Context //nolint:containedctx // chromedp's browser is one
	callback        *callback
	clientID        string
	guard, guardKey string
}

const deskVerifier = "a-verifier-that-is-as-long-as-RFC-7636-wants-it-to-be"

func newDesk(t *testing.T, flags ...string) *desk {
	t.Helper()
	g := startGrantd(t, flags...)
	d := &desk{t: t, g: g, browser: newBrowser(t), callback: startCallback(t)}
	g.create("users", map[string]any{"username": "alice", "email": "alice@example.com", "name": "Alice", "password": userPassword})
	guard := g.create("clients", map[string]any{"client_name": "Notes itself", "grant_types": []string{"client_credentials"}, "token_endpoint_auth_method": "client_secret_post"})
	d.guard, d.guardKey = guard["client_id"].(string), guard["client_secret"].(string)
	g.create("resources", map[string]any{"uri": "https://notes.example.com/mcp", "name": "Notes", "introspection_clients": []string{d.guard}, "scopes": []map[string]any{
		{"name": "notes:read", "description": "Read your notes", "tools": []string{"read_note"}, "risk": "read"},
		{"name": "notes:write", "description": "Change your notes", "tools": []string{"edit_note"}},
	}})
	client := g.create("clients", map[string]any{"client_name": "Writing desk", "redirect_uris": []string{d.callback.url}, "token_endpoint_auth_method": "none"})
	d.clientID = client["client_id"].(string)
	return d
}

// authorize is where the client sends the person.
func (d *desk) authorize() string {
	challenge := sha256.Sum256([]byte(deskVerifier))
	return d.g.issuer + "/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {d.clientID}, "redirect_uri": {d.callback.url}, "state": {"s"}, "prompt": {"consent"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode()
}

func (d *desk) do(steps ...chromedp.Action[chromedp.Void]) {
	d.t.Helper()
	if err := chromedp.Do(d.browser, steps...); err != nil {
		d.t.Fatal(err)
	}
}

// until waits for a page on which the expression is true. While a page goes and
// another comes there is none to ask.
func (d *desk) until(expression string) {
	d.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if is, err := chromedp.Run(d.browser, chromedp.Evaluate[bool](`document.readyState === "complete" && !!(`+expression+`)`)); err == nil && is {
			return
		}
	}
	words, _ := chromedp.Run(d.browser, chromedp.Evaluate[string]("document.body.innerText"))
	d.t.Fatalf("there is no page with %s, but:\n%s", expression, words)
}

// reach presses Tab until the focused element, e, is the one, and checks that the
// focus can be seen on every stop.
func (d *desk) reach(expression string) {
	d.t.Helper()
	for range 60 {
		d.do(chromedp.KeyEvent("\t"))
		is, err := chromedp.Run(d.browser, chromedp.Evaluate[string](`(() => {
			const e = document.activeElement
			if (e !== document.body && getComputedStyle(e).outlineStyle === "none") return "unseen " + e.outerHTML
			return String(!!(`+expression+`))
		})()`))
		if err != nil {
			d.t.Fatal(err)
		}
		if is == "true" {
			return
		} else if is != "false" {
			d.t.Errorf("the focus is %s", is)
		}
	}
	d.t.Fatalf("Tab does not lead to %s", expression)
}

const enter = "\r"

func (d *desk) signInByKeyboard() {
	d.t.Helper()
	d.do(chromedp.KeyEvent("alice\t" + userPassword + enter))
}

// came is the code that the client got, or "".
func (d *desk) came() string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	result, err := d.callback.wait(ctx)
	if err != nil {
		d.t.Fatalf("nothing came to the client: %v", err)
	}
	if result.State != "s" || result.Iss != d.g.issuer {
		d.t.Errorf("what came is %+v", result)
	}
	d.until(`document.body.innerText.includes("You can close this page.")`) // else the browser would be on its way yet
	return result.Code
}

func (d *desk) redeem(code string) map[string]any {
	d.t.Helper()
	answer := post(d.t, d.g.issuer+"/token", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {d.clientID}, "code": {code}, "code_verifier": {deskVerifier}, "redirect_uri": {d.callback.url},
	})
	if answer.status != http.StatusOK {
		d.t.Fatalf("the code: %d %v", answer.status, answer.body)
	}
	return answer.body
}

func (d *desk) refresh(token any) tokenAnswer {
	d.t.Helper()
	return post(d.t, d.g.issuer+"/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {d.clientID}, "refresh_token": {token.(string)}})
}

func (d *desk) active(token any) bool {
	d.t.Helper()
	answer := post(d.t, d.g.issuer+"/introspect", url.Values{"client_id": {d.guard}, "client_secret": {d.guardKey}, "token": {token.(string)}})
	if answer.status != http.StatusOK {
		d.t.Fatalf("introspection: %d %v", answer.status, answer.body)
	}
	return answer.body["active"] == true
}

// TestByKeyboardAlone has a person without a mouse sign in, allow a part of what is
// asked, refuse, and take back on the account page what they allowed; the client then
// has nothing (WCAG 2.2 §2.1.1, §2.4.7; CS-17, CS-24).
func TestByKeyboardAlone(t *testing.T) {
	d := newDesk(t)
	d.do(chromedp.EmulateViewport(900, 1000), chromedp.Navigate(d.authorize()))
	d.until(`document.activeElement.name === "username"`)
	d.signInByKeyboard()
	d.until(`document.querySelector("[name=approval]")`)
	d.reach(`e.name === "scope" && e.value === "notes:write"`)
	d.do(chromedp.KeyEvent(" "))
	d.reach(`e.value === "approve"`)
	d.do(chromedp.KeyEvent(enter))
	tokens := d.redeem(d.came())
	if tokens["scope"] != "notes:read" || !d.active(tokens["access_token"]) {
		t.Errorf("of two scopes one was unticked, and the token has %q", tokens["scope"])
	}

	d.do(chromedp.Navigate(d.authorize()))
	d.until(`document.querySelector("[name=approval]") && document.body.innerText.includes("One of these is new.")`)
	d.reach(`e.value === "deny"`)
	d.do(chromedp.KeyEvent(enter))
	if code := d.came(); code != "" {
		t.Error("a code came of a refusal")
	}

	d.do(chromedp.Navigate(d.g.issuer + "/account"))
	d.until(`document.body.innerText.includes("Writing desk")`)
	d.reach(`e.href && e.href.includes("/account/revoke?grant=grt_")`)
	d.do(chromedp.KeyEvent(enter))
	d.until(`document.querySelector("h1").innerText === "Remove access?"`)
	d.reach(`e.type === "submit"`)
	d.do(chromedp.KeyEvent(enter))
	d.until(`document.body.innerText.includes("The access is removed.") && !document.body.innerText.includes("Writing desk")`)
	if d.active(tokens["access_token"]) {
		t.Error("the access token is good")
	}
	if answer := d.refresh(tokens["refresh_token"]); answer.status != http.StatusBadRequest || answer.body["error"] != "invalid_grant" {
		t.Errorf("the refresh token: %d %v", answer.status, answer.body)
	}
}

// TestEndOneOfTwoByKeyboard ends one installation of an application.
func TestEndOneOfTwoByKeyboard(t *testing.T) {
	d := newDesk(t)
	d.do(chromedp.EmulateViewport(320, 900), chromedp.Navigate(d.authorize()))
	d.until(`document.activeElement.name === "username"`)
	d.signInByKeyboard()
	var installed []map[string]any
	for range 2 {
		d.until(`document.querySelector("[name=approval]")`)
		d.reach(`e.value === "approve"`)
		d.do(chromedp.KeyEvent(enter))
		installed = append(installed, d.redeem(d.came()))
		d.do(chromedp.Navigate(d.authorize()))
	}
	d.do(chromedp.Navigate(d.g.issuer + "/account"))
	d.until(`document.body.innerText.includes("Signed in 2 times")`)
	d.reach(`e.innerText === "End"`)
	d.do(chromedp.KeyEvent(enter))
	d.until(`document.body.innerText.includes("It is signed out.") && document.body.innerText.includes("Writing desk")`)
	var left []string
	for _, tokens := range installed {
		if d.active(tokens["access_token"]) {
			left = append(left, "access")
		}
		if d.refresh(tokens["refresh_token"]).status == http.StatusOK {
			left = append(left, "refresh")
		}
	}
	if got := strings.Join(left, " "); got != "access refresh" {
		t.Errorf("what is left of two installations is %q", got)
	}
}

// TestWithoutScripts has a person whose browser runs no script sign in after a wrong
// password, allow, refuse, change the password and sign out.
func TestWithoutScripts(t *testing.T) {
	d := newDesk(t)
	d.do(noScripts(), chromedp.Navigate(d.authorize()))
	css := func(s string) chromedp.CSS { return chromedp.CSS(s) }
	d.do(
		chromedp.SendKeys(css(`[name="username"]`), "alice"), chromedp.SendKeys(css(`[name="password"]`), "wrong password"), chromedp.Click(css(`form button`)),
		chromedp.WaitVisible(css(`[role="alert"]`)), chromedp.SendKeys(css(`[name="password"]`), userPassword), chromedp.Click(css(`form button`)),
		chromedp.WaitVisible(css(`[name="scope"][value="notes:write"]`)), chromedp.Click(css(`[name="scope"][value="notes:write"]`)), press("approve"),
	)
	if tokens := d.redeem(d.came()); tokens["scope"] != "notes:read" {
		t.Errorf("the token has %q", tokens["scope"])
	}
	d.do(chromedp.Navigate(d.authorize()), press("deny"))
	if code := d.came(); code != "" {
		t.Error("a code came of a refusal")
	}
	const another = "another good pass phrase"
	d.do(
		chromedp.Navigate(d.g.issuer+"/account/password"), chromedp.SendKeys(css(`[name="current"]`), userPassword),
		chromedp.SendKeys(css(`[name="password"]`), another), chromedp.SendKeys(css(`[name="again"]`), another), chromedp.Click(css(`form button`)),
		chromedp.WaitVisible(css(`[role="status"]`)), chromedp.Click(css(`form[action$="/logout"] button`)), chromedp.WaitNotPresent(css(`form[action$="/logout"]`)),
		chromedp.Navigate(d.g.issuer+"/account"), chromedp.SendKeys(css(`[name="username"]`), "alice"), chromedp.SendKeys(css(`[name="password"]`), another),
		chromedp.Click(css(`form button`)), chromedp.WaitVisible(css(`form[action$="/logout"] button`)),
	)
}

// noScripts has the browser run none of a page's scripts.
func noScripts() chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	})
}
