package e2e

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	endian "encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// totp is the code that an authenticator app shows for a key in groups of four.
func totp(t *testing.T, key string, at time.Time) string {
	t.Helper()
	secret, err := base32.StdEncoding.DecodeString(strings.ReplaceAll(key, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	var counter [8]byte
	endian.BigEndian.PutUint64(counter[:], uint64(at.Unix()/30))
	mac := hmac.New(sha1.New, secret)
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", (endian.BigEndian.Uint32(sum[sum[19]&15:])&0x7fffffff)%1_000_000)
}

// TestSecondFactorInABrowser goes through the rule, the setting up, the code, a recovery
// code and a step-up as a person at 320 pixels does, with the keyboard alone.
func TestSecondFactorInABrowser(t *testing.T) {
	g := startGrantd(t)
	g.create("users", map[string]any{"username": "alice", "name": "Alice", "password": userPassword})
	g.create("resources", map[string]any{"uri": "https://notes.example.com/mcp", "name": "Notes", "scopes": []map[string]any{{"name": "notes:read", "description": "Read your notes"}}})
	client := g.create("clients", map[string]any{"client_name": "Desk", "redirect_uris": []string{"https://desk.example.com/callback"}, "token_endpoint_auth_method": "none"})
	authorize := g.issuer + "/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {client["client_id"].(string)}, "redirect_uri": {"https://desk.example.com/callback"},
		"code_challenge": {strings.Repeat("a", 43)}, "code_challenge_method": {"S256"}, "acr_values": {"https://refeds.org/profile/mfa"},
	}.Encode()
	consent := chromedp.WaitVisible(chromedp.CSS(`button[name="decision"][value="approve"]`))
	code := chromedp.CSS(`input[name="code"]`)
	// Enter sends the form: no button is clicked.
	password := func(at string) chromedp.Action[chromedp.Void] {
		return steps(
			chromedp.Navigate(at), chromedp.WaitVisible(chromedp.CSS(`input[name="username"]`)),
			chromedp.SendKeys(chromedp.CSS(`input[name="username"]`), "alice"),
			chromedp.SendKeys(chromedp.CSS(`input[name="password"]`), userPassword+"\r"),
		)
	}
	text := func(selector string) string { return `document.querySelector('` + selector + `').textContent` }

	first := newBrowser(t)
	do := func(actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(first, actions...); err != nil {
			t.Fatal(err)
		}
	}
	read := func(expression string) string {
		t.Helper()
		got, err := chromedp.Run(first, chromedp.Evaluate[string](expression))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	narrow := func() {
		t.Helper()
		if read(`String(document.documentElement.scrollWidth > document.documentElement.clientWidth)`) != "false" {
			t.Errorf("the page %s is wider than the screen", read(`document.title`))
		}
	}

	// Signed in with the password alone, somebody who steps up sets a factor up.
	do(chromedp.EmulateViewport(320, 900), password(g.issuer+"/login"), chromedp.WaitVisible(chromedp.CSS(`#applications`)))
	do(password(authorize), chromedp.WaitVisible(chromedp.CSS(`svg[role="img"]`)))
	narrow()
	key := read(text(`dd code`))
	used := time.Now()
	do(chromedp.SendKeys(code, totp(t, key, used)+"\r"), chromedp.WaitVisible(chromedp.CSS(`.codes`)))
	narrow()
	recovery := read(text(`.codes code`))
	do(chromedp.Navigate(authorize), consent)

	// The rule asks everybody; the code, and a recovery code instead of it.
	if said := g.run(0, nil, "", "sign-in-policy", "set", "--second-factor", "required"); !strings.Contains(said, "required") {
		t.Errorf("the command says %q", said)
	}
	first = newBrowser(t)
	do(chromedp.EmulateViewport(320, 900), password(g.issuer+"/login"), chromedp.WaitVisible(code))
	narrow()
	if focused := read(`document.activeElement.name`); focused != "code" {
		t.Errorf("the keyboard is at %q", focused)
	}
	// The code of the next time step is good already, and was not used.
	do(chromedp.SendKeys(code, totp(t, key, used.Add(30*time.Second))+"\r"), chromedp.WaitVisible(chromedp.CSS(`#applications`)))
	do(chromedp.Navigate(authorize), consent)
	first = newBrowser(t)
	do(password(authorize), chromedp.WaitVisible(code), chromedp.SendKeys(code, recovery+"\r"), consent)
	do(chromedp.Navigate(g.issuer+"/account/security"), chromedp.WaitVisible(chromedp.CSS(`#codes`)))
	if left := read(text(`section:last-of-type p`)); left != "9 codes are left." {
		t.Errorf("left: %q", left)
	}
}
