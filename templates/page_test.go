package templates_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// A node is one element of a parsed page.
type node struct {
	tag      string
	attrs    map[string]string
	text     string // of the element and all inside it
	children []*node
}

// parse reads a page. The pages are kept well-formed (but for void elements), so
// that the standard library can do it; a stray "<" of a hostile input would fail here.
func parse(t *testing.T, page string) *node {
	t.Helper()
	body, ok := strings.CutPrefix(page, "<!DOCTYPE html>\n")
	if !ok {
		t.Fatalf("page does not begin with its doctype: %.40q", page)
	}
	d := xml.NewDecoder(strings.NewReader(body))
	d.Strict = false
	d.AutoClose = xml.HTMLAutoClose
	d.Entity = xml.HTMLEntity
	root := &node{tag: "#page"}
	stack := []*node{root}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("page is not well-formed: %v", err)
		}
		top := stack[len(stack)-1]
		switch token := token.(type) {
		case xml.StartElement:
			n := &node{tag: token.Name.Local, attrs: map[string]string{}}
			for _, a := range token.Attr {
				n.attrs[a.Name.Local] = a.Value
			}
			top.children = append(top.children, n)
			stack = append(stack, n)
		case xml.EndElement:
			for _, n := range stack {
				if token.Name.Local == "dt" || token.Name.Local == "dd" || token.Name.Local == "li" {
					n.text += " " // they stand on lines of their own
				}
			}
			stack = stack[:len(stack)-1]
		case xml.CharData:
			for _, n := range stack {
				n.text += string(token)
			}
		}
	}
	if len(stack) != 1 {
		t.Fatalf("page leaves <%s> open", stack[len(stack)-1].tag)
	}
	return root
}

// all returns every element below n, in the order of the page.
func (n *node) all() []*node {
	var found []*node
	for _, c := range n.children {
		found = append(found, c)
		found = append(found, c.all()...)
	}
	return found
}

// find returns the elements with a tag that have all the given attributes;
// "name=value" wants the value, "name" only the attribute.
func (n *node) find(tag string, attrs ...string) []*node {
	var found []*node
	for _, e := range n.all() {
		ok := e.tag == tag
		for _, a := range attrs {
			key, want, exact := strings.Cut(a, "=")
			got, has := e.attrs[key]
			ok = ok && has && (!exact || got == want)
		}
		if ok {
			found = append(found, e)
		}
	}
	return found
}

func (n *node) class(name string) []*node {
	var found []*node
	for _, e := range n.all() {
		if slices.Contains(strings.Fields(e.attrs["class"]), name) {
			found = append(found, e)
		}
	}
	return found
}

// words is the text of an element with its white space collapsed.
func (n *node) words() string { return strings.Join(strings.Fields(n.text), " ") }

func only(t *testing.T, what string, found []*node) *node {
	t.Helper()
	if len(found) != 1 {
		t.Fatalf("%d of %s on the page, want 1", len(found), what)
	}
	return found[0]
}

func renderFixture(t *testing.T, name string) *node {
	t.Helper()
	for _, f := range fixtures() {
		if f.name == name {
			var b bytes.Buffer
			if err := f.render(newSet(t), &b); err != nil {
				t.Fatal(err)
			}
			return parse(t, b.String())
		}
	}
	t.Fatalf("no fixture %s", name)
	return nil
}
