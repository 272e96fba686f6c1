package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
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

func (r *reader) fault(node *yaml.Node, format string, args ...any) {
	r.problem(r.file, node.Line, format, args...)
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
	// Not the library that reads settings: it forgets the documents behind an empty one,
	// and --prune would delete what they hold.
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			r.syntax(err)
			return
		}
		r.readDocument(document.Content[0], folder)
	}
}

var syntaxLine = regexp.MustCompile(`^line (\d+): `)

// syntax is a problem with the YAML itself; the library says the line in its text.
func (r *reader) syntax(err error) {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
	if at := syntaxLine.FindStringSubmatch(text); at != nil {
		line, _ = strconv.Atoi(at[1])
		text = strings.TrimPrefix(text, at[0])
	}
	r.problem(r.file, line, "is not valid YAML: %s", text)
}

// null reports whether a node has no value.
func null(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" }

// entries are the keys and values of a mapping.
func entries(mapping *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		for pair := range slices.Chunk(mapping.Content, 2) {
			if !yield(pair[0], pair[1]) {
				return
			}
		}
	}
}

func (r *reader) readDocument(body *yaml.Node, folder string) {
	if null(body) {
		return
	}
	if body.Kind != yaml.MappingNode {
		r.fault(body, "does not hold lists of things; write for instance: clients:")
		return
	}
	seen := map[string]bool{}
	for key, list := range entries(body) {
		name := key.Value
		at := slices.IndexFunc(r.kinds, func(k *Kind) bool { return k.List == name })
		switch {
		case r.refused[name] != "":
			r.fault(key, "%s: %s", name, r.refused[name])
		case at < 0:
			var known []string
			for _, k := range r.kinds {
				known = append(known, k.List)
			}
			r.fault(key, "%s is not the name of a list; there are %s", quoted(name), strings.Join(known, ", "))
		case seen[name]:
			r.fault(key, "%s is there more than once in this document", name)
		default:
			seen[name] = true
			r.readList(r.kinds[at], key, list, folder)
		}
	}
}

func (r *reader) readList(k *Kind, key, list *yaml.Node, folder string) {
	if null(list) {
		return
	}
	if list.Kind != yaml.SequenceNode {
		r.fault(key, "%s must be a list", k.List)
		return
	}
	for i, item := range list.Content {
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

// readObject reads a mapping with these fields; nil: with any. It returns nil for what
// is none.
func (r *reader) readObject(node *yaml.Node, fields map[string]reflect.Type, said string) *value {
	if r.indirect(node, said) {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		r.fault(node, "%s must have fields, as: name: VALUE", said)
		return nil
	}
	v := &value{line: node.Line, fields: map[string]*value{}}
	for key, of := range entries(node) {
		name := key.Value
		t, known := fields[name]
		_, twice := v.fields[name]
		switch {
		case r.indirect(key, said):
		case !known && fields != nil:
			r.fault(key, "%s: %s is not a field here; there are %s", said, quoted(name), strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		case twice:
			r.fault(key, "%s: %s is there more than once", said, quoted(name))
		default:
			if field := r.readValue(of, t, said+", "+quoted(name)); field != nil {
				field.line = key.Line
				v.fields[name] = field
			}
		}
	}
	return v
}

// indirect refuses what is not written where it stands.
func (r *reader) indirect(node *yaml.Node, said string) bool {
	const merge = "!!merge"
	if node.Kind != yaml.AliasNode && node.Anchor == "" && node.Style&yaml.TaggedStyle == 0 && node.ShortTag() != merge {
		return false
	}
	r.fault(node, "%s: anchors, aliases, merges and tags are not taken here", said)
	return true
}

// anything is the type of what has rules of its own.
var anything = reflect.TypeFor[json.RawMessage]()

// readValue reads a value of this type; nil: of any. It returns nil for another.
func (r *reader) readValue(node *yaml.Node, t reflect.Type, said string) *value {
	if r.indirect(node, said) {
		return nil
	}
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	v, of := &value{line: node.Line}, func(kind reflect.Kind) bool { return t == nil || t.Kind() == kind }
	switch {
	case t == anything:
		return r.readObject(node, nil, said)
	case node.Kind == yaml.MappingNode && of(reflect.Struct):
		var fields map[string]reflect.Type
		if t != nil {
			fields = FieldsOf(t)
		}
		return r.readObject(node, fields, said)
	case node.Kind == yaml.SequenceNode && of(reflect.Slice):
		var item reflect.Type
		if t != nil {
			item = t.Elem()
		}
		v.items = []*value{}
		for i, n := range node.Content {
			if read := r.readValue(n, item, fmt.Sprintf("%s, number %d", said, i+1)); read != nil {
				v.items = append(v.items, read)
			}
		}
		return v
	case null(node):
		r.fault(node, "%s has no value; leave the field out instead", said)
		return nil
	case node.Kind == yaml.ScalarNode && r.readScalar(node, v, of):
		return v
	}
	r.fault(node, "%s must be %s", said, nameOf(t))
	return nil
}

// readScalar sets the value of a scalar if it is of a kind that is wanted.
func (r *reader) readScalar(node *yaml.Node, v *value, of func(reflect.Kind) bool) bool {
	switch tag := node.ShortTag(); {
	case (tag == "!!str" || tag == "!!timestamp") && of(reflect.String):
		v.scalar = node.Value
		return true
	case tag == "!!bool" && of(reflect.Bool):
		var b bool
		if node.Decode(&b) != nil {
			return false
		}
		v.scalar = b
		return true
	case tag == "!!int" && of(reflect.Int):
		var n int64
		if node.Decode(&n) != nil {
			return false
		}
		v.scalar = json.Number(strconv.FormatInt(n, 10))
		return true
	}
	return false
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
