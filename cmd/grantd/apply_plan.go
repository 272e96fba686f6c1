package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"grantd/api"
	"grantd/cmd/grantd/internal/manifest"
	"grantd/storage"
)

type action string

const (
	actCreate action = "create"
	actUpdate action = "update"
	actDelete action = "delete"
)

// fieldChange is what becomes of one field. A field without a value is nil.
type fieldChange struct {
	Field string `json:"field"`
	Old   any    `json:"old,omitempty"`
	New   any    `json:"new,omitempty"`
}

// change is what is to be done to one thing.
type change struct {
	Action  action        `json:"action"`
	Kind    string        `json:"kind"`
	Name    string        `json:"name"`
	Fields  []fieldChange `json:"fields,omitempty"`
	Outcome string        `json:"outcome"`

	kind     *kept
	id, etag string
	body     object // of the create, or the merge patch; empty: none
	secrets  secretChange
	join     []string // ids of users
	leave    []string
}

// plan is what is to be done, in this order.
type plan struct {
	changes   []*change
	unchanged int
}

// planner compares files with what there is.
type planner struct {
	a     *admin
	set   string // whose things --prune may delete
	adopt bool
	prune bool
	look  func(name string) string // of the environment

	files    *manifest.Set
	there    map[*kept]map[string]object // by canonical name
	users    map[string]string           // the ids of those that were looked up; empty: there is none
	problems manifest.Problems
	plan     plan
}

// namesNothing is the fault of a reference to what is not there.
const namesNothing = "names nothing: it is neither in the files nor on the server"

// make compares and checks everything, and changes nothing. Its problems are those of
// the files, before the server's.
func (p *planner) make(ctx context.Context) (*plan, error) {
	p.problems, p.users = p.files.Problems, map[string]string{}
	p.there = make(map[*kept]map[string]object)
	for _, k := range keptKinds {
		things, err := k.all(ctx, p.a)
		if err != nil {
			return nil, err
		}
		p.there[k] = make(map[string]object, len(things))
		for _, thing := range things {
			p.there[k][k.Canonically(word(thing, k.Key))] = thing
		}
	}
	for _, k := range keptKinds {
		for _, o := range p.files.Of(&k.Kind) {
			if err := p.compare(ctx, k, o); err != nil {
				return nil, err
			}
		}
	}
	for _, k := range slices.Backward(keptKinds) {
		if p.prune {
			p.pruneKind(k)
		}
	}
	if len(p.problems) > 0 {
		return nil, &exitError{exitUsage, fmt.Errorf("nothing was changed, because there is something wrong:\n        %w", p.problems)}
	}
	return &p.plan, nil
}

// doomed reports whether --prune deletes a thing of that name.
func (p *planner) doomed(k *kept, name string) bool {
	thing := p.there[k][k.Canonically(name)]
	return p.prune && thing != nil && word(thing, "managed_by") == p.set && p.files.Find(&k.Kind, name) == nil
}

func (p *planner) pruneKind(k *kept) {
	for _, name := range slices.Sorted(maps.Keys(p.there[k])) {
		thing := p.there[k][name]
		if called := word(thing, k.Key); p.doomed(k, called) {
			p.plan.changes = append(p.plan.changes, &change{Action: actDelete, Kind: k.Noun, Name: called, kind: k, id: word(thing, "id")})
		}
	}
}

func (p *planner) fault(o *manifest.Object, pointer, format string, args ...any) {
	p.problems = append(p.problems, o.Problem(pointer, fmt.Sprintf(format, args...)))
}

// compare finds out what is to be done for one object of the files.
func (p *planner) compare(ctx context.Context, k *kept, o *manifest.Object) error {
	before := len(p.problems)
	current := p.there[k][k.Canonically(o.Name)]
	if current == nil {
		return p.compareNew(ctx, k, o)
	}
	switch set := word(current, "managed_by"); {
	case set != "" && set != p.set:
		p.fault(o, "", "belongs to the set %s; apply it with --set %s, or set it free first: grantd %s set %s --managed-by \"\"", printable(set), printable(set), k.Noun, o.Name)
		return nil
	case word(current, "source") != "" && word(current, "source") != string(storage.SourceRegistered):
		p.fault(o, "/"+k.Key, "is a client that registered itself; what it is is its own word")
		return nil
	}
	current, etag, err := k.read(ctx, p.a, word(current, "id"))
	if err != nil {
		return err
	}
	c := &change{Action: actUpdate, Kind: k.Noun, Name: o.Name, kind: k, id: word(current, "id"), etag: etag, body: object{}}
	completeClaims(k, o)
	for _, name := range k.apiFields() {
		if slices.Contains(k.fixed, name) {
			if word(o.Fields, name) != word(current, name) {
				p.fault(o, "/"+name, "is %s on the server, and cannot be changed; choose another %s", shown(current[name]), k.Key)
			}
			continue
		}
		if value, said := o.Fields[name]; said {
			if !reflect.DeepEqual(value, current[name]) {
				c.body[name] = value
			}
		} else if !slices.Contains(k.leaves, name) && !empty(current[name]) && name != k.Key {
			c.body[name] = nil
		}
	}
	delete(c.body, k.Key) // it is fixed, and may be written in another way
	if p.adopt {
		c.body["managed_by"] = p.set
	}
	faulty := p.checkNames(k, o, current)
	if c.secrets, err = p.compareSecrets(ctx, o, c.id); err != nil {
		return err
	}
	p.providerSecret(k, o, c)
	would, err := p.tryUpdate(ctx, k, o, c, faulty)
	if err != nil {
		return err
	}
	if would != nil {
		c.Fields = differences(current, would)
	}
	if err := p.compareMembers(ctx, o, c); err != nil {
		return err
	}
	if len(p.problems) > before {
		return nil
	}
	if len(c.Fields) == 0 {
		c.body = nil
	}
	c.Fields = append(c.Fields, c.secrets.fields()...)
	if len(c.Fields) == 0 {
		p.plan.unchanged++
		return nil
	}
	p.plan.changes = append(p.plan.changes, c)
	return nil
}

// tryUpdate asks the server what the thing would be. What names something that does
// not exist yet cannot be tried: then the answer is without that, and completed here.
func (p *planner) tryUpdate(ctx context.Context, k *kept, o *manifest.Object, c *change, faulty []string) (object, error) {
	would, faults, err := k.try(ctx, p.a, c.id, c.etag, c.body)
	if err != nil || faults == nil {
		return would, err
	}
	if p.serverFaults(k, o, c, faults, faulty) {
		return nil, nil
	}
	partly := maps.Clone(c.body)
	for name := range k.names {
		delete(partly, name)
	}
	for _, fault := range faults {
		delete(partly, strings.Split(strings.TrimPrefix(fault.Pointer, "/"), "/")[0])
	}
	would, faults, err = k.try(ctx, p.a, c.id, c.etag, partly)
	if err != nil {
		return nil, err
	}
	if p.serverFaults(k, o, c, faults, faulty) || would == nil {
		return nil, nil
	}
	for name, value := range c.body {
		if _, tried := partly[name]; !tried {
			would[name] = value
		}
	}
	return would, nil
}

// compareNew is compare for what is not there yet.
func (p *planner) compareNew(ctx context.Context, k *kept, o *manifest.Object) error {
	before := len(p.problems)
	c := &change{Action: actCreate, Kind: k.Noun, Name: o.Name, kind: k, body: object{"managed_by": p.set}}
	for _, name := range k.apiFields() {
		if value, said := o.Fields[name]; said {
			c.body[name] = value
			if name != k.Key {
				c.Fields = append(c.Fields, fieldChange{Field: name, New: value})
			}
		}
	}
	faulty := p.checkNames(k, o, nil)
	var err error
	if c.secrets, err = p.compareSecrets(ctx, o, ""); err != nil {
		return err
	}
	p.providerSecret(k, o, c)
	switch method := word(c.body, "token_endpoint_auth_method"); {
	case k.List != clientsList || len(p.problems) > before:
	case len(c.secrets.add) > 0:
		c.body[secretField] = c.secrets.add[0].text
	case method != storage.AuthMethodNone && method != storage.AuthMethodPrivateKeyJWT:
		p.fault(o, "", "needs %s: one that the server makes would be shown to nobody", secretsField)
	}
	_, faults, err := k.try(ctx, p.a, "", "", c.body)
	if err != nil {
		return err
	}
	p.serverFaults(k, o, c, faults, faulty)
	if err := p.compareMembers(ctx, o, c); err != nil {
		return err
	}
	if len(p.problems) == before {
		c.Fields = append(c.Fields, c.secrets.fields()...)
		p.plan.changes = append(p.plan.changes, c)
	}
	return nil
}

// serverFaults takes the server's faults for the file's, and reports whether there are
// any, except those of references to what this plan makes first.
func (p *planner) serverFaults(k *kept, o *manifest.Object, c *change, faults []api.Fault, known []string) bool {
	before, pending := len(p.problems), false
	for name := range k.names {
		for _, value := range words(o.Fields, name) {
			pending = pending || p.pending(k.names[name], value)
		}
	}
	for _, fault := range faults {
		field := strings.Split(strings.TrimPrefix(fault.Pointer, "/"), "/")[0]
		list, reference := k.names[field]
		switch {
		case slices.Contains(known, fault.Pointer):
		case reference && p.pending(list, valueAt(o.Fields, fault.Pointer)):
		// Whether a client may be approved in advance shows when it is there.
		case pending && field == "skip_consent":
		// The secrets are added before the method is changed.
		case field == "token_endpoint_auth_method" && c.Action == actUpdate && len(c.secrets.add) > 0:
		default:
			pointer := fault.Pointer
			if field == secretField && k.List == clientsList {
				pointer = "/" + secretsField + "/0"
			}
			p.problems = append(p.problems, o.Problem(pointer, printable(fault.Detail)))
		}
	}
	return len(p.problems) > before || len(known) > 0
}

// valueAt is the text at a pointer to a field or to an item of a list.
func valueAt(fields object, pointer string) string {
	var field string
	var at int
	if n, _ := fmt.Sscanf(strings.ReplaceAll(pointer, "/", " "), "%s %d", &field, &at); n == 2 {
		if list := words(fields, field); at >= 0 && at < len(list) {
			return list[at]
		}
	}
	return word(fields, field)
}

// pending reports whether the files have a thing of this name that is not, or not like
// this, on the server yet.
func (p *planner) pending(list, name string) bool {
	if list == scopesList {
		for _, o := range p.files.Of(&kindOf(resourcesList).Kind) {
			scopes, _ := o.Fields["scopes"].([]any)
			if slices.ContainsFunc(scopes, func(s any) bool { scope, _ := s.(object); return word(scope, "name") == name }) {
				return true
			}
		}
		return false
	}
	k := kindOf(list)
	return p.files.Find(&k.Kind, name) != nil && p.there[k][k.Canonically(name)] == nil
}

// checkNames finds references to nothing, and returns the pointers to them. What names
// it already may go on: the other may have been deleted since.
func (p *planner) checkNames(k *kept, o *manifest.Object, current object) (faulty []string) {
	for _, field := range slices.Sorted(maps.Keys(k.names)) {
		other := kindOf(k.names[field])
		if other == nil {
			continue
		}
		for i, name := range words(o.Fields, field) {
			pointer := fmt.Sprintf("/%s/%d", field, i)
			switch {
			case p.doomed(other, name):
				p.fault(o, pointer, "names a %s that --prune deletes", other.Noun)
			case p.files.Find(&other.Kind, name) != nil, p.there[other][other.Canonically(name)] != nil,
				other.List == clientsList && storage.NamesDocument(name),
				slices.ContainsFunc(words(current, field), func(s string) bool { return other.Canonically(s) == other.Canonically(name) }):
				continue
			default:
				p.fault(o, pointer, namesNothing)
			}
			faulty = append(faulty, pointer)
		}
	}
	return faulty
}

// differences are the fields that two states of a thing differ in.
func differences(before, after object) []fieldChange {
	names := maps.Clone(before)
	maps.Copy(names, after)
	var changed []fieldChange
	for _, name := range slices.Sorted(maps.Keys(names)) {
		switch name {
		case "id", "created_at", "updated_at", membersField, "has_client_secret", "client_secret_set_at":
			continue
		}
		was, is := before[name], after[name]
		if empty(was) && empty(is) || reflect.DeepEqual(was, is) {
			continue
		}
		changed = append(changed, fieldChange{Field: name, Old: was, New: is})
	}
	return append(changed, secretDifference(before, after)...)
}

// compareMembers finds out who joins and who leaves a group. Without a list of members
// they are not looked at.
func (p *planner) compareMembers(ctx context.Context, o *manifest.Object, c *change) error {
	if _, said := o.Fields[membersField]; !said {
		return nil
	}
	was, is := map[string]string{}, map[string]string{} // ids by username
	if c.Action == actUpdate {
		members, err := membersOf(ctx, p.a, o.Name)
		if err != nil {
			return err
		}
		for _, u := range members {
			was[strings.ToLower(u.Username)] = u.ID
		}
	}
	for i, name := range words(o.Fields, membersField) {
		id, err := p.user(ctx, name)
		pointer := fmt.Sprintf("/%s/%d", membersField, i)
		switch _, twice := is[strings.ToLower(name)]; {
		case err != nil:
			return err
		case id == "":
			p.fault(o, pointer, "is no user's username; \"grantd user add\" makes users")
		case twice:
			p.fault(o, pointer, "is there more than once")
		}
		is[strings.ToLower(name)] = id
	}
	for name, id := range is {
		if was[name] == "" {
			c.join = append(c.join, id)
		}
	}
	for name, id := range was {
		if is[name] == "" {
			c.leave = append(c.leave, id)
		}
	}
	if len(c.join)+len(c.leave) > 0 {
		c.Fields = append(c.Fields, fieldChange{Field: membersField, Old: sortedNames(was), New: sortedNames(is)})
	}
	return nil
}

func sortedNames(ids map[string]string) any {
	list := []any{}
	for _, name := range slices.Sorted(maps.Keys(ids)) {
		list = append(list, name)
	}
	return list
}

// user is the id of a user by the username, empty if there is none.
func (p *planner) user(ctx context.Context, username string) (string, error) {
	key := strings.ToLower(username)
	if id, known := p.users[key]; known {
		return id, nil
	}
	got, err := p.a.api.ListUsersWithResponse(ctx, &api.ListUsersParams{Username: username, Limit: page(1)})
	if username == "" || err == nil && got.StatusCode() == http.StatusBadRequest { // no user can have such a name
		p.users[key] = ""
		return "", nil
	}
	if err := p.a.check(got, err); err != nil {
		return "", err
	}
	if p.users[key] = ""; len(got.JSON200.Items) > 0 {
		p.users[key] = got.JSON200.Items[0].ID
	}
	return p.users[key], nil
}

// secretChange is what becomes of a client's secrets.
type secretChange struct {
	add  []chosenSecret
	drop []api.ClientSecret
}

type chosenSecret struct{ text, fingerprint string }

// fields shows secrets by their fingerprints.
func (s secretChange) fields() []fieldChange {
	var was, is []any
	for _, secret := range s.drop {
		was = append(was, secret.Fingerprint)
	}
	for _, secret := range s.add {
		is = append(is, secret.fingerprint)
	}
	if len(was)+len(is) == 0 {
		return nil
	}
	return []fieldChange{{Field: secretsField, Old: was, New: is}}
}

var errWays = errors.New("must have one of file, env and fingerprint")

// compareSecrets finds out which secrets a client gets and loses. id is empty for one
// that is not there yet; without a list of secrets they are not looked at.
func (p *planner) compareSecrets(ctx context.Context, o *manifest.Object, id string) (s secretChange, err error) {
	references, said := o.Fields[secretsField].([]any)
	if !said {
		return s, nil
	}
	var there []api.ClientSecret
	if id != "" {
		got, err := p.a.api.ListClientSecretsWithResponse(ctx, id)
		if err := p.a.check(got, err); err != nil {
			return s, err
		}
		there = got.JSON200.Items
	}
	has := func(fingerprint string) bool {
		return slices.ContainsFunc(there, func(s api.ClientSecret) bool { return s.Fingerprint == fingerprint })
	}
	var wanted []string
	for i, item := range references {
		reference, _ := item.(object)
		pointer := fmt.Sprintf("/%s/%d", secretsField, i)
		secret, err := p.secret(o, reference)
		switch {
		case err != nil:
			p.fault(o, pointer, "%v", err)
			continue
		case slices.Contains(wanted, secret.fingerprint):
			p.fault(o, pointer, "is there more than once")
		case has(secret.fingerprint):
		case secret.text == "":
			p.fault(o, pointer, "is the fingerprint of a secret that the server does not have; name its file or env")
		default:
			s.add = append(s.add, secret)
		}
		wanted = append(wanted, secret.fingerprint)
	}
	for _, secret := range there {
		if !slices.Contains(wanted, secret.Fingerprint) {
			s.drop = append(s.drop, secret)
		}
	}
	return s, nil
}

// secret reads the secret that a reference means. Of a fingerprint it has no text.
func (p *planner) secret(o *manifest.Object, reference object) (chosenSecret, error) {
	if len(reference) != 1 {
		return chosenSecret{}, errWays
	}
	if fingerprint := word(reference, "fingerprint"); fingerprint != "" {
		return chosenSecret{fingerprint: strings.ToLower(fingerprint)}, nil
	}
	text, err := p.secretText(o, reference)
	if err != nil {
		return chosenSecret{}, err
	}
	if !storage.IsSecret(storage.SecretPrefixClient, text) {
		return chosenSecret{}, errors.New("is not a client secret: cs_ and 43 characters; \"grantd client secret generate\" makes one")
	}
	return chosenSecret{text: text, fingerprint: storage.Fingerprint(storage.HashSecret(text))}, nil
}

// secretText reads the secret in the environment variable or the file that a reference
// names. errWays when it names neither.
func (p *planner) secretText(o *manifest.Object, reference object) (string, error) {
	if name := word(reference, "env"); name != "" {
		text := strings.TrimSpace(p.look(name))
		if text == "" {
			return "", errors.New("names an environment variable that is not set")
		}
		return text, nil
	}
	path := word(reference, "file")
	if path == "" {
		return "", errWays
	}
	text, fault := readSecretFile(beside(o.Folder, path))
	if fault != nil {
		return "", fmt.Errorf("%s; mend: %s", fault.Problem, fault.Mend)
	}
	return text, nil
}
