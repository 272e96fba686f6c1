package e2e

import (
	"io/fs"
	"net/http/httptest"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// goldens are the pages that can be looked at, in every state that the golden files of
// the templates have.
func goldens(t *testing.T) []string {
	t.Helper()
	pages, err := fs.Glob(os.DirFS("../templates/testdata"), "*.html")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	// That one leads away at once, and is continue.html otherwise.
	return slices.DeleteFunc(pages, func(page string) bool { return page == "continue_automatic.html" })
}

// TestEveryPageIsLookedAt finds a golden file of each page, so that no page is left out
// by the tests that look at them.
func TestEveryPageIsLookedAt(t *testing.T) {
	files, err := fs.Glob(os.DirFS("../templates/html"), "*.html")
	if err != nil {
		t.Fatal(err)
	}
	pages := goldens(t)
	for _, file := range files {
		name := strings.TrimSuffix(file, ".html")
		switch name {
		case "layout", "parts": // of all pages
			continue
		case "device_done":
			name = "device_connected"
		}
		if !slices.ContainsFunc(pages, func(page string) bool { return page == name+".html" || strings.HasPrefix(page, name+"_") }) {
			t.Errorf("no golden file shows %s", file)
		}
	}
}

// TestZoom looks at every page on a screen of 1280 pixels at 200 %, by zooming all and
// by enlarging the text alone (WCAG 2.2 §1.4.4): nothing may be cut off, overlap its
// neighbours' width, or need scrolling to the side.
func TestZoom(t *testing.T) {
	server := httptest.NewServer(goldenPages(t))
	t.Cleanup(server.Close)
	browser := newBrowser(t)
	const faults = `(() => {
		const found = [], wide = document.documentElement.clientWidth
		if (document.documentElement.scrollWidth > wide) found.push("the page is wider than the screen")
		for (const e of document.querySelectorAll("main *:not(.unseen):not(svg):not(svg *)")) {
			const box = e.getBoundingClientRect()
			if (box.width && (box.left < 0 || box.right > wide + 1)) found.push("beyond the screen: " + e.outerHTML.slice(0, 200))
			if (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "visible" && e.tagName !== "INPUT") found.push("cut off: " + e.outerHTML.slice(0, 200))
		}
		return found.join("\n")
	})()`
	for _, zoom := range []struct {
		name        string
		width       int64
		scale       float64
		enlargeText bool
	}{{"the page", 640, 2, false}, {"the text", 1280, 1, true}} {
		if err := chromedp.Do(browser, chromedp.EmulateViewport(zoom.width, 900, chromedp.EmulateScale(zoom.scale))); err != nil {
			t.Fatal(err)
		}
		for _, page := range goldens(t) {
			if err := chromedp.Do(browser, chromedp.Navigate(server.URL+"/"+page)); err != nil {
				t.Fatal(err)
			}
			script := faults
			if zoom.enlargeText {
				script = `document.documentElement.style.fontSize = "200%"; ` + faults
			}
			found, err := chromedp.Run(browser, chromedp.Evaluate[string](script))
			if err != nil {
				t.Fatal(err)
			}
			if found != "" {
				t.Errorf("%s, %s at 200 %%: %s", strings.TrimSuffix(path.Base(page), ".html"), zoom.name, found)
			}
		}
	}
}
