package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"grantd/api"
	"grantd/cmd/grantd/internal/manifest"
)

// exitChanges is the exit code of a dry run that found something to change.
const exitChanges = 7

const defaultSet = "apply"

func newApplyCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply -f FILE|FOLDER...",
		Short: "Make the server what YAML files say: clients, resources, groups, policies and providers",
		Long: `Make the server what YAML files say: clients, resources, groups, policies and providers.

Whatever is wrong with the files is said at once, with its line, and nothing is
changed. Else what will change is shown, and done; applying the same files again
changes nothing. What a file says of a thing is all of it: a field that is left out
has its default. Only disabled, enabled, members and secrets stay as they are then.

What apply makes belongs to a set (--set). --prune deletes what belongs to the set and
is no longer in the files, and nothing else; it asks before. What was there before is
changed, and belongs to no set unless --adopt says so.

` + exitCodes + `
With --dry-run: 7 there is something to change.`,
		Example: `  grantd apply -f organisation.yaml --dry-run
  grantd apply -f organisation/ --prune --yes`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringArrayP("file", "f", nil, "`file`, or folder with .yaml and .yml files; - is standard input (may be given several times)")
	flags.Bool("dry-run", false, "only show what would change; exit code 0 if nothing, 7 if something")
	flags.Bool("prune", false, "delete what belongs to the set and is in none of the files")
	flags.Bool("adopt", false, "what was there before and belongs to no set belongs to this one from now on")
	flags.String("set", defaultSet, "`name` of the set that these files are")
	addYes(cmd)
	addAdminFlags(cmd)
	return adminCommand(environ, cmd, func(ctx context.Context, a *admin, _ []string) error { return apply(ctx, a, environ) })
}

// addAdminFlags gives a command that stands alone what an adminGroup gives to its own.
func addAdminFlags(cmd *cobra.Command) {
	addSettings(cmd.Flags(), "admin-url", "admin-key")
	cmd.Flags().Bool("json", false, "JSON for machines; asks nothing")
}

func apply(ctx context.Context, a *admin, environ []string) error {
	flags := a.cmd.Flags()
	paths, _ := flags.GetStringArray("file")
	dry, _ := flags.GetBool("dry-run")
	p := &planner{a: a, look: func(name string) string { return lookup(environ, name) }}
	p.prune, _ = flags.GetBool("prune")
	p.adopt, _ = flags.GetBool("adopt")
	p.set, _ = flags.GetString("set")
	switch {
	case len(paths) == 0:
		return wrongUsage("there is nothing to apply; name a file or a folder with -f")
	case p.set == "":
		return wrongUsage("--set must not be empty: what belongs to no set was not made by apply")
	}
	p.files = manifest.Read(paths, a.cmd.InOrStdin(), manifestKinds(), refusedLists)
	made, err := p.make(ctx)
	if err != nil {
		return err
	}
	if !a.json {
		if err := made.show(a); err != nil {
			return err
		}
	}
	if dry || len(made.changes) == 0 {
		return made.finish(a, dry, nil)
	}
	if deletes := made.count(actDelete); deletes > 0 {
		if err := a.confirm("Delete %d of these, with everything that was granted for them?", deletes); err != nil {
			return err
		}
	}
	return made.finish(a, false, made.run(ctx, a))
}

// lookup is a variable of the environment.
func lookup(environ []string, name string) string {
	for _, entry := range slices.Backward(environ) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// beside is a path that a file in folder names.
func beside(folder, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

func manifestKinds() []*manifest.Kind {
	kinds := make([]*manifest.Kind, len(keptKinds))
	for i, k := range keptKinds {
		kinds[i] = &k.Kind
	}
	return kinds
}

func (p *plan) count(act action) int {
	n := 0
	for _, c := range p.changes {
		if c.Action == act {
			n++
		}
	}
	return n
}

var signs = map[action]string{actCreate: "+", actUpdate: "~", actDelete: "-"}

func (c *change) headline() string {
	return signs[c.Action] + " " + c.Kind + " " + printable(c.Name)
}

// show prints what is to be done, field by field.
func (p *plan) show(a *admin) error {
	var b strings.Builder
	for _, c := range p.changes {
		b.WriteString(c.headline() + "\n")
		for _, f := range c.Fields {
			f.show(&b, c.Action)
		}
	}
	fmt.Fprintf(&b, "%d to create, %d to change, %d to delete, %d unchanged\n", p.count(actCreate), p.count(actUpdate), p.count(actDelete), p.unchanged)
	_, err := a.cmd.OutOrStdout().Write([]byte(b.String()))
	return err
}

// show prints one field. Of a list only the items that come and go are shown, unless
// only their order changes.
func (f fieldChange) show(b *strings.Builder, act action) {
	was, _ := f.Old.([]any)
	is, isList := f.New.([]any)
	gone, come := without(was, is), without(is, was)
	switch {
	case act == actUpdate && (isList || len(was) > 0) && len(gone)+len(come) > 0:
		for _, item := range gone {
			fmt.Fprintf(b, "    %s: - %s\n", f.Field, shown(item))
		}
		for _, item := range come {
			fmt.Fprintf(b, "    %s: + %s\n", f.Field, shown(item))
		}
	case act == actUpdate:
		fmt.Fprintf(b, "    %s: %s -> %s\n", f.Field, shown(f.Old), shown(f.New))
	default:
		fmt.Fprintf(b, "    %s: %s\n", f.Field, shown(f.New))
	}
}

// without are the items of a that are not in b.
func without(a, b []any) []any {
	var left []any
	for _, item := range a {
		if !slices.ContainsFunc(b, func(other any) bool { return reflect.DeepEqual(item, other) }) {
			left = append(left, item)
		}
	}
	return left
}

func shown(v any) string {
	if v == nil {
		return "(none)"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return printable(string(text))
}

// The outcomes of a change.
const (
	outcomePlanned = "planned"
	outcomeDone    = "done"
	outcomeFailed  = "failed"
	outcomeNot     = "not_done"
)

// run makes the changes until one fails, and notes how far it came.
func (p *plan) run(ctx context.Context, a *admin) error {
	for i, c := range p.changes {
		err := c.run(ctx, a)
		if err == nil {
			c.Outcome = outcomeDone
			continue
		}
		c.Outcome = outcomeFailed
		for _, left := range p.changes[i+1:] {
			left.Outcome = outcomeNot
		}
		return err
	}
	return nil
}

// run makes one change. If it fails half-way, applying again does the rest.
func (c *change) run(ctx context.Context, a *admin) error {
	switch c.Action {
	case actDelete:
		err := c.kind.remove(ctx, a, c.id)
		if exitCodeOf(err) == exitNotFound { // with what was deleted before it, or by somebody else
			return nil
		}
		return err
	case actCreate:
		made, err := c.kind.create(ctx, a, c.body)
		if err != nil {
			return err
		}
		if c.id = word(made, "id"); len(c.secrets.add) > 0 {
			c.secrets.add = c.secrets.add[1:] // the first one came with it
		}
	}
	for _, secret := range c.secrets.add {
		got, err := a.api.CreateClientSecretWithResponse(ctx, c.id, nil, api.ClientSecretFields{ClientSecret: secret.text})
		if err := a.check(got, err); err != nil {
			return err
		}
		c.etag = "" // which moves with the secrets
	}
	if c.Action == actUpdate && c.body != nil {
		if err := c.kind.update(ctx, a, c.id, c.etag, c.body); err != nil {
			return err
		}
	}
	for _, secret := range c.secrets.drop {
		if err := a.check(a.api.DeleteClientSecretWithResponse(ctx, c.id, secret.ID)); err != nil && exitCodeOf(err) != exitNotFound {
			return err
		}
	}
	for _, id := range c.join {
		if err := joinGroup(ctx, a, c.id, id); err != nil {
			return err
		}
	}
	for _, id := range c.leave {
		if err := leaveGroup(ctx, a, c.id, id); err != nil {
			return err
		}
	}
	return nil
}

// finish tells what became of the plan, and returns the error of the command.
func (p *plan) finish(a *admin, dry bool, failed error) error {
	if a.json {
		if err := p.printJSON(a, dry); err != nil {
			return err
		}
	}
	switch {
	case failed != nil:
		return &exitError{exitCodeOf(failed), p.failure(failed)}
	case dry && len(p.changes) > 0:
		return &exitError{exitChanges, fmt.Errorf("changes to make: %d; nothing was done, because of --dry-run", len(p.changes))}
	case !dry && len(p.changes) > 0:
		a.say("Done: %d created, %d changed, %d deleted.", p.count(actCreate), p.count(actUpdate), p.count(actDelete))
	}
	return nil
}

// failure says what was done, what failed and what was not done.
func (p *plan) failure(failed error) error {
	var b strings.Builder
	for _, c := range p.changes {
		outcome := map[string]string{outcomeDone: "done", outcomeFailed: "failed", outcomeNot: "not done"}[c.Outcome]
		fmt.Fprintf(&b, "\n        %-8s  %s", outcome, c.headline())
	}
	return fmt.Errorf("%w%s\nmend: what failed may be half done; apply again when the cause is gone, and the rest is done", failed, b.String())
}

func (p *plan) printJSON(a *admin, dry bool) error {
	for _, c := range p.changes {
		if c.Outcome == "" {
			c.Outcome = outcomePlanned
		}
	}
	body, err := json.Marshal(map[string]any{
		"dry_run": dry, "changes": append([]*change{}, p.changes...), "unchanged": p.unchanged,
	})
	if err != nil {
		return err
	}
	return a.printJSON(body)
}
