package templates_test

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"grantd/templates"
)

const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>`

func TestLooks(t *testing.T) {
	set, err := templates.NewWith(templates.Looks{
		Name: "Träume & Söhne", Logo: []byte(svg), Color: "#ffd400",
		Folder: fstest.MapFS{"logout.html": {Data: []byte(`{{define "title"}}{{t "Sign out"}}{{end}}{{define "main"}}<h1>{{t "Sign out"}}</h1><p>Ours</p>{{end}}`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := set.Login(&b, templates.LoginPage{}); err != nil {
		t.Fatal(err)
	}
	page := parse(t, b.String())
	if got := only(t, "brand", page.class("brand")).words(); got != "Träume & Söhne" {
		t.Errorf("brand = %q", got)
	}
	if got := only(t, "title", page.find("title")).words(); got != "Sign in · Träume & Söhne" {
		t.Errorf("title = %q", got)
	}
	_, logo, _ := strings.Cut(only(t, "logo", page.find("img")).attrs["src"], "/assets/")
	if content, err := fs.ReadFile(set.Assets(), logo); err != nil || string(content) != svg || !strings.HasSuffix(logo, ".svg") {
		t.Errorf("logo %s: %q, %v", logo, content, err)
	}
	if n := len(page.find("link", "rel=stylesheet")); n != 2 {
		t.Errorf("%d style sheets, want the pages' and the colour's", n)
	}
	b.Reset()
	if err := set.Logout(templates.Writer{Writer: &b, Language: "de"}, templates.LogoutPage{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "Ours") || !strings.Contains(b.String(), "Abmelden") {
		t.Errorf("the folder's page is not shown, or not in German: %s", b.String())
	}
}

// What an operator's page says is escaped for where it stands, which need not be text or
// a quoted attribute.
func TestOwnPageIsEscapedForItsContext(t *testing.T) {
	const page = `{{define "title"}}{{t "Sign out"}}{{end}}{{define "main"}}<p title={{t "Back to your account"}}>{{t "Sign out"}}</p>` +
		`<a href="{{t "javascript:alert(1)"}}">{{t "Sign out"}}</a>{{end}}`
	set, err := templates.NewWith(templates.Looks{Folder: fstest.MapFS{"logout.html": {Data: []byte(page)}}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := set.Logout(&b, templates.LogoutPage{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `<p title=Back&#32;to&#32;your&#32;account>`) || strings.Contains(b.String(), "javascript:") {
		t.Errorf("it is not escaped as it must be:\n%s", b.String())
	}
}

// A style sheet in the folder takes the place of the built-in one, under a name of its
// own, on every page.
func TestOwnStyleSheet(t *testing.T) {
	const css = "body { color: #123456; }\n"
	folder := func(content string) fs.FS { return fstest.MapFS{"style.css": {Data: []byte(content)}} }
	set, err := templates.NewWith(templates.Looks{Color: "#1a5fb4", Folder: folder(css)})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := set.Logout(&b, templates.LogoutPage{}); err != nil {
		t.Fatal(err)
	}
	sheets := parse(t, b.String()).find("link", "rel=stylesheet")
	if len(sheets) != 2 {
		t.Fatalf("%d style sheets, want this one and the colour's", len(sheets))
	}
	_, name, _ := strings.Cut(sheets[0].attrs["href"], "/assets/")
	if content, err := fs.ReadFile(set.Assets(), name); err != nil || string(content) != css {
		t.Errorf("%s: %q, %v", name, content, err)
	}
	if all, err := fs.Glob(set.Assets(), "style.*.css"); err != nil || len(all) != 1 {
		t.Errorf("%q, %v", all, err)
	}
	if builtIn, err := fs.Glob(newSet(t).Assets(), "style.*.css"); err != nil || len(builtIn) != 1 || builtIn[0] == name {
		t.Errorf("the built-in one is %q, %v", builtIn, err)
	}
	if _, err := templates.NewWith(templates.Looks{Folder: folder(strings.Repeat(" ", 1<<20))}); err == nil || !strings.Contains(err.Error(), "style.css") {
		t.Errorf("an enormous one: %v", err)
	}
}

// Whatever colour an organisation has, text in it and on it can be read (WCAG 1.4.3).
func TestBrandColourIsReadable(t *testing.T) {
	for _, color := range []string{"#000000", "#ffffff", "#ffd400", "#ff0000", "#00ff00", "#0000ff", "#808080", "#1a5fb4"} {
		set, err := templates.NewWith(templates.Looks{Color: color})
		if err != nil {
			t.Fatal(err)
		}
		names, err := fs.Glob(set.Assets(), "brand.*.css")
		if err != nil || len(names) != 1 {
			t.Fatalf("%q, %v", names, err)
		}
		css, err := fs.ReadFile(set.Assets(), names[0])
		if err != nil {
			t.Fatal(err)
		}
		own, ownDark := schemes(t, strings.ReplaceAll(string(css), "; ", ";\n"))
		for name, c := range map[string]struct {
			colours     map[string]string
			card, other string
		}{"light": {own, "#ffffff", "#f3f5f2"}, "dark": {ownDark, "#161d1a", "#0d1210"}} {
			for _, pair := range [][2]string{
				{c.colours["accent"], c.card},
				{c.colours["accent"], c.other},
				{c.colours["accent-strong"], c.card},
				{c.colours["on-accent"], c.colours["accent"]},
				{c.colours["on-accent"], c.colours["accent-strong"]},
			} {
				if got := contrast(t, pair[0], pair[1]); got < 4.5 {
					t.Errorf("%s %s: %s on %s is %.2f:1", color, name, pair[0], pair[1], got)
				}
			}
		}
	}
}

func TestLooksRefused(t *testing.T) {
	page := func(name, main string) templates.Looks {
		return templates.Looks{Folder: fstest.MapFS{name: {Data: []byte(`{{define "title"}}x{{end}}{{define "main"}}` + main + `{{end}}`)}}}
	}
	for name, c := range map[string]struct {
		looks templates.Looks
		want  error
		says  string
	}{
		"a colour in words":       {templates.Looks{Color: "red"}, templates.ErrColor, ""},
		"a colour that ends CSS":  {templates.Looks{Color: "#12345}"}, templates.ErrColor, ""},
		"a logo in HTML":          {templates.Looks{Logo: []byte("<html>")}, templates.ErrLogo, ""},
		"a JPEG":                  {templates.Looks{Logo: []byte("\xff\xd8\xff")}, templates.ErrLogo, ""},
		"an enormous logo":        {templates.Looks{Logo: []byte(svg + strings.Repeat(" ", 1<<20))}, templates.ErrLogo, ""},
		"an invisible name":       {templates.Looks{Name: "a\u202eb"}, templates.ErrName, ""},
		"a page nobody shows":     {page("logn.html", ""), nil, "logn.html"},
		"a page that ends early":  {page("login.html", "{{if .Username}}"), nil, "login.html"},
		"a field in a branch":     {page("login.html", "{{if .Username}}{{.Nickname}}{{end}}"), nil, "Nickname"},
		"a field where it is not": {page("login.html", "{{if not .Verified}}{{.Nickname}}{{end}}"), nil, "Nickname"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := templates.NewWith(c.looks)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error = %v, want %v %s", err, c.want, c.says)
			}
		})
	}
}

// TestOwnTemplates: a page of an organisation's own may call templates of grantd, put its
// own in the place of one, and call itself.
func TestOwnTemplates(t *testing.T) {
	const page = `{{define "title"}}Ours{{end}}
{{define "problem"}}[{{.}}]{{end}}
{{define "again"}}{{if eq . "start"}}{{template "once" "end"}}{{else}}({{.}}){{end}}{{end}}
{{define "once"}}{{template "again" .}}{{end}}
{{define "main"}}{{template "problem" "x"}}{{template "again" "start"}}{{template "icon-info"}}{{end}}`
	set, err := templates.NewWith(templates.Looks{Folder: fstest.MapFS{"error.html": {Data: []byte(page)}}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := set.Error(&b, templates.ErrorPage{}); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, "[x](end)<svg") || !strings.Contains(got, "<title>Ours · grantd</title>") {
		t.Errorf("the page is\n%s", got)
	}
	for call, says := range map[string]string{
		`{{template "no-such"}}`: "no-such",
		`{{template ""}}`:        "empty template",
		`{{if eq language "ja"}}{{template "no-such"}}{{end}}`: "no-such",
		`{{if eq language "ja"}}{{index .Title 1000}}{{end}}`:  "index", // only the Japanese would have seen it
	} {
		broken := strings.Replace(page, `{{template "icon-info"}}`, call, 1)
		if _, err := templates.NewWith(templates.Looks{Folder: fstest.MapFS{"error.html": {Data: []byte(broken)}}}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", call, err)
		}
	}
}
