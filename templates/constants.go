package templates

import (
	"html/template"
	"strings"
	"text/template/parse"
)

// constants are what the templates call with nothing that depends on the page. A
// quarter of the time that a page takes went into asking for the same sentences anew, so
// their answers become text when the pages of a language are made.
type constants struct {
	bare  map[string]string              // by name
	named map[string]func(string) string // of one string
}

// constantsOf are those of a language and a brand. An asset that there is none of is
// left to the function, which says so.
func constantsOf(words *catalogue, brand template.FuncMap) constants {
	c := constants{bare: map[string]string{"language": words.language}, named: map[string]func(string) string{"t": words.text}}
	for name, function := range brand {
		switch f := function.(type) {
		case func() string:
			c.bare[name] = f()
		case func(string) (string, error):
			c.named[name] = func(s string) string { found, _ := f(s); return found }
		}
	}
	return c
}

// fold replaces the calls in what was parsed, before it is escaped: what takes their
// place is escaped as in HTML text and in quoted attributes, which is where the built-in
// pages say something. Of pages that an operator has written nobody knows that.
func (c constants) fold(parsed *template.Template) {
	for _, t := range parsed.Templates() {
		if t.Tree != nil {
			c.foldList(t.Tree.Root)
		}
	}
}

func (c constants) foldList(list *parse.ListNode) {
	if list == nil {
		return
	}
	folded := list.Nodes[:0]
	for _, node := range list.Nodes {
		switch n := node.(type) {
		case *parse.ActionNode:
			if text, ok := c.text(n.Pipe); ok {
				node = &parse.TextNode{NodeType: parse.NodeText, Pos: n.Pos, Text: []byte(escapeText.Replace(text))}
			}
		case *parse.IfNode:
			c.foldBranch(n.BranchNode)
		case *parse.WithNode:
			c.foldBranch(n.BranchNode)
		case *parse.RangeNode:
			c.foldBranch(n.BranchNode)
		}
		if text, ok := node.(*parse.TextNode); ok && len(folded) > 0 {
			if before, ok := folded[len(folded)-1].(*parse.TextNode); ok {
				before.Text = append(before.Text[:len(before.Text):len(before.Text)], text.Text...)
				continue
			}
		}
		folded = append(folded, node)
	}
	list.Nodes = folded
}

func (c constants) foldBranch(b parse.BranchNode) {
	c.foldList(b.List)
	c.foldList(b.ElseList)
}

// text is what a call of a constant says; not ok: it is not one.
func (c constants) text(pipe *parse.PipeNode) (text string, ok bool) {
	if len(pipe.Decl) > 0 || len(pipe.Cmds) != 1 {
		return "", false
	}
	args := pipe.Cmds[0].Args
	name, ok := args[0].(*parse.IdentifierNode)
	if !ok {
		return "", false
	}
	switch len(args) {
	case 1:
		text, ok = c.bare[name.Ident]
	case 2:
		argument, isString := args[1].(*parse.StringNode)
		if of := c.named[name.Ident]; isString && of != nil {
			text = of(argument.Text)
		}
		ok = text != ""
	default:
		ok = false
	}
	return text, ok
}

// escapeText escapes as html/template does.
var escapeText = strings.NewReplacer("\x00", "\uFFFD", `"`, "&#34;", "&", "&amp;", "'", "&#39;", "+", "&#43;", "<", "&lt;", ">", "&gt;")
