package manifest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/cmd/grantd/internal/manifest"
)

type thing struct {
	Name   string          `json:"name"`
	On     bool            `json:"on"`
	Size   *int            `json:"size"`
	Tags   []string        `json:"tags"`
	Parts  []part          `json:"parts"`
	Free   json.RawMessage `json:"free"`
	hidden string          //nolint:unused // has no name in a file
}

type part struct {
	Name string `json:"name"`
}

var things = &manifest.Kind{List: "things", Noun: "thing", Key: "name", Fields: manifest.FieldsOf(reflect.TypeFor[thing]())}

func read(t *testing.T, text string) *manifest.Set {
	t.Helper()
	return manifest.Read([]string{"-"}, strings.NewReader(text), []*manifest.Kind{things}, nil)
}

// What Write writes, Read reads as it was, whatever the texts.
func TestRoundTrip(t *testing.T) {
	texts := []string{
		"plain", "two words", "a:b", "https://a.example/mcp?x=1#y", "a: b", "a #b", "yes", "No", "on", "null", "~", "1", "-1", "1e3", "0x1", ".5", "2026-11-28", "12:30",
		"", " ", "- a", "-", "? a", "* a", "&a", "!a", "%a", "@a", "`a", "|", ">", "{a}", "[a]", "a, b", "a]", "'a'", `"a"`, `\n`, `\`, "ä", "日本", "👩‍💻", "a\tb", "a\nb", "a\u0085b\u2028c", "\x7f", "<&>", "a:", ":a", "a ", "true story",
	}
	var items []manifest.Item
	for _, text := range texts {
		items = append(items, manifest.Item{Fields: map[string]any{
			"name": "n" + text, "tags": []any{text, "x"}, "parts": []any{map[string]any{"name": text}}, "on": true, "size": json.Number("5"),
			"free": map[string]any{text + "k": []any{text, json.Number("1"), true, map[string]any{"a": text}}},
		}, Comments: map[string]string{"parts": "said of it"}})
	}
	var b strings.Builder
	if err := manifest.Write(&b, things, items); err != nil {
		t.Fatal(err)
	}
	set := read(t, b.String())
	if len(set.Problems) > 0 || len(set.Objects) != len(items) {
		t.Fatalf("%d objects of %d: %v\n%s", len(set.Objects), len(items), set.Problems, b.String())
	}
	for i, o := range set.Objects {
		if diff := cmp.Diff(items[i].Fields, o.Fields); diff != "" {
			t.Errorf("%q (-written +read):\n%s", texts[i], diff)
		}
	}
}

// Problems are said with the place of the value that a pointer leads to.
func TestPlaces(t *testing.T) {
	set := read(t, "# one\nthings:\n  - name: a\n    tags:\n      - x\n      - y\n    parts:\n      - name: b\n  - {name: c, tags: [x]}\n")
	if len(set.Problems) > 0 {
		t.Fatal(set.Problems)
	}
	for pointer, want := range map[string]string{
		"":              "standard input:3: thing a: is bad",
		"/name":         "standard input:3: thing a: name is bad",
		"/tags":         "standard input:4: thing a: tags is bad",
		"/tags/1":       "standard input:6: thing a: tags, number 2 is bad",
		"/tags/9":       "standard input:4: thing a: tags, number 10 is bad",
		"/parts/0/name": "standard input:8: thing a: parts, number 1, name is bad",
		"/size":         "standard input:3: thing a: size is bad",
	} {
		if got := set.Objects[0].Problem(pointer, "is bad").String(); got != want {
			t.Errorf("%q is %q, want %q", pointer, got, want)
		}
	}
}

func TestFolder(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"b.yaml": "things: [{name: b}]", "a.yml": "things:\n  - {name: a}\n---\n---\nthings:\n  - name: a2\n", "c.txt": "x", "empty.yaml": "", "comment.yaml": "# nothing\n", "none.yaml": "things:\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(folder, "sub.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	set := manifest.Read([]string{folder}, nil, []*manifest.Kind{things}, nil)
	var names []string
	for _, o := range set.Objects {
		names = append(names, o.Name)
		if o.Folder != folder {
			t.Errorf("%s is in %s", o.Name, o.Folder)
		}
	}
	if diff := cmp.Diff([]string{"a", "a2", "b"}, names); diff != "" || len(set.Problems) > 0 {
		t.Errorf("read %q, %v", names, set.Problems)
	}
}

// No file, however strange, ends the program.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{"", "things:\n- name: a\n", "things: [{name: *a}]", "a: &a [*a]", "things: !!binary x", "<<: {}", "things:\n  - <<: {name: x}\n", "? a\n: b", "things: [{name: |\n x}]", "---\n...\n---", "things: [{free: {a: ~}}]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set := read(t, text)
		for _, o := range set.Objects {
			if o.Name == "" {
				t.Error("an object has no name")
			}
			_ = o.Problem("/tags/0", "is bad")
		}
		_ = set.Problems.Error()
	})
}
