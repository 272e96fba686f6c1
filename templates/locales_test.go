package templates_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	tmplparse "text/template/parse"

	"grantd/templates"
)

// missing writes what a catalogue lacks into it, with the English sentence for a
// translation, and takes out what no page says.
var missing = flag.Bool("missing", false, "put the missing keys into the catalogues, in English")

// The packages whose sentences people see on pages. Each literal in them that reads
// like a sentence is a key, and each Title.
var spoken = []string{
	"../server/account", "../server/consent", "../server/login", "../server/oauth", "../server/registration", "../server/session", "../server/web",
	"../server/factor", "../server/upstream", "../server/notice",
}

// What is told to programs and logs, by the function that is called or the type that
// is filled in: not to people.
var (
	unspokenCalls = []string{
		"NewOAuthError", "InvalidClient", "New", "Errorf", "Fprintf", "Debug", "Info", "Warn", "DebugContext", "InfoContext", "WarnContext", "ErrorContext", "Error", "panic",
		"invalidRequest", "invalidScope", "invalidTarget", "invalidMetadata", "invalidGrant", "invalidRedirect", "unauthorized", "Parse",
	}
	unspokenTypes = []string{"OAuthError"}
	unspoken      = []string{ // error descriptions that are made otherwise
		"The client has too many pushed requests under way; wait before trying again.", "The client may not use this grant type.",
		"The grant is invalid, expired, or was issued to another client.", "The request is malformed.", "The scope is not allowed.",
		"Too many pushed requests from this address; wait before trying again.",
	}
	unspokenFiles = []string{"metadata.go", "registration.go", "management.go"} // of package registration: they answer programs
)

var sentenceLike = regexp.MustCompile(`^(\{[a-z]+\}|\p{Lu}[\p{L}’']*|A) .*[.?:]$`)

// Sentences that no rule finds: those that are put together, and what the scopes of
// grantd's own Resources are for.
var alwaysSpoken = []string{
	"{browser} on {system}", "A program on {system}", "Sign in with a local account", "Set your password", "Reset your password", "Make your passkey", "Make a new passkey",
	"Security notice for your account at {host}", "When: {time}", "From the address: {address}",
	"Know that it is you who signs in", "See your name and user name", "See your e-mail address",
	"See all clients, servers, users, grants and audit events",
	"Change all of it: add and remove administrators, clients, servers and users",
}

// keys are all that the pages may say, each with whether it is counted.
func keys(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, key := range alwaysSpoken {
		found[key] = false
	}
	for month := 1; month <= 12; month++ {
		found[monthName(month)] = false
	}
	for _, key := range []string{
		"{day} {month} {year}, {time} UTC", "an application that is gone", "an MCP server that is gone", "an MCP server", "your identity", "the administration of this server", "an unverified application, which calls itself “{name}”,",
	} {
		found[key] = false
	}
	found["{n} days"], found["{n} years"] = true, true
	for _, status := range []int{400, 403, 404, 405, 409, 413, 415, 429} {
		found[http.StatusText(status)] = false // pages.Error shows them where there is no better title
	}
	files, err := filepath.Glob("html/*.html")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		keysOfTemplate(t, file, found)
	}
	sources := []string{"../server/routes.go", "../server/links.go"}
	for _, folder := range spoken {
		files, err := filepath.Glob(folder + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, files...)
	}
	for _, file := range sources {
		inRegistration := strings.Contains(file, "/registration/") && slices.Contains(unspokenFiles, filepath.Base(file))
		if !strings.HasSuffix(file, "_test.go") && !inRegistration {
			keysOfSource(t, file, found)
		}
	}
	for _, sentence := range unspoken {
		delete(found, sentence)
	}
	return found
}

func monthName(month int) string {
	return []string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"}[month-1]
}

func keysOfTemplate(t *testing.T, file string, found map[string]bool) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tree := tmplparse.New(file)
	tree.Mode = tmplparse.SkipFuncCheck
	trees := map[string]*tmplparse.Tree{}
	if _, err := tree.Parse(string(text), "", "", trees); err != nil {
		t.Fatal(err)
	}
	var walk func(tmplparse.Node)
	pipe := func(p *tmplparse.PipeNode) {
		if p != nil {
			walk(p)
		}
	}
	list := func(l *tmplparse.ListNode) {
		if l != nil {
			walk(l)
		}
	}
	branch := func(b tmplparse.BranchNode) { pipe(b.Pipe); list(b.List); list(b.ElseList) }
	walk = func(n tmplparse.Node) {
		switch n := n.(type) {
		case *tmplparse.ListNode:
			for _, one := range n.Nodes {
				walk(one)
			}
		case *tmplparse.ActionNode:
			pipe(n.Pipe)
		case *tmplparse.TemplateNode:
			pipe(n.Pipe)
		case *tmplparse.IfNode:
			branch(n.BranchNode)
		case *tmplparse.RangeNode:
			branch(n.BranchNode)
		case *tmplparse.WithNode:
			branch(n.BranchNode)
		case *tmplparse.PipeNode:
			for _, c := range n.Cmds {
				walk(c)
			}
		case *tmplparse.CommandNode:
			for _, arg := range n.Args {
				walk(arg)
			}
			name, ok := n.Args[0].(*tmplparse.IdentifierNode)
			if !ok || name.Ident != "t" && name.Ident != "n" {
				return
			}
			at := map[string]int{"t": 1, "n": 3}[name.Ident]
			key, ok := n.Args[min(at, len(n.Args)-1)].(*tmplparse.StringNode)
			if !ok {
				t.Errorf("%s: %s has no literal key", file, n)
				return
			}
			found[key.Text] = name.Ident == "n"
		}
	}
	for _, tree := range trees {
		walk(tree.Root)
	}
}

func keysOfSource(t *testing.T, file string, found map[string]bool) {
	t.Helper()
	tree, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	lastName := func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.Ident:
			return e.Name
		case *ast.SelectorExpr:
			return e.Sel.Name
		}
		return ""
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			return !slices.Contains(unspokenCalls, lastName(n.Fun))
		case *ast.CompositeLit:
			return !slices.Contains(unspokenTypes, lastName(n.Type))
		case *ast.KeyValueExpr:
			if literal, ok := n.Value.(*ast.BasicLit); ok && lastName(n.Key) == "Title" {
				found[unquote(t, literal)] = false
			}
		case *ast.BasicLit:
			if n.Kind == gotoken.STRING && sentenceLike.MatchString(unquote(t, n)) {
				found[unquote(t, n)] = false
			}
		}
		// A page's error has its title first.
		if call, ok := n.(*ast.ReturnStmt); ok {
			for _, result := range call.Results {
				titleOfPageError(t, result, found)
			}
		}
		if assigned, ok := n.(*ast.AssignStmt); ok {
			titleOfPageError(t, assigned.Rhs[0], found)
		}
		return true
	})
}

func titleOfPageError(t *testing.T, e ast.Expr, found map[string]bool) {
	t.Helper()
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return
	}
	if name, ok := call.Fun.(*ast.Ident); ok && name.Name == "pageError" {
		if literal, ok := call.Args[0].(*ast.BasicLit); ok {
			found[unquote(t, literal)] = false
		}
	}
}

func unquote(t *testing.T, literal *ast.BasicLit) string {
	t.Helper()
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var argument = regexp.MustCompile(`\{[a-z]+\}`)

func arguments(text string) []string {
	return slices.Compact(slices.Sorted(slices.Values(argument.FindAllString(text, -1))))
}

// pluralForms are what each language needs of the plurals of CLDR, beside those for
// numbers that no page shows.
var pluralForms = map[string][]string{
	"de": {"one", "other"}, "fr": {"one", "other"}, "es": {"one", "other"}, "ja": {"other"}, "zh-Hans": {"other"},
}

// Every language says every sentence, with the same arguments, and nothing else.
func TestCatalogues(t *testing.T) {
	wanted := keys(t)
	for _, language := range templates.Languages {
		if language == templates.English {
			continue
		}
		t.Run(language, func(t *testing.T) {
			file := filepath.Join("locales", language+".json")
			text, err := fs.ReadFile(os.DirFS("."), filepath.ToSlash(file))
			if err != nil {
				t.Fatal(err)
			}
			var messages map[string]any
			if err := json.Unmarshal(text, &messages); err != nil {
				t.Fatal(err)
			}
			if *missing {
				mend(t, file, language, messages, wanted)
			}
			for key, counted := range wanted {
				checkMessage(t, language, key, counted, messages[key])
			}
			for key := range messages {
				if _, ok := wanted[key]; !ok {
					t.Errorf("no page says %q", key)
				}
			}
			if written := encode(t, messages); !*missing && !bytes.Equal(text, written) {
				t.Error("the catalogue is not sorted by key, one key on a line; run with -missing")
			}
		})
	}
}

func checkMessage(t *testing.T, language, key string, counted bool, said any) {
	t.Helper()
	switch said := said.(type) {
	case nil:
		t.Errorf("lacks %q", key)
	case string:
		if counted || said == "" || !slices.Equal(arguments(said), arguments(key)) {
			t.Errorf("%q: %q is empty, has other arguments, or needs plural forms", key, said)
		}
	case map[string]any:
		if forms := slices.Sorted(maps.Keys(said)); !counted || !slices.Equal(forms, pluralForms[language]) {
			t.Errorf("%q: the forms are %q, want %q, or it is not counted", key, forms, pluralForms[language])
		}
		for form, text := range said {
			if text, ok := text.(string); !ok || text == "" || form == "other" && !slices.Equal(arguments(text), arguments(key)) {
				t.Errorf("%q: the form %s has other arguments", key, form)
			}
		}
	}
}

func mend(t *testing.T, file, language string, messages map[string]any, wanted map[string]bool) {
	t.Helper()
	for key, counted := range wanted {
		if _, ok := messages[key]; ok {
			continue
		}
		messages[key] = key
		if counted {
			forms := map[string]any{}
			for _, form := range pluralForms[language] {
				forms[form] = key
			}
			messages[key] = forms
		}
	}
	maps.DeleteFunc(messages, func(key string, _ any) bool { _, ok := wanted[key]; return !ok })
	if err := os.WriteFile(file, encode(t, messages), 0o600); err != nil {
		t.Fatal(err)
	}
}

// encode writes one key on a line, so that merges are by line.
func encode(t *testing.T, messages map[string]any) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("{\n")
	for i, key := range slices.Sorted(maps.Keys(messages)) {
		if i > 0 {
			b.WriteString(",\n")
		}
		for j, value := range []any{key, messages[key]} {
			if j > 0 {
				b.WriteString(": ")
			}
			var one bytes.Buffer
			encoder := json.NewEncoder(&one)
			encoder.SetEscapeHTML(false)
			if err := encoder.Encode(value); err != nil {
				t.Fatal(err)
			}
			b.Write(bytes.TrimSpace(one.Bytes()))
		}
	}
	b.WriteString("\n}\n")
	return b.Bytes()
}
