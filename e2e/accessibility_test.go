package e2e

import (
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"grantd/templates"
)

// violation is what axe-core finds wrong with a page.
type violation struct {
	ID    string `json:"id"`
	Help  string `json:"help"`
	Nodes []struct {
		HTML string `json:"html"`
		Why  string `json:"failureSummary"`
	} `json:"nodes"`
}

// TestAccessibility has axe-core look at every page in every state that the golden
// files of the templates have, light and dark, at the width of a desk and at 320
// pixels, where nothing may be wider than the screen either (WCAG 2.2 §1.4.10).
func TestAccessibility(t *testing.T) {
	engine, err := os.ReadFile(filepath.Join(needTypeScript(t), "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(goldenPages(t))
	t.Cleanup(server.Close)
	pages := goldens(t)
	for _, look := range []struct {
		scheme string
		width  int64
	}{{"light", 900}, {"dark", 900}, {"light", 320}} {
		browser := newBrowser(t)
		if err := chromedp.Do(browser, chromedp.EmulateViewport(look.width, 1000), prefer(look.scheme)); err != nil {
			t.Fatal(err)
		}
		for _, page := range pages {
			ctx, cancel := context.WithTimeout(browser, time.Minute)
			found := findViolations(t, ctx, server.URL+"/"+page, string(engine))
			cancel()
			for _, v := range found {
				for _, node := range v.Nodes {
					t.Errorf("%s, %s, %d wide: %s (%s)\n%s\n%s", page, look.scheme, look.width, v.Help, v.ID, node.HTML, node.Why)
				}
			}
		}
	}
}

// findViolations returns what is wrong with the page at url.
func findViolations(t *testing.T, ctx context.Context, url, engine string) []violation { //nolint:revive // the test comes first, as everywhere
	t.Helper()
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	wide, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > document.documentElement.clientWidth`))
	if err != nil {
		t.Fatal(err)
	}
	if wide {
		t.Errorf("%s is wider than the screen", url)
	}
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool](engine+"\n;true")); err != nil {
		t.Fatal(err)
	}
	const run = `axe.run(document, {resultTypes: ['violations']}).then(r => JSON.stringify(r.violations))`
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](run, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	var found []violation
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		t.Fatal(err)
	}
	return found
}

// goldenPages serves the golden files, with the names that the assets have now.
func goldenPages(t *testing.T) http.Handler {
	t.Helper()
	return pagesIn(t, "../templates/testdata")
}

// pagesIn serves the files of a folder likewise.
func pagesIn(t *testing.T, folder string) http.Handler {
	t.Helper()
	assets, err := fs.ReadDir(templates.Assets(), ".")
	if err != nil {
		t.Fatal(err)
	}
	hash := regexp.MustCompile(`/[a-z]*/?assets/([a-z]+)\.(?:HASH|[0-9a-f]{12})\.([a-z]+)`)
	named := func(m string) string {
		parts := hash.FindStringSubmatch(m)
		for _, asset := range assets {
			if strings.HasPrefix(asset.Name(), parts[1]+".") && strings.HasSuffix(asset.Name(), "."+parts[2]) {
				return "/assets/" + asset.Name()
			}
		}
		t.Errorf("no asset for %s", m)
		return m
	}
	mux := http.NewServeMux()
	mux.Handle("/assets/", http.StripPrefix("/assets/", http.FileServerFS(templates.Assets())))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		text, err := fs.ReadFile(os.DirFS(folder), strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(hash.ReplaceAllFunc(text, func(m []byte) []byte { return []byte(named(string(m))) }))
	})
	return mux
}

// prefer sets the colour scheme that the person prefers.
func prefer(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}
