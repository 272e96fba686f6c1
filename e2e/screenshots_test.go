package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// TestScreenshots draws every page in every state that the golden files of the
// templates have, into the folder that GRANTD_TEST_SCREENSHOTS names: light, dark, and
// at the width of a phone. `make screenshots` does it for docs/screenshots.
func TestScreenshots(t *testing.T) {
	folder := os.Getenv("GRANTD_TEST_SCREENSHOTS")
	if folder == "" {
		folder = t.TempDir() // that every page can be drawn is checked; who wants the pictures names a folder
	}
	server := httptest.NewServer(goldenPages(t))
	t.Cleanup(server.Close)
	browser := newBrowser(t)
	for _, look := range []struct {
		name, scheme  string
		width, height int64
	}{{"light", "light", 640, 480}, {"dark", "dark", 640, 480}, {"phone", "light", 360, 640}} {
		if err := chromedp.Do(browser, chromedp.EmulateViewport(look.width, look.height), prefer(look.scheme)); err != nil {
			t.Fatal(err)
		}
		for _, file := range goldens(t) {
			if err := chromedp.Do(browser, chromedp.Navigate(server.URL+"/"+file)); err != nil {
				t.Fatal(err)
			}
			picture, err := chromedp.Run(browser, wholePage)
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(file, ".html") + "." + look.name + ".webp"
			if err := os.WriteFile(filepath.Join(folder, name), picture, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	index(t, filepath.Join(folder, "README.md"))
}

// index writes the table of the pictures anew, which ends their README; where there is
// none, nothing.
func index(t *testing.T, readme string) {
	t.Helper()
	const head = "| --- | --- | --- | --- |\n"
	text, err := os.ReadFile(readme)
	before, _, found := strings.Cut(string(text), head)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !found {
		return
	} else if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(before + head)
	for _, file := range goldens(t) {
		name := strings.TrimSuffix(file, ".html")
		fmt.Fprintf(&b, "| %s | [light](%[2]s.light.webp) | [dark](%[2]s.dark.webp) | [phone](%[2]s.phone.webp) |\n", strings.ReplaceAll(name, "_", " "), name)
	}
	if err := os.WriteFile(readme, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// wholePage draws all of the page, also what must be scrolled to.
func wholePage(ctx context.Context, target *chromedp.Target) ([]byte, error) {
	beyond, quality := true, int64(40)
	picture, err := cdp.Call(ctx, target, page.CaptureScreenshot, page.CaptureScreenshotParams{
		Format: page.CaptureScreenshotFormatWebp, Quality: &quality, CaptureBeyondViewport: &beyond,
	})
	if err != nil {
		return nil, err
	}
	return picture.Data, nil
}
