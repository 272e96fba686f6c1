package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// stdinName is how standard input is named on the command line.
const stdinName = "-"

// errNoFiles: a folder without YAML in it is more likely the wrong one than empty on
// purpose.
var errNoFiles = errors.New("is a folder without a .yaml or .yml file")

// Read reads files, the YAML files of folders, and "-". refused says of lists that
// somebody may expect why there is none of that name. Whatever is wrong is in the
// Problems of the set.
func Read(paths []string, stdin io.Reader, kinds []*Kind, refused map[string]string) *Set {
	r := &reader{set: new(Set), kinds: kinds, refused: refused}
	for _, path := range paths {
		files, err := filesOf(path)
		if err != nil {
			r.problem(path, 0, "%s", reason(err))
		}
		for _, file := range files {
			r.readFile(file, stdin)
		}
	}
	r.set.sort(kinds)
	return r.set
}

// reason is an error of the file system without the path, which stands before it.
func reason(err error) string {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return "cannot be read: " + pathErr.Err.Error()
	}
	return err.Error()
}

func filesOf(path string) ([]string, error) {
	info, err := os.Stat(path)
	if path == stdinName || err == nil && !info.IsDir() {
		return []string{path}, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(path) // sorted
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries {
		if extension := filepath.Ext(entry.Name()); !entry.IsDir() && (extension == ".yaml" || extension == ".yml") {
			files = append(files, filepath.Join(path, entry.Name()))
		}
	}
	if len(files) == 0 {
		return nil, errNoFiles
	}
	return files, nil
}

type reader struct {
	set     *Set
	kinds   []*Kind
	refused map[string]string
	file    string
}

func (r *reader) problem(file string, line int, format string, args ...any) {
	r.set.Problems = append(r.set.Problems, Problem{File: file, Line: line, Text: fmt.Sprintf(format, args...)})
}

func (r *reader) fault(node ast.Node, format string, args ...any) {
	r.problem(r.file, node.GetToken().Position.Line, format, args...)
}

func (r *reader) readFile(path string, stdin io.Reader) {
	var (
		text []byte
		err  error
	)
	folder := "."
	if r.file = path; path == stdinName {
		r.file = "standard input"
		text, err = io.ReadAll(stdin)
	} else {
		folder = filepath.Dir(path)
		text, err = os.ReadFile(path) //nolint:gosec // the operator names the file
	}
	if err != nil {
		r.problem(r.file, 0, "%s", reason(err))
		return
	}
	parsed, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		// Without the source excerpt: somebody may have put a secret there after all.
		line := 0
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			line = syntax.GetToken().Position.Line
			err = errors.New(syntax.GetMessage())
		}
		r.problem(r.file, line, "is not valid YAML: %v", err)
		return
	}
	for _, document := range parsed.Docs {
		r.readDocument(document.Body, folder)
	}
}

func (r *reader) readDocument(body ast.Node, folder string) {
	switch body.(type) {
	case nil, *ast.CommentGroupNode, *ast.NullNode:
		return
	}
	mapping, ok := body.(ast.MapNode)
	if !ok {
		r.fault(body, "does not hold lists of things; write for instance: clients:")
		return
	}
	seen := map[string]bool{}
	for entries := mapping.MapRange(); entries.Next(); {
		entry := entries.KeyValue()
		list := entry.Key.GetToken().Value
		at := slices.IndexFunc(r.kinds, func(k *Kind) bool { return k.List == list })
		switch {
		case r.refused[list] != "":
			r.fault(entry.Key, "%s: %s", list, r.refused[list])
		case at < 0:
			var known []string
			for _, k := range r.kinds {
				known = append(known, k.List)
			}
			r.fault(entry.Key, "%s is not the name of a list; there are %s", quoted(list), strings.Join(known, ", "))
		case seen[list]:
			r.fault(entry.Key, "%s is there more than once in this document", list)
		default:
			seen[list] = true
			r.readList(r.kinds[at], entry, folder)
		}
	}
}

func (r *reader) readList(k *Kind, entry *ast.MappingValueNode, folder string) {
	if _, empty := entry.Value.(*ast.NullNode); empty {
		return
	}
	items, ok := entry.Value.(*ast.SequenceNode)
	if !ok {
		r.fault(entry.Key, "%s must be a list", k.List)
		return
	}
	for i, item := range items.Values {
		before := len(r.set.Problems)
		said := fmt.Sprintf("%s, number %d", k.List, i+1)
		v := r.readObject(item, k.Fields, said)
		if v == nil {
			continue
		}
		name, _ := v.fields[k.Key].plain().(string)
		if name == "" && len(r.set.Problems) == before {
			r.fault(item, "%s: %s is missing", said, k.Key)
		}
		if len(r.set.Problems) > before {
			continue
		}
		fields, _ := v.plain().(map[string]any)
		r.set.add(&Object{Kind: k, Name: name, Fields: fields, Folder: folder, file: r.file, value: v})
	}
}

// value is a value of a file with its place.
type value struct {
	line   int
	fields map[string]*value // of a mapping
	items  []*value          // of a list
	scalar any               // else
}

// plain is the value as encoding/json would have it.
func (v *value) plain() any {
	switch {
	case v == nil:
		return nil
	case v.fields != nil:
		all := make(map[string]any, len(v.fields))
		for name, field := range v.fields {
			all[name] = field.plain()
		}
		return all
	case v.items != nil:
		all := make([]any, len(v.items))
		for i, item := range v.items {
			all[i] = item.plain()
		}
		return all
	}
	return v.scalar
}

// readObject reads a mapping with these fields. It returns nil for what is none.
func (r *reader) readObject(node ast.Node, fields map[string]reflect.Type, said string) *value {
	mapping, ok := node.(ast.MapNode)
	if !ok {
		r.fault(node, "%s must have fields, as: name: VALUE", said)
		return nil
	}
	v := &value{line: node.GetToken().Position.Line, fields: map[string]*value{}}
	for entries := mapping.MapRange(); entries.Next(); {
		entry := entries.KeyValue()
		name := entry.Key.GetToken().Value
		t, known := fields[name]
		_, twice := v.fields[name]
		switch {
		case !known && fields != nil:
			r.fault(entry.Key, "%s: %s is not a field here; there are %s", said, quoted(name), strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		case twice:
			r.fault(entry.Key, "%s: %s is there more than once", said, quoted(name))
		default:
			field := r.readValue(entry.Value, t, said+", "+quoted(name))
			if field != nil {
				field.line = entry.Key.GetToken().Position.Line
				v.fields[name] = field
			}
		}
	}
	return v
}

// anything is the type of what has rules of its own.
var anything = reflect.TypeFor[json.RawMessage]()

// readValue reads a value of this type; nil of any. It returns nil for another.
func (r *reader) readValue(node ast.Node, t reflect.Type, said string) *value {
	v := &value{line: node.GetToken().Position.Line}
	if t == anything {
		if _, ok := node.(ast.MapNode); !ok {
			r.fault(node, "%s must have fields, as: name: VALUE", said)
			return nil
		}
		t = nil
	}
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	of := func(kind reflect.Kind) bool { return t == nil || t.Kind() == kind }
	switch typed := node.(type) {
	case ast.MapNode:
		if of(reflect.Struct) {
			var fields map[string]reflect.Type
			if t != nil {
				fields = FieldsOf(t)
			}
			return r.readObject(node, fields, said)
		}
	case *ast.SequenceNode:
		if of(reflect.Slice) {
			v.items = []*value{}
			var item reflect.Type
			if t != nil {
				item = t.Elem()
			}
			for i, n := range typed.Values {
				if read := r.readValue(n, item, fmt.Sprintf("%s, number %d", said, i+1)); read != nil {
					v.items = append(v.items, read)
				}
			}
			return v
		}
	case *ast.StringNode:
		if of(reflect.String) {
			v.scalar = typed.Value
			return v
		}
	case *ast.LiteralNode:
		if of(reflect.String) {
			v.scalar = typed.Value.Value
			return v
		}
	case *ast.BoolNode:
		if of(reflect.Bool) {
			v.scalar = typed.Value
			return v
		}
	case *ast.IntegerNode:
		if of(reflect.Int) {
			v.scalar = json.Number(fmt.Sprint(typed.Value))
			return v
		}
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		r.fault(node, "%s: anchors, aliases and tags are not taken here", said)
		return nil
	case *ast.NullNode:
		r.fault(node, "%s has no value; leave the field out instead", said)
		return nil
	}
	r.fault(node, "%s must be %s", said, nameOf(t))
	return nil
}

func nameOf(t reflect.Type) string {
	if t != nil {
		switch t.Kind() {
		case reflect.String:
			return "a text (in quotes, where it could be something else)"
		case reflect.Bool:
			return "true or false"
		case reflect.Int:
			return "a whole number"
		case reflect.Slice:
			return "a list"
		case reflect.Struct:
			return "fields, as: name: VALUE"
		}
	}
	return "a text, a whole number, true, false, a list or fields"
}

// quoted is a name of a file's for a message: in quotes, unless it is a plain word.
func quoted(name string) string {
	for _, c := range name {
		if c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return fmt.Sprintf("%.80q", name)
		}
	}
	return name
}
