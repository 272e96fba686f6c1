// Package manifest reads and writes the YAML files in which an organisation keeps its
// set-up: for each kind of thing a list, whose items have the fields of the admin API.
//
// It is strict, and knows where everything stands, so that whoever finds fault with a
// value later can say in which line it is.
package manifest

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Kind is one kind of thing that files may hold.
type Kind struct {
	List string // what its list is called in a file: "clients"
	Noun string // what messages call one: "client"
	Key  string // the field that names one: "client_id"
	// Fields are the fields by their JSON names, Key included.
	Fields map[string]reflect.Type
	// Canonical is the form in which names are compared; nil: as they are.
	Canonical func(string) string
}

// Canonically is a name in the form in which the kind compares names.
func (k *Kind) Canonically(name string) string {
	if k.Canonical == nil {
		return name
	}
	return k.Canonical(name)
}

// FieldsOf are the fields of a struct by the names in their json tags.
func FieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type, t.NumField())
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			fields[name] = t.Field(i).Type
		}
	}
	return fields
}

// Object is one item of a list.
type Object struct {
	Kind   *Kind
	Name   string // the value of Key, as it is written
	Fields map[string]any
	Folder string // where its file is; relative paths in it begin there
	file   string
	value  *value
}

// Problem is what is wrong with a place in a file.
type Problem struct {
	File string
	Line int // 0: the whole file
	Text string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return p.File + ":" + strconv.Itoa(p.Line) + ": " + p.Text
}

// Problems are all that is wrong, in the order of the files.
type Problems []Problem

// Error implements error: a problem a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n        ")
}

// Problem is a problem with the value at a JSON Pointer (RFC 6901) into the object, or
// with the object itself where it has no such value.
func (o *Object) Problem(pointer, text string) Problem {
	at, said := o.value, o.Kind.Noun+" "+o.Name+":"
	for i, part := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		name, next := part, (*value)(nil)
		if n, err := strconv.Atoi(part); err == nil && i > 0 {
			name = "number " + strconv.Itoa(n+1)
			if at != nil && n < len(at.items) {
				next = at.items[n]
			}
		} else if at != nil {
			next = at.fields[part]
		}
		if i > 0 {
			said += ","
		}
		said += " " + name
		if next != nil {
			at = next
		}
	}
	if pointer == "" {
		said = strings.TrimRight(strings.TrimSuffix(said, " "), " ")
	}
	return Problem{File: o.file, Line: at.line, Text: said + " " + text}
}

// Place is where the object stands, for other messages.
func (o *Object) Place() string { return o.file + ":" + strconv.Itoa(o.value.line) }

// Set is what files hold together.
type Set struct {
	Objects  []*Object // in the order of the kinds, then of the files
	Problems Problems
}

// Of are the objects of one kind.
func (s *Set) Of(k *Kind) []*Object {
	var of []*Object
	for _, o := range s.Objects {
		if o.Kind == k {
			of = append(of, o)
		}
	}
	return of
}

// Find is the object of that name, or nil.
func (s *Set) Find(k *Kind, name string) *Object {
	for _, o := range s.Objects {
		if o.Kind == k && k.Canonically(o.Name) == k.Canonically(name) {
			return o
		}
	}
	return nil
}

// add takes an object unless there is another one of its name.
func (s *Set) add(o *Object) {
	if other := s.Find(o.Kind, o.Name); other != nil {
		s.Problems = append(s.Problems, o.Problem("/"+o.Kind.Key, fmt.Sprintf("is there more than once; the other one is at %s", other.Place())))
		return
	}
	s.Objects = append(s.Objects, o)
}

// sort puts the objects into the order of the kinds.
func (s *Set) sort(kinds []*Kind) {
	slices.SortStableFunc(s.Objects, func(a, b *Object) int {
		return slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind)
	})
}
