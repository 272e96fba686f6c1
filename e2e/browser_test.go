package e2e

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// newBrowser opens a tab in a fresh headless Chromium. Without Chromium the test
// is skipped, or fails where GRANTD_TEST_REQUIRE_BROWSER is 1.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("GRANTD_TEST_REQUIRE_BROWSER") == "1" {
			t.Fatal("no Chromium on the PATH, and GRANTD_TEST_REQUIRE_BROWSER is 1")
		}
		t.Skip("no Chromium on the PATH: the tests in a browser do not run")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		cancel()
	})
	return ctx
}

// signIn opens an authorization URL and signs in, as a person would.
func signIn(url, username, password string) chromedp.Action[chromedp.Void] {
	return steps(
		chromedp.Navigate(url),
		chromedp.WaitVisible(chromedp.CSS(`input[name="username"]`)),
		chromedp.SendKeys(chromedp.CSS(`input[name="username"]`), username),
		chromedp.SendKeys(chromedp.CSS(`input[name="password"]`), password),
		chromedp.Click(chromedp.CSS(`form button[type="submit"]`)),
		chromedp.WaitVisible(chromedp.CSS(`button[name="decision"][value="approve"]`)),
	)
}

// press clicks Allow ("approve") or Deny ("deny") on a consent page.
func press(decision string) chromedp.Action[chromedp.Void] {
	button := chromedp.CSS(`button[name="decision"][value="` + decision + `"]`)
	return steps(chromedp.WaitVisible(button), chromedp.Click(button))
}

func steps(all ...chromedp.Action[chromedp.Void]) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		for _, step := range all {
			if _, err := step(ctx, t); err != nil {
				return chromedp.Void{}, err
			}
		}
		return chromedp.Void{}, nil
	}
}
