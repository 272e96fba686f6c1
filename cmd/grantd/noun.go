package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"grantd/api"
	"grantd/storage"
)

// noun is what the commands about one kind of thing have in common: it can be
// listed, shown, added, changed and deleted, and named by more than its id.
type noun[T any] struct {
	name      string // "client"
	plural    string // "": the name with an s
	reference string // what names one, for people: "id or client_id"
	prefix    string // of its ids
	fields    []field
	columns   []column[T]
	example   string // of add
	// adds is the argument of add, sent as this field; nil: add has none.
	adds *field
	// keepsGrants: deleting one deletes no grant.
	keepsGrants bool

	list   func(ctx context.Context, a *admin, cursor string) ([]T, string, error)
	byName func(ctx context.Context, a *admin, name string) ([]T, error)
	get    func(ctx context.Context, a *admin, id string) (thing *T, etag string, got answer, err error)
	create func(ctx context.Context, a *admin, key string, body io.Reader) (answer, error)
	update func(ctx context.Context, a *admin, id, etag string, body io.Reader) (answer, error)
	remove func(ctx context.Context, a *admin, id, etag string) (answer, error)

	id     func(T) string
	called func(T) string // what a person may type for it
	title  func(T) string // its name, or ""
	show   func(T) []property
	// addFlags are flags that add has beside the fields; it may be nil.
	addFlags func(cmd *cobra.Command)
	// prepare completes the body of add from flags of its own; it may be nil.
	prepare func(ctx context.Context, a *admin, body map[string]any) error
	// added tells what to do next; it may be nil.
	added func(a *admin, made T)
	// report shows what add made, and does what is left to do; nil: print and added.
	report func(ctx context.Context, a *admin, made T) error
}

// said is what a message calls a thing, which it may not find there again.
func (n *noun[T]) said(thing T) string {
	said := n.name + " " + printable(n.called(thing))
	if title := n.title(thing); title != "" {
		said += " (" + printable(title) + ")"
	}
	return said
}

func (n *noun[T]) many() string {
	if n.plural != "" {
		return n.plural
	}
	return n.name + "s"
}

// argName is the argument in usage texts.
func (n *noun[T]) argName() string { return strings.ToUpper(n.name) }

// resolve finds what a person means. An id is looked up as it is, anything else
// by its name.
func (n *noun[T]) resolve(ctx context.Context, a *admin, reference string) (*T, string, error) {
	id := reference
	if _, err := storage.IDBytes(n.prefix, reference); err != nil {
		found, err := n.byName(ctx, a, reference)
		if err != nil {
			return nil, "", err
		}
		if len(found) == 0 {
			return nil, "", n.notFound(reference)
		}
		id = n.id(found[0])
	}
	thing, etag, got, err := n.get(ctx, a, id)
	if err := a.check(got, err); err != nil {
		if exitCodeOf(err) == exitNotFound {
			err = n.notFound(reference)
		}
		return nil, "", err
	}
	return thing, etag, nil
}

func (n *noun[T]) notFound(reference string) error {
	return &exitError{exitNotFound, fmt.Errorf("there is no %s with the %s %s\nmend: \"grantd %s list\" shows them", n.name, n.reference, printable(reference), n.name)}
}

// commands are list, show, add, set and delete.
func (n *noun[T]) commands(environ []string) []*cobra.Command {
	return []*cobra.Command{n.listCommand(environ), n.showCommand(environ), n.addCommand(environ), n.setCommand(environ), n.deleteCommand(environ)}
}

func (n *noun[T]) listCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the " + n.many() + ", oldest first", Args: cobra.NoArgs}
	limit := cmd.Flags().Int("limit", 0, "how many at most (default: all)")
	return adminCommand(environ, cmd, func(ctx context.Context, a *admin, _ []string) error {
		items, err := all(*limit, func(cursor string) ([]T, string, error) { return n.list(ctx, a, cursor) })
		if err != nil {
			return err
		}
		return printList(a, items, n.columns, fmt.Sprintf("There is no %s yet; \"grantd %s add --help\" tells how to add one.", n.name, n.name))
	})
}

// one makes a command that takes a reference to one thing.
func (n *noun[T]) one(environ []string, cmd *cobra.Command, run func(ctx context.Context, a *admin, thing *T, etag string) error) *cobra.Command {
	cmd.Use += " " + n.argName()
	cmd.Args = argument(1, "one "+n.name+", by its "+n.reference)
	cmd.ValidArgsFunction = n.complete(environ)
	return adminCommand(environ, cmd, func(ctx context.Context, a *admin, args []string) error {
		a.fields = n.fields
		thing, etag, err := n.resolve(ctx, a, args[0])
		if err != nil {
			return err
		}
		return run(ctx, a, thing, etag)
	})
}

func (n *noun[T]) showCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{Use: "show", Short: "Show one " + n.name + ", named by its " + n.reference}
	return n.one(environ, cmd, func(_ context.Context, a *admin, thing *T, _ string) error { return n.print(a, *thing) })
}

// print shows one thing.
func (n *noun[T]) print(a *admin, thing T) error {
	if !a.json {
		return writeProperties(a.cmd.OutOrStdout(), n.show(thing))
	}
	return printObject(a, thing)
}

// printObject prints one thing as JSON.
func printObject(a *admin, thing any) error {
	body, err := json.Marshal(thing)
	if err != nil {
		return err
	}
	return a.printJSON(body)
}

// attempts is how often a create is sent: its Idempotency-Key makes it safe to
// repeat when nobody knows what became of it.
const (
	attempts     = 3
	attemptPause = 500 * time.Millisecond
)

func (n *noun[T]) addCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{Use: "add", Short: "Add a " + n.name, Example: n.example, Args: cobra.NoArgs}
	if n.adds != nil {
		cmd.Use += " " + strings.ToUpper(n.adds.flag)
		cmd.Args = argument(1, "one "+n.adds.usage)
	}
	addFields(cmd, n.fields)
	if n.addFlags != nil {
		n.addFlags(cmd)
	}
	key := cmd.Flags().String("idempotency-key", "", "a text of your own: repeating the command with it within a day adds nothing twice")
	return adminCommand(environ, cmd, func(ctx context.Context, a *admin, args []string) error {
		a.fields = n.fields
		body, err := a.body(false)
		if err != nil {
			return err
		}
		if n.adds != nil {
			body[n.adds.name] = args[0]
		}
		if n.prepare != nil {
			if err := n.prepare(ctx, a, body); err != nil {
				return err
			}
		}
		if *key == "" {
			*key = uuid.NewString()
		}
		made, err := n.created(ctx, a, *key, body)
		if err != nil {
			return err
		}
		if n.report != nil {
			return n.report(ctx, a, made)
		}
		if err := n.print(a, made); err != nil {
			return err
		}
		if n.added != nil {
			n.added(a, made)
		}
		return nil
	})
}

// created sends a create until there is an answer.
func (n *noun[T]) created(ctx context.Context, a *admin, key string, body map[string]any) (made T, err error) {
	for attempt := 1; ; attempt++ {
		encoded, err := encode(body)
		if err != nil {
			return made, err
		}
		got, err := n.create(ctx, a, key, encoded)
		err = a.check(got, err)
		if err == nil {
			return made, json.Unmarshal(got.GetBody(), &made)
		}
		if exitCodeOf(err) != exitUnreachable || attempt == attempts {
			return made, err
		}
		select {
		case <-ctx.Done():
			return made, err
		case <-time.After(attemptPause):
		}
	}
}

func (n *noun[T]) setCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set",
		Short: "Change a " + n.name + ", named by its " + n.reference,
		Long: "Change a " + n.name + ", named by its " + n.reference + ".\n\n" +
			"Fields that are not given stay as they are; a list is replaced whole; \"\" sets a field\nback to its default. If somebody else changes the " + n.name + " at the same moment, nothing\nis done (exit code 4).",
	}
	addFields(cmd, n.fields)
	return n.one(environ, cmd, func(ctx context.Context, a *admin, thing *T, etag string) error {
		body, err := a.body(true)
		if err != nil {
			return err
		}
		if len(body) == 0 {
			return errNothing
		}
		return n.change(ctx, a, thing, etag, body)
	})
}

// change sends a merge patch and shows what became of it.
func (n *noun[T]) change(ctx context.Context, a *admin, thing *T, etag string, body map[string]any) error {
	changed, err := n.patch(ctx, a, thing, etag, body)
	if err != nil {
		return err
	}
	return n.print(a, changed)
}

func (n *noun[T]) patch(ctx context.Context, a *admin, thing *T, etag string, body map[string]any) (changed T, err error) {
	encoded, err := encode(body)
	if err != nil {
		return changed, err
	}
	got, err := n.update(ctx, a, n.id(*thing), etag, encoded)
	if err := a.check(got, err); err != nil {
		return changed, err
	}
	return changed, json.Unmarshal(got.GetBody(), &changed)
}

// disableCommand makes the command that stops a thing (or lets it work again).
func (n *noun[T]) disableCommand(environ []string, disable bool, short, warning string) *cobra.Command {
	cmd := &cobra.Command{Use: "enable", Short: short}
	if disable {
		cmd.Use = "disable"
		addYes(cmd)
	}
	return n.one(environ, cmd, func(ctx context.Context, a *admin, thing *T, _ string) error {
		if disable {
			if err := a.confirm("Disable %s? %s", n.said(*thing), warning); err != nil {
				return err
			}
		}
		// Whoever changed something else meanwhile has no say in this.
		changed, err := n.patch(ctx, a, thing, "", map[string]any{"disabled": disable})
		if err != nil {
			return err
		}
		if a.json {
			return n.print(a, changed)
		}
		a.say("The %s is %sd.", n.said(changed), cmd.Name())
		return nil
	})
}

func (n *noun[T]) deleteCommand(environ []string) *cobra.Command {
	taken, all := " and everything people have approved with it", " and every grant for it"
	if n.keepsGrants {
		taken, all = "", ""
	}
	cmd := &cobra.Command{
		Use: "delete", Aliases: []string{"remove"},
		Short: "Delete a " + n.name + taken,
	}
	addYes(cmd)
	return n.one(environ, cmd, func(ctx context.Context, a *admin, thing *T, etag string) error {
		if err := a.confirm("Delete %s%s? This cannot be undone.", n.said(*thing), all); err != nil {
			return err
		}
		if err := a.check(n.remove(ctx, a, n.id(*thing), etag)); err != nil {
			return err
		}
		a.say("The %s is deleted.", n.said(*thing))
		return nil
	})
}

// complete offers what a shell may complete a reference to.
func (n *noun[T]) complete(environ []string) cobra.CompletionFunc {
	return completion(environ, func(ctx context.Context, a *admin) ([]string, error) {
		items, _, err := n.list(ctx, a, "")
		var offers []string
		for _, item := range items {
			offers = append(offers, printable(n.called(item)))
		}
		return offers, err
	})
}

// pageSize is how many items are asked for at a time.
const pageSize = 200

func page(a int) *int { return &a }

// scopeLines shows scopes one to a line.
func scopeLines(scopes []api.Scope) string {
	lines := make([]string, len(scopes))
	for i, s := range scopes {
		lines[i] = s.Name
		if s.Description != "" {
			lines[i] += "  " + s.Description
		}
		if len(s.Tools) > 0 {
			lines[i] += "  (" + strings.Join(s.Tools, ", ") + ")"
		}
		lines[i] += "  [" + s.Risk + "]"
	}
	return strings.Join(lines, "\n")
}

func scopeNames(scopes []api.Scope) string {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = s.Name
	}
	return strings.Join(names, " ")
}
