package e2e

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// manner is how a person uses their browser.
type manner struct {
	name       string
	width      int64 // of the screen, in CSS pixels
	scale      float64
	scheme     string
	byKeyboard bool // else with a mouse
	scripts    bool
}

// manners are those in which every journey is gone. 640 pixels at a scale of 2 are a
// screen of 1280 at a zoom of 200 % (WCAG 2.2 §1.4.4), 320 those of §1.4.10.
var manners = []manner{
	{name: "by keyboard, 320 pixels wide, dark", width: 320, scale: 1, scheme: "dark", byKeyboard: true, scripts: true},
	{name: "without scripts, at 200 %", width: 640, scale: 2, scheme: "light"},
}

// walk is a person who goes from page to page in one manner.
type walk struct {
	*desk
	manner
	met    map[string]bool // the headings of the pages that they came to
	tokens map[string]any  // what the client was given last
}

func newWalk(t *testing.T, d *desk, m manner) *walk {
	t.Helper()
	w := &walk{desk: d, manner: m, met: map[string]bool{}}
	w.do(chromedp.EmulateViewport(w.width, 900, chromedp.EmulateScale(w.scale)), prefer(w.scheme))
	if !w.scripts {
		w.do(noScripts())
	}
	return w
}

// another goes on as in a browser that knows nothing.
func (w *walk) another() {
	w.t.Helper()
	w.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.ClearBrowserCookies, cdp.Empty{})
		return err
	}))
}

// open goes to an address, which leads to the page with the heading.
func (w *walk) open(url, heading string) {
	w.t.Helper()
	w.do(chromedp.Navigate(url))
	w.at(heading)
}

// at waits for the page with the heading, which must not be wider than the screen.
func (w *walk) at(heading string) {
	w.t.Helper()
	w.until(`document.querySelector("h1") && document.querySelector("h1").innerText === ` + strconv.Quote(heading))
	w.met[heading] = true
	if w.read(`String(document.documentElement.scrollWidth > document.documentElement.clientWidth)`) != "false" {
		w.t.Errorf("%q is wider than the screen", heading)
	}
}

// sees waits for words on the page.
func (w *walk) sees(words string) {
	w.t.Helper()
	w.until(`document.body.innerText.includes(` + strconv.Quote(words) + `)`)
}

func (w *walk) read(expression string) string {
	w.t.Helper()
	text, err := chromedp.Run(w.browser, chromedp.Evaluate[string](expression))
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// reachElement has the focus go to the element, if it is not there.
func (w *walk) reachElement(css string) {
	w.t.Helper()
	quoted, err := json.Marshal(css)
	if err != nil {
		w.t.Fatal(err)
	}
	if matches := `e.matches(` + string(quoted) + `)`; w.read(`String((e => `+matches+`)(document.activeElement))`) != "true" {
		w.reach(matches)
	}
}

// fill types into fields, given as names and texts.
func (w *walk) fill(pairs ...string) {
	w.t.Helper()
	for pair := range slices.Chunk(pairs, 2) {
		field := `input[name="` + pair[0] + `"]`
		w.read("document.querySelector(`" + field + "`).value = ''") // what stood there is deleted
		if !w.byKeyboard {
			w.do(chromedp.SendKeys(chromedp.CSS(field), pair[1]))
			continue
		}
		w.reachElement(field)
		w.do(chromedp.KeyEvent(pair[1]))
	}
}

// tick changes a checkbox.
func (w *walk) tick(css string) { w.act(css, " ") }

// press uses a button or a link.
func (w *walk) press(css string) { w.act(css, enter) }

func (w *walk) act(css, key string) {
	w.t.Helper()
	if !w.byKeyboard {
		w.do(chromedp.Click(chromedp.CSS(css)))
		return
	}
	w.reachElement(css)
	w.do(chromedp.KeyEvent(key))
}

const submit = `main form button[type="submit"]`

// signIn fills in the sign-in page.
func (w *walk) signIn(username string) {
	w.t.Helper()
	w.at("Sign in")
	w.fill("username", username, "password", userPassword)
	w.press(submit)
}

// code fills in a page that asks for a code.
func (w *walk) code(code string) {
	w.t.Helper()
	w.fill("code", code)
	w.press(`main form:has([name="code"]) button[type="submit"]`)
}

// setUp goes through the page that sets up an authenticator app, and the recovery codes
// after it. It returns the key and when its code was used, and the first recovery code.
func (w *walk) setUp() (key string, used time.Time, recovery string) {
	w.t.Helper()
	w.at("Set up an authenticator app")
	key, used = w.read(`document.querySelector("dd code").textContent`), time.Now()
	w.code(totp(w.t, key, used))
	w.at("Your recovery codes")
	recovery = w.read(`document.querySelector(".codes code").textContent`)
	w.press(`a.button.primary`)
	return key, used, recovery
}

// again is a code of the app that was not used: that of the next time step is good
// already.
func again(t *testing.T, key string, used time.Time) string {
	return totp(t, key, used.Add(30*time.Second))
}

// linkIn is the link that the command printed.
func linkIn(t *testing.T, printed string) string {
	t.Helper()
	for field := range strings.FieldsSeq(printed) {
		if strings.Contains(field, "/account/link?token=") {
			return field
		}
	}
	t.Fatalf("no link in %q", printed)
	return ""
}
