// Package templates turns typed pages into HTML: sign-in, consent, and the few
// pages around them. It knows no HTTP and no other package of this program; who
// may see what is decided by its callers.
//
// The pages run under a policy of "default-src 'none'; style-src 'self';
// img-src 'self'; font-src 'self'", so they hold no script, no inline style and
// no reference to another host. Those with a [PasskeyForm] refer to one script of our own. Consent shows what OAuth 2.1 section 7 and the
// MCP security guidance want a person to judge: who is asking, where the answer
// goes, for which server, which permissions and for how long.
//
// Strings that others chose (client names, tool names, descriptions) pass
// through [CleanText] inside the templates, so no caller can forget it.
package templates

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"text/template/parse"
)

// ErrUnsafeURL says that a page was given a URL it must not link or post to.
// The URL itself is not part of the message.
var ErrUnsafeURL = errors.New("templates: the page must not link to this URL")

// A Set holds every page, parsed and checked. It is safe for concurrent use.
type Set struct {
	// pages are by language, made when somebody first reads it: each takes a megabyte.
	pages    map[string]func() (pages, error)
	language string     // for whoever reads none of Languages
	words    *catalogue // of that language
	assets   assetFS
	root     string // see At
	made     func(root string) map[string]func() (pages, error)
}

// pages are templates by file, in one language.
type pages map[string]*template.Template

// New parses all pages. It fails when a file has no page type or a page type no
// file, and when a template cannot be escaped or executed.
func New() (*Set, error) { return builtIn() }

var builtIn = sync.OnceValues(func() (*Set, error) { return newSet(htmlFiles) })

//go:embed html
var htmlFiles embed.FS

// Every file under html/ is either shared by all pages or claimed here, with
// the least page that renders.
var (
	sharedFiles = []string{"layout.html", "parts.html"}
	claimed     = map[string]any{
		"login.html":          LoginPage{},
		"consent.html":        ConsentPage{},
		"continue.html":       ContinuePage{URL: "/"},
		"device.html":         DevicePage{},
		"device_done.html":    DeviceDonePage{},
		"error.html":          ErrorPage{},
		"logout.html":         LogoutPage{},
		"account.html":        AccountPage{},
		"ask.html":            AskPage{},
		"revoke.html":         RevokePage{},
		"password.html":       PasswordPage{},
		"activity.html":       ActivityPage{},
		"link.html":           LinkPage{},
		"second_factor.html":  SecondFactorPage{},
		"enrol.html":          EnrolPage{URI: "otpauth://totp/"},
		"passkey.html":        PasskeyPage{},
		"recovery_codes.html": RecoveryCodesPage{},
		"security.html":       SecurityPage{},
	}
)

func newSet(files fs.FS) (*Set, error) { return newSetWith(files, hashedFiles, "") }

func newSetWith(files fs.FS, assets assetFS, brand string) (*Set, error) {
	texts, err := read(files)
	if err != nil {
		return nil, err
	}
	ours := files == fs.FS(htmlFiles)
	set := &Set{assets: assets, made: func(root string) map[string]func() (pages, error) {
		made := make(map[string]func() (pages, error), len(Languages))
		for _, language := range Languages {
			made[language] = sync.OnceValues(func() (pages, error) {
				return pagesIn(language, texts, brandFunctions(assets, brand, root), ours)
			})
		}
		return made
	}}
	if set, err = set.At(""); err != nil {
		return nil, err
	}
	return set.in(English)
}

// At is the set for a server whose issuer has this path, "" or "/path": its assets and
// links are below it. ErrUnsafeURL.
func (s *Set) At(root string) (*Set, error) {
	if _, err := ours(root); err != nil {
		return nil, err
	}
	if s.pages != nil && root == s.root {
		return s, nil
	}
	own := *s // New's is everybody's
	own.root, own.pages = root, s.made(root)
	_, err := own.pages[English]()
	return &own, err
}

// in is the set for an organisation of that language.
func (s *Set) in(language string) (*Set, error) {
	words, err := loadCatalogue(language)
	if err != nil {
		return nil, err
	}
	own := *s // New's is everybody's
	own.language, own.words = language, words
	return &own, nil
}

// read is every file under html/, by name, so that pages made later are of the same
// texts.
func read(files fs.FS) (map[string]string, error) {
	if err := everyFileClaimed(files); err != nil {
		return nil, err
	}
	texts := make(map[string]string, len(sharedFiles)+len(claimed))
	for _, name := range slices.Concat(sharedFiles, slices.Collect(maps.Keys(claimed))) {
		text, err := fs.ReadFile(files, path.Join("html", name))
		if err != nil {
			return nil, fmt.Errorf("templates: %s is declared and missing: %w", name, err)
		}
		texts[name] = string(text)
	}
	return texts, nil
}

// pagesIn makes the pages in one language; ours: each of their files is built in.
func pagesIn(language string, texts map[string]string, brand template.FuncMap, ours bool) (pages, error) {
	words, err := loadCatalogue(language)
	if err != nil {
		return nil, err
	}
	blank := func() *template.Template {
		return template.New("").Funcs(functions).Funcs(words.functions()).Funcs(brand)
	}
	shared := blank()
	for _, name := range sharedFiles {
		if _, err := shared.New(name).Parse(texts[name]); err != nil {
			return nil, fmt.Errorf("templates: %w", err)
		}
	}
	constants := constantsOf(words, brand)
	if ours {
		constants.fold(shared)
	}
	made := make(pages, len(claimed))
	for name, least := range claimed {
		page := blank()
		if _, err := page.New(name).Parse(texts[name]); err != nil {
			return nil, fmt.Errorf("templates: %w", err)
		}
		if ours {
			constants.fold(page)
		}
		if err := borrow(page, shared, "layout", map[string]bool{}); err != nil {
			return nil, fmt.Errorf("templates: %s: %w", name, err)
		}
		// html/template escapes at the first execution. Doing that now turns
		// a mistake in a template into a failed start, not a failed sign-in.
		if err := page.ExecuteTemplate(io.Discard, "layout", least); err != nil {
			return nil, fmt.Errorf("templates: %s: %w", name, err)
		}
		made[name] = page
	}
	return made, nil
}

// borrow gives the page what it has not defined of the named template and of all that
// this one calls. Cloned, each page would keep everything that any of them shares.
func borrow(page, shared *template.Template, name string, seen map[string]bool) error {
	if seen[name] {
		return nil
	}
	seen[name] = true
	t := page.Lookup(name)
	if t == nil {
		lent := shared.Lookup(name)
		if lent == nil {
			return nil // html/template says so, and where
		}
		var err error
		if t, err = page.AddParseTree(name, lent.Tree.Copy()); err != nil {
			return err
		}
	}
	if t.Tree == nil { // of that name is only the set itself, which says nothing
		return nil
	}
	for _, called := range callsIn(t.Tree.Root, nil) {
		if err := borrow(page, shared, called, seen); err != nil {
			return err
		}
	}
	return nil
}

// callsIn adds to names those of the templates that a list calls.
func callsIn(list *parse.ListNode, names []string) []string {
	if list == nil {
		return names
	}
	branch := func(b parse.BranchNode) { names = callsIn(b.ElseList, callsIn(b.List, names)) }
	for _, node := range list.Nodes {
		switch n := node.(type) {
		case *parse.TemplateNode:
			names = append(names, n.Name)
		case *parse.IfNode:
			branch(n.BranchNode)
		case *parse.WithNode:
			branch(n.BranchNode)
		case *parse.RangeNode:
			branch(n.BranchNode)
		}
	}
	return names
}

func everyFileClaimed(files fs.FS) error {
	found, err := fs.ReadDir(files, "html")
	if err != nil {
		return fmt.Errorf("templates: %w", err)
	}
	known := strings.Join(sharedFiles, " ")
	for _, file := range found {
		if _, ok := claimed[file.Name()]; !ok && !strings.Contains(known, file.Name()) {
			return fmt.Errorf("templates: no page claims %s", file.Name())
		}
	}
	return nil
}

// drafts are where pages are made. One that became larger than pages are is not kept.
var drafts = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const largeDraft = 64 << 10

// render writes nothing unless the whole page could be made, and then all of it at once.
func (s *Set) render(w io.Writer, name string, page any) error {
	made := s.pages[s.language]
	if in, ok := w.(Writer); ok && s.pages[in.Language] != nil {
		made = s.pages[in.Language]
	}
	in, err := made()
	if err != nil {
		return err
	}
	b := drafts.Get().(*bytes.Buffer)
	b.Reset()
	if err := in[name].ExecuteTemplate(b, "layout", page); err != nil {
		return fmt.Errorf("templates: %s: %w", name, err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("templates: %s: %w", name, err) // and whoever failed may still have it
	}
	if b.Cap() <= largeDraft {
		drafts.Put(b)
	}
	return nil
}
