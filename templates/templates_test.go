package templates_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/templates"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func newSet(t *testing.T) *templates.Set {
	t.Helper()
	set, err := templates.New()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// The hash in an asset's name changes with every touch of the stylesheet; the
// golden files leave it out, TestEveryPage checks that the true names exist.
var assetHash = regexp.MustCompile(`(/assets/[a-z]+)\.[0-9a-f]{12}\.`)

func TestGolden(t *testing.T) {
	set := newSet(t)
	for _, f := range fixtures() {
		t.Run(f.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := f.render(set, &b); err != nil {
				t.Fatal(err)
			}
			got := assetHash.ReplaceAllString(b.String(), "$1.HASH.")
			file := f.name + ".html"
			if *update {
				if err := os.WriteFile(filepath.Join("testdata", file), []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := fs.ReadFile(os.DirFS("testdata"), file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("page differs from %s; look at it, then run with -update (-want +got):\n%s", file, diff)
			}
		})
	}
}

// TestEveryPage checks what the content security policy and people with a
// screen reader, a keyboard or a phone rely on, on every page.
func TestEveryPage(t *testing.T) {
	set := newSet(t)
	for _, f := range fixtures() {
		t.Run(f.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := f.render(set, &b); err != nil {
				t.Fatal(err)
			}
			page := parse(t, b.String())
			if got := only(t, "html", page.find("html")).attrs["lang"]; got != "en" {
				t.Errorf("lang = %q", got)
			}
			if got := only(t, "title", page.find("title")).words(); got == "" || strings.HasPrefix(got, "·") {
				t.Errorf("title = %q", got)
			}
			only(t, "viewport", page.find("meta", "name=viewport", "content=width=device-width, initial-scale=1"))
			only(t, "color-scheme", page.find("meta", "name=color-scheme", "content=light dark"))
			only(t, "main", page.find("main"))
			if only(t, "h1", page.find("h1")).words() == "" {
				t.Error("h1 is empty")
			}
			checkElements(t, page)
		})
	}
}

func checkElements(t *testing.T, page *node) {
	t.Helper()
	ids := map[string]bool{}
	for _, e := range page.all() {
		if id, ok := e.attrs["id"]; ok {
			if ids[id] {
				t.Errorf("id %q twice", id)
			}
			ids[id] = true
		}
	}
	labelled := map[string]bool{}
	for _, l := range page.find("label") {
		labelled[l.attrs["for"]] = l.words() != ""
	}
	// The one script there is asks the browser for passkeys, where a form needs it.
	if scripts := page.find("script"); len(scripts) > 0 {
		src := scripts[0].attrs["src"]
		asks := slices.ContainsFunc(page.find("form"), func(e *node) bool { return e.attrs["data-passkey"] != "" })
		if len(scripts) > 1 || !strings.Contains(src, "/assets/passkey.") || scripts[0].words() != "" || !asks {
			t.Errorf("<script src=%q> and %d more, with a form for a passkey: %v", src, len(scripts)-1, asks)
		}
	}
	forbidden := []string{"style", "iframe", "object", "embed", "base", "image", "foreignObject"}
	for _, e := range page.all() {
		if slices.Contains(forbidden, e.tag) {
			t.Errorf("<%s> on the page", e.tag)
		}
		for name, value := range e.attrs {
			switch {
			case name == "style" || strings.HasPrefix(name, "on"):
				t.Errorf("<%s %s=%q>", e.tag, name, value)
			case name == "src" || name == "href" && e.tag == "link":
				_, file, ok := strings.Cut(value, "/assets/")
				if _, err := fs.Stat(templates.Assets(), file); !ok || err != nil {
					t.Errorf("<%s> loads %q, which is no asset", e.tag, value)
				}
			case name == "aria-describedby" || name == "aria-labelledby" || name == "for":
				if !ids[value] {
					t.Errorf("<%s %s=%q> points nowhere", e.tag, name, value)
				}
			}
		}
		if e.tag == "input" && e.attrs["type"] != "hidden" && !labelled[e.attrs["id"]] {
			t.Errorf("input %q has no label", e.attrs["name"])
		}
		if e.tag == "img" {
			if _, ok := e.attrs["alt"]; !ok {
				t.Errorf("image without alt")
			}
		}
	}
}

const hostile = "\u202eevil\u2066\u200b\x00\x1b\u0085\ufeff<script>alert(1)</script>\" onload=\"alert(1)' {{7*7}} ${7*7}\n\U000e0041"

var somePasskey = templates.PasskeyForm{Options: "{}"}

// TestHostileStrings puts a hostile text into every string of every page.
func TestHostileStrings(t *testing.T) {
	set := newSet(t)
	consent := templates.ConsentPage{Scopes: []templates.ConsentScope{{Tools: []string{""}}, {Approved: true, Tools: make([]string, 20)}}}
	account := templates.AccountPage{Applications: []templates.Application{{Scopes: make([]templates.ConsentScope, 6)}}, Sessions: make([]templates.AccountSession, 2)}
	pages := map[string]struct {
		page   any
		render func(any, *bytes.Buffer) error
	}{
		"login with passkeys": {&templates.LoginPage{Passkey: somePasskey}, func(p any, b *bytes.Buffer) error { return set.Login(b, *p.(*templates.LoginPage)) }},
		"link for a passkey":  {&templates.LinkPage{Passkey: somePasskey}, func(p any, b *bytes.Buffer) error { return set.Link(b, *p.(*templates.LinkPage)) }},
		"passkey":             {&templates.PasskeyPage{Passkey: somePasskey}, func(p any, b *bytes.Buffer) error { return set.Passkey(b, *p.(*templates.PasskeyPage)) }},
		"security": {&templates.SecurityPage{Passkeys: make([]templates.AccountPasskey, 1)}, func(p any, b *bytes.Buffer) error {
			return set.Security(b, *p.(*templates.SecurityPage))
		}},
		"login":    {&templates.LoginPage{}, func(p any, b *bytes.Buffer) error { return set.Login(b, *p.(*templates.LoginPage)) }},
		"consent":  {&consent, func(p any, b *bytes.Buffer) error { return set.Consent(b, *p.(*templates.ConsentPage)) }},
		"device":   {&templates.DevicePage{}, func(p any, b *bytes.Buffer) error { return set.Device(b, *p.(*templates.DevicePage)) }},
		"continue": {&templates.ContinuePage{URL: "/"}, func(p any, b *bytes.Buffer) error { return set.Continue(b, *p.(*templates.ContinuePage)) }},
		"error":    {&templates.ErrorPage{}, func(p any, b *bytes.Buffer) error { return set.Error(b, *p.(*templates.ErrorPage)) }},
		"logout":   {&templates.LogoutPage{}, func(p any, b *bytes.Buffer) error { return set.Logout(b, *p.(*templates.LogoutPage)) }},
		"account":  {&account, func(p any, b *bytes.Buffer) error { return set.Account(b, *p.(*templates.AccountPage)) }},
		"revoke": {&templates.RevokePage{Applications: make([]templates.Application, 2)}, func(p any, b *bytes.Buffer) error {
			return set.Revoke(b, *p.(*templates.RevokePage))
		}},
		"password": {&templates.PasswordPage{}, func(p any, b *bytes.Buffer) error { return set.Password(b, *p.(*templates.PasswordPage)) }},
		"activity": {&templates.ActivityPage{Events: make([]templates.Activity, 2)}, func(p any, b *bytes.Buffer) error {
			return set.Activity(b, *p.(*templates.ActivityPage))
		}},
		"link":        {&templates.LinkPage{}, func(p any, b *bytes.Buffer) error { return set.Link(b, *p.(*templates.LinkPage)) }},
		"first admin": {&templates.LinkPage{FirstAdmin: true}, func(p any, b *bytes.Buffer) error { return set.Link(b, *p.(*templates.LinkPage)) }},
	}
	for name, c := range pages {
		t.Run(name, func(t *testing.T) {
			fill(reflect.ValueOf(c.page).Elem())
			var b bytes.Buffer
			if err := c.render(c.page, &b); err != nil {
				t.Fatal(err)
			}
			page := parse(t, b.String())
			checkElements(t, page)
			if !strings.Contains(page.text, "evil") {
				t.Fatal("the hostile text did not reach the page; the test proves nothing")
			}
			for _, r := range page.text {
				if r != '\n' && (r < ' ' || strings.ContainsRune("\u202e\u2066\u200b\u0085\ufeff\U000e0041", r)) {
					t.Errorf("%U reached the text of the page", r)
				}
			}
			if strings.Contains(page.text, "49") {
				t.Error("an expression was evaluated")
			}
		})
	}
}

// fill sets every string but URLs and paths, which have tests of their own.
func fill(v reflect.Value) {
	if _, isTime := v.Interface().(time.Time); isTime {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if name == "Passkey" && v.Field(i).IsZero() {
				continue // it changes what else is on the page
			}
			if strings.HasSuffix(name, "URL") || strings.HasSuffix(name, "Action") {
				continue
			}
			fill(v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.String:
		v.SetString(hostile)
	}
	// What the form returns unchanged cannot be cleaned. Its callers make these
	// values, in an alphabet without control characters.
	switch page := v.Addr().Interface().(type) {
	case *templates.ConsentPage:
		page.Approval = `"><script>`
	case *templates.AccountPage:
		page.Page = `"><script>`
	case *templates.AccountSession:
		page.ID = `"><script>`
	case *templates.RevokePage:
		page.Page, page.Grant = `"><script>`, `"><script>`
	case *templates.PasswordPage:
		page.Page = `"><script>`
	case *templates.LinkPage:
		page.Token = `"><script>`
	case *templates.PasskeyForm:
		page.Options, page.Challenge = `{"user":"\"><script>"}`, `"><script>`
	case *templates.PasskeyPage:
		page.Page = `"><script>`
	case *templates.SecurityPage:
		page.Page = `"><script>`
	case *templates.AccountPasskey:
		page.ID = `"><script>`
	case *templates.ConsentScope:
		page.Name = `"><script>`
	}
}

func TestFormActions(t *testing.T) {
	set := newSet(t)
	forms := map[string]func(string, *bytes.Buffer) error{
		"login":   func(u string, b *bytes.Buffer) error { return set.Login(b, templates.LoginPage{Action: u}) },
		"consent": func(u string, b *bytes.Buffer) error { return set.Consent(b, templates.ConsentPage{Action: u}) },
		"device":  func(u string, b *bytes.Buffer) error { return set.Device(b, templates.DevicePage{Action: u}) },
		"logout":  func(u string, b *bytes.Buffer) error { return set.Logout(b, templates.LogoutPage{Action: u}) },
		"account": func(u string, b *bytes.Buffer) error {
			return set.Account(b, templates.AccountPage{LogoutAction: u})
		},
		"revoke":   func(u string, b *bytes.Buffer) error { return set.Revoke(b, templates.RevokePage{Action: u}) },
		"password": func(u string, b *bytes.Buffer) error { return set.Password(b, templates.PasswordPage{Action: u}) },
		"link":     func(u string, b *bytes.Buffer) error { return set.Link(b, templates.LinkPage{Action: u}) },
	}
	kept := []string{"/login", "/a/login?x=%20+%2B&y=a:b&z=%3C", "?client_id=https://c.example/a", ""}
	refused := []string{"https://evil.example/", "//evil.example/", `/\evil.example`, `\\evil.example`, "javascript:alert(1)", "mailto:a@b.example", "/\x00"}
	for name, render := range forms {
		for _, u := range kept {
			var b bytes.Buffer
			if err := render(u, &b); err != nil {
				t.Errorf("%s: %q: %v", name, u, err)
				continue
			}
			if got := only(t, "form", parse(t, b.String()).find("form", "method=post")).attrs["action"]; got != u {
				t.Errorf("%s: action = %q, want %q", name, got, u)
			}
		}
		for _, u := range refused {
			var b bytes.Buffer
			if err := render(u, &b); !errors.Is(err, templates.ErrUnsafeURL) || b.Len() != 0 {
				t.Errorf("%s: %q: error %v after %d bytes, want ErrUnsafeURL and nothing written", name, u, err, b.Len())
			}
		}
	}
}

func TestLinks(t *testing.T) {
	set := newSet(t)
	cases := []struct {
		url string
		ok  bool
	}{
		{"https://claude.ai/cb?code=ac_1&state=a%2Bb+c&iss=https%3A%2F%2Fa.example", true},
		{"http://127.0.0.1:33418/cb?code=1", true},
		{"http://[::1]:1/cb", true},
		{"http://localhost:6274/cb#f", true},
		{"cursor://anysphere.cursor-mcp/oauth/callback?code=1&state=2", true},
		{"com.example.app:/cb?code=1", true},
		{"vscode://vscode.example-ext/cb", true},
		{"/account", true},
		{"http://client.example/cb", false},
		{"http://127.0.0.1.evil.example/", false},
		{"https:///nohost", false},
		{"javascript:alert(1)", false},
		{"JavaScript:alert(1)", false},
		{" javascript:alert(1)", false},
		{"java\tscript:alert(1)", false},
		{"\x01javascript:alert(1)", false},
		{"javascript://claude.ai/%0aalert(1)", false},
		{"data:text/html,<script>alert(1)</script>", false},
		{"vbscript:msgbox(1)", false},
		{"blob:https://claude.ai/x", false},
		{"filesystem:https://claude.ai/x", false},
		{"file:///etc/passwd", false},
		{"//evil.example/", false},
		{`/\evil.example/`, false},
		{`\\evil.example\x`, false},
		{"evil.example", false},
		{"", false},
	}
	for _, c := range cases {
		t.Run(c.url, func(t *testing.T) {
			var b bytes.Buffer
			err := set.Continue(&b, templates.ContinuePage{URL: c.url, Host: "somewhere.example", Automatic: true})
			var failed bytes.Buffer
			if err := set.Error(&failed, templates.ErrorPage{Title: "No", ReturnURL: c.url}); err != nil {
				t.Fatalf("Error: %v", err)
			}
			back := parse(t, failed.String()).find("a")
			if !c.ok {
				if !errors.Is(err, templates.ErrUnsafeURL) || b.Len() != 0 {
					t.Errorf("Continue: error %v after %d bytes, want ErrUnsafeURL and nothing written", err, b.Len())
				}
				if len(back) != 0 {
					t.Errorf("Error links to %q", back[0].attrs["href"])
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			page := parse(t, b.String())
			if got := only(t, "link", page.find("a")).attrs["href"]; got != c.url {
				t.Errorf("href = %q", got)
			}
			if got := only(t, "refresh", page.find("meta", "http-equiv=refresh")).attrs["content"]; got != "0;url="+c.url {
				t.Errorf("refresh = %q", got)
			}
			if got := only(t, "return link", back).attrs["href"]; got != c.url {
				t.Errorf("return href = %q", got)
			}
		})
	}
}

func TestContinueWaits(t *testing.T) {
	page := renderFixture(t, "continue")
	if found := page.find("meta", "http-equiv"); len(found) != 0 {
		t.Error("the page goes by itself though not Automatic")
	}
}

func TestNewRefuses(t *testing.T) {
	files := func() fstest.MapFS {
		m := fstest.MapFS{}
		entries, err := os.ReadDir("html")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			text, err := os.ReadFile(filepath.Join("html", e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			m["html/"+e.Name()] = &fstest.MapFile{Data: text}
		}
		return m
	}
	if _, err := templates.NewFrom(files()); err != nil {
		t.Fatalf("the files as they are: %v", err)
	}
	cases := map[string]struct {
		change func(fstest.MapFS)
		says   string
	}{
		"unclaimed file": {func(m fstest.MapFS) { m["html/extra.html"] = &fstest.MapFile{} }, "extra.html"},
		"missing page":   {func(m fstest.MapFS) { delete(m, "html/consent.html") }, "consent.html"},
		"missing layout": {func(m fstest.MapFS) { delete(m, "html/layout.html") }, "layout.html"},
		"syntax":         {func(m fstest.MapFS) { m["html/login.html"].Data = []byte("{{if}}") }, "login.html"},
		"unknown part": {func(m fstest.MapFS) {
			m["html/login.html"].Data = []byte(`{{define "title"}}{{end}}{{define "main"}}{{template "nowhere"}}{{end}}`)
		}, "nowhere"},
		"unknown field": {func(m fstest.MapFS) {
			m["html/login.html"].Data = []byte(`{{define "title"}}{{end}}{{define "main"}}{{.Nickname}}{{end}}`)
		}, "Nickname"},
		"unknown asset": {func(m fstest.MapFS) {
			m["html/login.html"].Data = []byte(`{{define "title"}}{{end}}{{define "main"}}{{asset "no.css"}}{{end}}`)
		}, "no.css"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := files()
			c.change(m)
			if _, err := templates.NewFrom(m); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error = %v, want one that names %s", err, c.says)
			}
		})
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken pipe")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteErrorIsReturned(t *testing.T) {
	if err := newSet(t).Login(brokenWriter{}, templates.LoginPage{}); !errors.Is(err, errBroken) {
		t.Errorf("error = %v", err)
	}
}

// TestPagesDoNotMix: pages that are made side by side, or after one that failed halfway or
// was never taken, have nothing of each other.
func TestPagesDoNotMix(t *testing.T) {
	set := newSet(t)
	var making sync.WaitGroup
	for i := range 8 {
		making.Go(func() {
			for n := range 50 {
				own := fmt.Sprintf("page-%d-%d", i, n)
				_ = set.Login(brokenWriter{}, templates.LoginPage{Action: "/login", Username: "taken-" + own})
				if err := set.Continue(io.Discard, templates.ContinuePage{URL: "javascript:" + own}); err == nil {
					t.Error("an unsafe URL is on a page")
				}
				var b bytes.Buffer
				if err := set.Login(&b, templates.LoginPage{Action: "/login", Username: own}); err != nil {
					t.Error(err)
				}
				if got := b.String(); strings.Count(got, "page-") != strings.Count(got, own) || !strings.Contains(got, own) || strings.Count(got, "</html>") != 1 {
					t.Errorf("the page of %s is\n%s", own, got)
				}
			}
		})
	}
	making.Wait()
}
