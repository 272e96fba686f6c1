package main

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"grantd/cmd/grantd/internal/manifest"
	"grantd/storage"
)

func newExportCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print the clients, resources, groups, policies and providers as YAML that \"grantd apply\" takes",
		Long: `Print the clients, resources, groups, policies and providers as YAML that "grantd apply" takes.

Applying it to the same server changes nothing. Secrets are not in it, for nobody can
read them back: a client's are named by their fingerprints, a provider's is left out.
To make either elsewhere, name the file or the environment variable that has the secret instead.
Clients that registered themselves are left out. With --json it is the same in JSON,
which apply takes too.

` + exitCodes,
		Args: cobra.NoArgs,
	}
	cmd.Flags().String("set", "", "only what belongs to the set of this `name` (default: everything)")
	addAdminFlags(cmd)
	return adminCommand(environ, cmd, func(ctx context.Context, a *admin, _ []string) error {
		set, err := cmd.Flags().GetString("set")
		if err != nil {
			return err
		}
		var b bytes.Buffer
		lists := object{}
		for _, k := range keptKinds {
			items, err := k.items(ctx, a, set)
			if err != nil {
				return err
			}
			if b.Len() > 0 && len(items) > 0 {
				b.WriteString("\n")
			}
			if err := manifest.Write(&b, &k.Kind, items); err != nil {
				return err
			}
			fields := make([]object, len(items))
			for i, item := range items {
				fields[i] = item.Fields
			}
			lists[k.List] = fields
		}
		if a.json {
			body, err := json.Marshal(lists)
			if err != nil {
				return err
			}
			return a.printJSON(body)
		}
		_, err = b.WriteTo(cmd.OutOrStdout())
		return err
	})
}

// items are the things of one kind, by name.
func (k *kept) items(ctx context.Context, a *admin, set string) ([]manifest.Item, error) {
	things, err := k.all(ctx, a)
	if err != nil {
		return nil, err
	}
	things = slices.DeleteFunc(things, func(o object) bool {
		source := word(o, "source")
		return source != "" && source != string(storage.SourceRegistered) || set != "" && word(o, "managed_by") != set
	})
	slices.SortFunc(things, func(x, y object) int { return strings.Compare(word(x, k.Key), word(y, k.Key)) })
	items := make([]manifest.Item, len(things))
	for i, thing := range things {
		if items[i], err = k.item(ctx, a, thing); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// item is a thing as a file has it.
func (k *kept) item(ctx context.Context, a *admin, thing object) (manifest.Item, error) {
	item := manifest.Item{Fields: object{}, Comments: map[string]string{}}
	for _, name := range k.apiFields() {
		if !empty(thing[name]) {
			item.Fields[name] = withoutEmpty(thing[name])
		}
	}
	switch k.List {
	case clientsList:
		got, err := a.api.ListClientSecretsWithResponse(ctx, word(thing, "id"))
		if err := a.check(got, err); err != nil {
			return item, err
		}
		var references []any
		for _, secret := range got.JSON200.Items {
			references = append(references, object{"fingerprint": secret.Fingerprint})
		}
		if len(references) > 0 {
			item.Fields[secretsField] = references
			item.Comments[secretsField] = "to make the client elsewhere: {file: PATH} or {env: NAME} with the secret of that fingerprint"
		}
	case groupsList:
		members, err := membersOf(ctx, a, word(thing, k.Key))
		if err != nil {
			return item, err
		}
		names := []any{}
		for _, u := range members {
			names = append(names, u.Username)
		}
		item.Fields[membersField] = names
	case providersList:
		if delete(item.Fields, "enabled"); thing["enabled"] == false {
			item.Fields["enabled"] = false
		}
		if thing["has_client_secret"] == true {
			item.Comments[k.Key] = "to make it elsewhere: client_secret: {file: PATH} or {env: NAME}"
		} else {
			item.Fields[secretField] = object{"none": true}
		}
	}
	return item, nil
}

// withoutEmpty leaves out the fields without a value of the things in a list.
func withoutEmpty(v any) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	all := make([]any, len(list))
	for i, item := range list {
		thing, ok := item.(object)
		if !ok {
			all[i] = item
			continue
		}
		left := object{}
		for name, value := range thing {
			if !empty(value) {
				left[name] = value
			}
		}
		all[i] = left
	}
	return all
}
