package e2e

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"grantd/templates"
)

// TestAccessibilityInEveryLanguage looks at every page in every state in every language
// but English, which TestAccessibility does: at 320 pixels none may be wider than the
// screen, whatever long words it has, and axe-core has nothing against any page, each in
// the one state that has the most on it.
func TestAccessibilityInEveryLanguage(t *testing.T) {
	engine, err := os.ReadFile(filepath.Join(needTypeScript(t), "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	command := exec.CommandContext(t.Context(), "go", "test", "grantd/templates", "-run", "^TestWritePages$", "-count=1", "-args", "-pages", folder)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("the pages could not be written: %v\n%s", err, out)
	}
	server := httptest.NewServer(pagesIn(t, folder))
	t.Cleanup(server.Close)
	pages := goldens(t)
	judged := fullest(t, pages)
	for _, language := range templates.Languages[1:] {
		t.Run(language, func(t *testing.T) {
			browser := newBrowser(t)
			if err := chromedp.Do(browser, chromedp.EmulateViewport(320, 1000), prefer("light")); err != nil {
				t.Fatal(err)
			}
			for _, page := range pages {
				look(t, browser, server.URL+"/"+language+"/"+page, language, judged[page], string(engine))
			}
		})
	}
}

// look opens a page, measures it and, if it is judged, has the engine look at it.
func look(t *testing.T, browser context.Context, url, language string, judged bool, engine string) { //nolint:revive // the test comes first, as everywhere
	t.Helper()
	ctx, cancel := context.WithTimeout(browser, time.Minute)
	defer cancel()
	if !judged {
		if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
			t.Fatal(err)
		}
	} else {
		for _, v := range findViolations(t, ctx, url, engine) {
			t.Errorf("%s: %s (%s)\n%+v", url, v.Help, v.ID, v.Nodes)
		}
	}
	const measure = `document.documentElement.lang + (document.documentElement.scrollWidth > document.documentElement.clientWidth ? " wide" : "")`
	if said, err := chromedp.Run(ctx, chromedp.Evaluate[string](measure)); err != nil || said != language {
		t.Errorf("%s is %q: %v", url, said, err)
	}
}

// fullest are the golden files of which each is the longest of its page.
func fullest(t *testing.T, pages []string) map[string]bool {
	t.Helper()
	longest, size := map[string]string{}, map[string]int64{}
	for _, page := range pages {
		info, err := os.Stat(filepath.Join("../templates/testdata", page))
		if err != nil {
			t.Fatal(err)
		}
		name, state, _ := strings.Cut(strings.TrimSuffix(page, ".html"), "_")
		if name == "device" && (state == "connected" || state == "denied") {
			name = "device_done"
		}
		if info.Size() > size[name] && info.Size() < 30_000 { // forty scopes are no other page
			longest[name], size[name] = page, info.Size()
		}
	}
	judged := map[string]bool{}
	for _, page := range longest {
		judged[page] = true
	}
	return judged
}
