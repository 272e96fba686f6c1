package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"

	"grantd/api"
	"grantd/cmd/grantd/internal/manifest"
	"grantd/storage"
)

// object is a thing as JSON has it.
type object = map[string]any

// kept is a kind of thing that "grantd apply" keeps and "grantd export" writes: what
// the admin API does with one, by the names of its JSON fields.
type kept struct {
	manifest.Kind
	// names are the fields whose texts name things of other kinds, by their lists. Of
	// "scopes" the things are the scopes of the resources.
	names map[string]string
	// fixed are the fields that cannot be changed.
	fixed []string
	// leaves are the fields that stay as they are where a file does not say them.
	leaves []string

	all    func(ctx context.Context, a *admin) ([]object, error)
	read   func(ctx context.Context, a *admin, id string) (thing object, etag string, err error)
	create func(ctx context.Context, a *admin, body object) (object, error)
	update func(ctx context.Context, a *admin, id, etag string, body object) error
	remove func(ctx context.Context, a *admin, id string) error
	// try is a dry run: of a create without id, else of an update, which returns the
	// thing as it would be. What the server finds wrong with body are faults.
	try func(ctx context.Context, a *admin, id, etag string, body object) (would object, faults []api.Fault, err error)
}

// secretReference is where a client's secret is: never in the file itself.
type secretReference struct {
	File        string `json:"file"`
	Env         string `json:"env"`
	Fingerprint string `json:"fingerprint"`
}

// The fields of files that the admin API has elsewhere.
const (
	secretsField = "client_secrets"
	membersField = "members"
)

// The names of lists.
const (
	clientsList   = "clients"
	resourcesList = "resources"
	groupsList    = "groups"
	scopesList    = "scopes"
	providersList = "providers"
)

// keptKinds are the kinds in an order in which things can be made: each names only
// things of those before.
var keptKinds = []*kept{
	keep(clients, reflect.TypeFor[api.ClientFields](), kept{
		Kind:   manifest.Kind{List: clientsList, Key: "client_id", Fields: map[string]reflect.Type{secretsField: reflect.TypeFor[[]secretReference]()}},
		names:  map[string]string{"resources": resourcesList},
		leaves: []string{"disabled"},
	}),
	keep(resources, reflect.TypeFor[api.ResourceFields](), kept{
		Kind:  manifest.Kind{List: resourcesList, Key: "uri", Canonical: canonicalURI},
		names: map[string]string{"introspection_clients": clientsList},
	}),
	keep(groups, reflect.TypeFor[api.GroupFields](), kept{
		Kind: manifest.Kind{List: groupsList, Key: "name", Fields: map[string]reflect.Type{membersField: reflect.TypeFor[[]string]()}},
	}),
	keep(policies, reflect.TypeFor[api.PolicyFields](), kept{
		Kind:  manifest.Kind{List: "policies", Key: "name"},
		names: map[string]string{"clients": clientsList, "groups": groupsList, "resources": resourcesList, "scopes": scopesList},
	}),
	keep(providers, reflect.TypeFor[api.ProviderFields](), kept{
		Kind:   manifest.Kind{List: providersList, Key: "name", Fields: map[string]reflect.Type{secretField: reflect.TypeFor[providerSecret]()}},
		fixed:  []string{"issuer", "preset"},
		leaves: []string{"enabled"},
	}),
}

// kindOf is the kind whose list has this name, or nil.
func kindOf(list string) *kept {
	for _, k := range keptKinds {
		if k.List == list {
			return k
		}
	}
	return nil
}

// refusedLists are those that somebody may expect in a file.
var refusedLists = map[string]string{
	"users":  `people are not set up from files; "grantd user add" makes them, and a group's members may name them`,
	"scopes": "scopes belong to their resource",
	"grants": "grants are what people approve; nobody makes them for them",
}

func canonicalURI(uri string) string {
	if canonical, err := storage.CanonicalResourceURI(uri); err == nil {
		uri = canonical
	}
	return strings.TrimSuffix(uri, "/")
}

// keep makes a noun one that is kept in files. fields are those of its creation.
func keep[T any](n *noun[T], fields reflect.Type, k kept) *kept {
	all := manifest.FieldsOf(fields)
	delete(all, "managed_by") // --set says it
	delete(all, secretField)  // is never in a file
	maps.Copy(all, k.Fields)
	k.Noun, k.Fields = n.name, all

	k.all = func(ctx context.Context, a *admin) ([]object, error) {
		return everything(func(cursor string) ([]object, string, error) {
			items, next, err := n.list(ctx, a, cursor)
			if err != nil {
				return nil, "", err
			}
			objects := make([]object, len(items))
			for i, item := range items {
				if objects[i], err = asObject(item); err != nil {
					return nil, "", err
				}
			}
			return objects, next, nil
		})
	}
	k.read = func(ctx context.Context, a *admin, id string) (object, string, error) {
		thing, etag, got, err := n.get(ctx, a, id)
		if err := a.check(got, err); err != nil {
			return nil, "", err
		}
		read, err := asObject(thing)
		return read, etag, err
	}
	k.create = func(ctx context.Context, a *admin, body object) (object, error) {
		made, err := n.created(ctx, a, uuid.NewString(), body)
		if err != nil {
			return nil, err
		}
		return asObject(made)
	}
	k.update = func(ctx context.Context, a *admin, id, etag string, body object) error {
		encoded, err := encode(body)
		if err != nil {
			return err
		}
		return a.check(n.update(ctx, a, id, etag, encoded))
	}
	k.remove = func(ctx context.Context, a *admin, id string) error { return a.check(n.remove(ctx, a, id, "")) }
	k.try = func(ctx context.Context, a *admin, id, etag string, body object) (object, []api.Fault, error) {
		encoded, err := encode(body)
		if err != nil {
			return nil, nil, err
		}
		var got answer
		if id == "" {
			got, err = n.create(dryRun(ctx), a, "", encoded)
		} else {
			got, err = n.update(dryRun(ctx), a, id, etag, encoded)
		}
		var problem api.Problem
		if err == nil && got.StatusCode() == http.StatusBadRequest && json.Unmarshal(got.GetBody(), &problem) == nil && len(problem.Errors) > 0 {
			return nil, problem.Errors, nil
		}
		if err := a.check(got, err); err != nil || id == "" {
			return nil, nil, err
		}
		would, err := objectOf(got.GetBody())
		return would, nil, err
	}
	return &k
}

// everything is all for a list that is read whole.
func everything(read func(cursor string) ([]object, string, error)) ([]object, error) {
	return all(0, read)
}

func asObject(thing any) (object, error) {
	text, err := json.Marshal(thing)
	if err != nil {
		return nil, err
	}
	return objectOf(text)
}

// objectOf decodes JSON and leaves its numbers as they are written.
func objectOf(text []byte) (object, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var o object
	if err := decoder.Decode(&o); err != nil || o == nil {
		return nil, errors.New("the server answered with something else than an object")
	}
	return o, nil
}

// word is a field that is a text, or empty.
func word(o object, field string) string {
	text, _ := o[field].(string)
	return text
}

// words are the texts in a field that is a list.
func words(o object, field string) []string {
	list, _ := o[field].([]any)
	all := make([]string, 0, len(list))
	for _, item := range list {
		if text, ok := item.(string); ok {
			all = append(all, text)
		}
	}
	return all
}

// empty reports whether a field has no value: it is not there, or as it would be then.
func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case []any:
		return len(v) == 0
	}
	return false
}

// apiFields are the names of the fields that go into the body of a create.
func (k *kept) apiFields() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(k.Fields)) {
		if name != secretsField && name != membersField && name != secretField {
			names = append(names, name)
		}
	}
	return names
}
