package e2e

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestTabOnEveryPage goes through every page in every state with the Tab key: it must come
// to each link, button and field once, in the order in which they stand there, be caught
// by none, and the focus must be seen everywhere (WCAG 2.2 §2.1.1, §2.1.2, §2.4.3, §2.4.7).
func TestTabOnEveryPage(t *testing.T) {
	server := httptest.NewServer(goldenPages(t))
	t.Cleanup(server.Close)
	browser := newBrowser(t)
	if err := chromedp.Do(browser, chromedp.EmulateViewport(900, 1000)); err != nil {
		t.Fatal(err)
	}
	for _, page := range goldens(t) {
		if err := chromedp.Do(browser, chromedp.Navigate(server.URL+"/"+page)); err != nil {
			t.Fatal(err)
		}
		stops, unseen := tabThrough(t, browser)
		if len(unseen) > 0 {
			t.Errorf("%s: the focus is not seen on %s", page, strings.Join(unseen, ", "))
		}
		if first := slices.Index(stops, 0); first >= 0 { // an autofocus begins elsewhere
			stops = slices.Concat(stops[first:], stops[:first])
		}
		for i, stop := range stops {
			if i != stop {
				t.Errorf("%s: Tab comes to the links, buttons and fields in the order %v", page, stops)
				break
			}
		}
	}
}

// tabThrough presses Tab until it has been everywhere. It returns at which of the page's
// stops it came by, by their place on the page, and where the focus cannot be seen.
func tabThrough(t *testing.T, browser context.Context) (stops []int, unseen []string) { //nolint:revive // the test comes first, as everywhere
	t.Helper()
	n, err := chromedp.Run(browser, chromedp.Evaluate[int](`(window.stops = [...document.querySelectorAll("a[href], button, input, select, textarea, summary")]
		.filter(e => e.tabIndex >= 0 && !e.disabled && e.type !== "hidden" && e.checkVisibility())).length`))
	if err != nil {
		t.Fatal(err)
	}
	for range n + 1 { // once it is at the window itself, or at the page
		if err := chromedp.Do(browser, chromedp.KeyEvent("\t")); err != nil {
			t.Fatal(err)
		}
		at, err := chromedp.Run(browser, chromedp.Evaluate[string](`(e => window.stops.indexOf(e) + (getComputedStyle(e).outlineStyle === "none" ? " " + e.outerHTML.slice(0, 100) : ""))(document.activeElement)`))
		if err != nil {
			t.Fatal(err)
		}
		var stop int
		if _, err := fmt.Sscanf(at, "%d", &stop); err != nil {
			t.Fatal(err)
		}
		if stop < 0 || slices.Contains(stops, stop) {
			continue
		}
		stops = append(stops, stop)
		if _, where, hidden := strings.Cut(at, " "); hidden {
			unseen = append(unseen, where)
		}
	}
	if len(stops) != n {
		t.Errorf("Tab comes to %d of %d links, buttons and fields", len(stops), n)
	}
	return stops, unseen
}
