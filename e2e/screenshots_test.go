package e2e

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestScreenshots draws the pages, as the README shows them, into the folder that
// GRANTD_TEST_SCREENSHOTS names: light, dark, and at the width of a phone.
func TestScreenshots(t *testing.T) {
	folder := os.Getenv("GRANTD_TEST_SCREENSHOTS")
	if folder == "" {
		t.Skip("pictures are drawn when asked for: GRANTD_TEST_SCREENSHOTS=../docs/images")
	}
	g := startGrantd(t)
	g.create("users", map[string]any{"username": "demo", "email": "demo@example.com", "name": "Demo", "password": userPassword})
	g.create("resources", map[string]any{"uri": "https://notes.example.com/mcp", "name": "Notes", "scopes": []map[string]any{
		{"name": "notes:read", "description": "Read your notes", "tools": []string{"list_notes", "read_note"}},
		{"name": "notes:write", "description": "Add and change notes", "tools": []string{"add_note", "edit_note"}},
	}})
	client := g.create("clients", map[string]any{"client_name": "Writing desk", "redirect_uris": []string{"https://desk.example.com/callback"}, "token_endpoint_auth_method": "none"})
	authorize := g.issuer + "/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {client["client_id"].(string)}, "redirect_uri": {"https://desk.example.com/callback"},
		"code_challenge": {strings.Repeat("a", 43)}, "code_challenge_method": {"S256"},
	}.Encode()
	for _, look := range []struct {
		name, scheme  string
		width, height int64
	}{{"", "light", 900, 1000}, {"-dark", "dark", 900, 1000}, {"-phone", "light", 360, 1100}} {
		browser := newBrowser(t)
		draw := func(page string) {
			t.Helper()
			picture, err := chromedp.Run(browser, chromedp.CaptureScreenshot())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, page+look.name+".png"), picture, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := chromedp.Do(browser, chromedp.EmulateViewport(look.width, look.height), prefer(look.scheme), chromedp.Navigate(authorize)); err != nil {
			t.Fatal(err)
		}
		draw("login")
		if err := chromedp.Do(browser, signIn(authorize, "demo", userPassword)); err != nil {
			t.Fatal(err)
		}
		draw("consent")
		if err := chromedp.Do(browser, chromedp.Navigate(g.issuer+"/account")); err != nil {
			t.Fatal(err)
		}
		draw("account")
		if err := chromedp.Do(browser, chromedp.Navigate(g.issuer+"/authorize?client_id=unknown")); err != nil {
			t.Fatal(err)
		}
		draw("error")
	}
}
