package walk

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// page is what a browser makes of an HTTP answer: a redirect, or a document with
// forms.
type page struct {
	url      *url.URL
	status   int
	redirect *url.URL // nil: it is a document
	title    string
	alerts   []string // what role="alert" tells
	forms    []*form
}

// form is an HTML form with its controls in document order (HTML §4.10.21).
type form struct {
	method, action string
	controls       []control
}

type control struct {
	name, value string
	kind        string // the type of an input; "submit" for a button
	checked     bool
}

// parse reads the document.
func (p *page) parse(r io.Reader) error {
	root, err := html.Parse(r)
	if err != nil {
		return err
	}
	byID := make(map[string]*form)
	var within func(node *html.Node, around *form)
	within = func(node *html.Node, around *form) {
		if node.Type == html.ElementNode {
			switch node.DataAtom {
			case atom.Title:
				p.title = text(node)
			case atom.Form:
				around = &form{method: attribute(node, "method"), action: attribute(node, "action")}
				p.forms = append(p.forms, around)
				byID[attribute(node, "id")] = around
			case atom.Input, atom.Button:
				owner := around
				if id := attribute(node, "form"); id != "" {
					owner = byID[id]
				}
				owner.add(node)
			}
			if attribute(node, "role") == "alert" {
				p.alerts = append(p.alerts, text(node))
			}
		}
		for child := node.FirstChild; child != nil; child = child.NextSibling {
			within(child, around)
		}
	}
	within(root, nil)
	return nil
}

// add takes a control into the form. A disabled or nameless one is never sent.
func (f *form) add(node *html.Node) {
	if f == nil || has(node, "disabled") || attribute(node, "name") == "" {
		return
	}
	kind := strings.ToLower(attribute(node, "type"))
	if node.DataAtom == atom.Button && kind == "" {
		kind = "submit"
	}
	value := attribute(node, "value")
	if value == "" && (kind == "checkbox" || kind == "radio") && !has(node, "value") {
		value = "on"
	}
	f.controls = append(f.controls, control{
		name: attribute(node, "name"), value: value, kind: kind, checked: has(node, "checked"),
	})
}

// formWith returns the page's form that has all these fields, or nil.
func (p *page) formWith(names ...string) *form {
	for _, f := range p.forms {
		missing := func(name string) bool {
			return !slices.ContainsFunc(f.controls, func(c control) bool { return c.name == name })
		}
		if !slices.ContainsFunc(names, missing) {
			return f
		}
	}
	return nil
}

// complaint is what the page alerts a person to, as ": ...".
func (p *page) complaint() string {
	if len(p.alerts) == 0 {
		return ""
	}
	return ": " + strings.Join(p.alerts, " ")
}

// offers reports whether a button or radio button of that name has the value.
func (f *form) offers(name, value string) bool {
	return slices.ContainsFunc(f.controls, func(c control) bool {
		return c.name == name && c.value == value && (c.kind == "submit" || c.kind == "radio")
	})
}

// tickAll ticks every checkbox of that name and returns their values.
func (f *form) tickAll(name string) []string {
	var values []string
	for i, c := range f.controls {
		if c.name == name && c.kind == "checkbox" {
			f.controls[i].checked = true
			values = append(values, c.value)
		}
	}
	return values
}

// submit is the request that pressing the button name=value sends, with these
// fields typed in. An empty name presses a button without one.
func (f *form) submit(ctx context.Context, from *url.URL, name, value string, typed map[string]string) (*http.Request, error) {
	if !strings.EqualFold(f.method, http.MethodPost) {
		return nil, failed("a form that is posted", "its method was %q", f.method)
	}
	action, err := from.Parse(f.action) // empty: the page's own URL
	if err != nil {
		return nil, failed("a form with a URL as its action", "it could not be understood")
	}
	fields := url.Values{}
	for _, c := range f.controls {
		switch text, isTyped := typed[c.name]; {
		case isTyped:
			fields.Set(c.name, text)
		case c.name == name && (c.kind == "submit" || c.kind == "radio"):
			if c.value == value {
				fields.Set(name, value)
			}
		case c.kind == "submit" || c.kind == "button" || c.kind == "reset" || c.kind == "image" || c.kind == "file":
		case (c.kind == "checkbox" || c.kind == "radio") && !c.checked:
		default:
			fields.Add(c.name, c.value)
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, action.String(), strings.NewReader(fields.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	origin := from.Scheme + "://" + from.Host
	request.Header.Set("Origin", origin)
	site := "cross-site"
	if action.Scheme+"://"+action.Host == origin {
		site = "same-origin"
	}
	request.Header.Set("Sec-Fetch-Site", site)
	return request, nil
}

func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(node *html.Node, name string) bool {
	return slices.ContainsFunc(node.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// text is what a node says, on one line.
func text(node *html.Node) string {
	var b strings.Builder
	for n := range node.Descendants() {
		switch {
		case n.Type == html.TextNode:
			b.WriteString(n.Data)
		case n.DataAtom == atom.P || n.DataAtom == atom.Li || n.DataAtom == atom.Div || n.DataAtom == atom.Br:
			b.WriteByte(' ') // where a person sees a new line
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
