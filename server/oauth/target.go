package oauth

import (
	"context"
	"slices"
	"strings"

	"grantd/storage"
)

// offlineAccess is accepted wherever scopes are and means nothing: a client gets
// a refresh token when it registered the grant type.
const offlineAccess = "offline_access"

// The bounds of a scope parameter.
const (
	maxScopeLength = 2048
	maxScopes      = 64
)

// asked is what a request says about its target.
type asked struct {
	resources []string // the resource parameters (RFC 8707 §2)
	scopes    []string // the scope parameter, split; nil: none was sent
}

// readAsked reads the scope and resource parameters.
func readAsked(resources []string, scope string) (asked, error) {
	if len(resources) > 1 {
		return asked{}, invalidTarget("A token is for one resource; send the resource parameter once.")
	}
	if len(scope) > maxScopeLength {
		return asked{}, invalidScope("The scope parameter is too long.")
	}
	a := asked{resources: resources}
	for name := range strings.FieldsFuncSeq(scope, func(r rune) bool { return r == ' ' }) {
		if !storage.IsScopeName(name) {
			return asked{}, invalidScope("The scope parameter has characters that no scope has.")
		}
		if name != offlineAccess && !slices.Contains(a.scopes, name) {
			a.scopes = append(a.scopes, name)
		}
	}
	if len(a.scopes) > maxScopes {
		return asked{}, invalidScope("The scope parameter names too many scopes.")
	}
	return a, nil
}

// target decides which Resource a client's request is for, and which of its
// Scopes: those asked for (all, if none) that the Resource has and the client's
// ceiling allows. Errors: invalid_target, invalid_scope.
func (o *OAuth) target(ctx context.Context, client *storage.Client, a asked) (*storage.Resource, []string, error) {
	all, err := o.Catalog.Resources(ctx)
	if err != nil {
		return nil, nil, err
	}
	reachable := make([]*storage.Resource, 0, len(all))
	for _, r := range all {
		if client.MayReach(r) {
			reachable = append(reachable, r)
		}
	}
	resource, named := o.administration(a)
	if !named || !client.MayReach(resource) {
		if resource, err = choose(reachable, a); err != nil {
			return nil, nil, err
		}
	}
	scopes := resource.ScopeNames()
	if len(a.scopes) > 0 {
		scopes = storage.Intersect(scopes, a.scopes)
	}
	if scopes = client.Within(scopes); len(scopes) == 0 {
		return nil, nil, invalidScope("None of the scopes asked for can be granted to this client for this resource.")
	}
	return resource, scopes, nil
}

// choose picks the Resource a request names, or the only one that fits.
func choose(reachable []*storage.Resource, a asked) (*storage.Resource, error) {
	if len(a.resources) == 1 {
		if i := slices.IndexFunc(reachable, func(r *storage.Resource) bool { return r.Names(a.resources[0]) }); i >= 0 {
			return reachable[i], nil
		}
		return nil, invalidTarget("The resource is not known here, or not open to this client.")
	}
	fitting := reachable
	if len(a.scopes) > 0 {
		fitting = slices.DeleteFunc(slices.Clone(reachable), func(r *storage.Resource) bool {
			return len(storage.Intersect(a.scopes, r.ScopeNames())) == 0
		})
		if len(fitting) == 0 {
			return nil, invalidScope("None of the scopes asked for is known here.")
		}
		if len(fitting) > 1 {
			fitting = ownersOfAll(fitting, a.scopes)
		}
	}
	if len(fitting) != 1 {
		return nil, invalidTarget("Send the resource parameter: the request does not say which resource it is for.")
	}
	return fitting[0], nil
}

// ownersOfAll keeps the Resources that have every one of the scopes that any of
// them has.
func ownersOfAll(resources []*storage.Resource, scopes []string) []*storage.Resource {
	var known []string
	for _, r := range resources {
		known = append(known, r.ScopeNames()...)
	}
	wanted := storage.Intersect(scopes, known)
	return slices.DeleteFunc(slices.Clone(resources), func(r *storage.Resource) bool {
		return len(storage.Intersect(wanted, r.ScopeNames())) < len(wanted)
	})
}

// resourceByID finds a Resource among the known ones, or the identity of people.
// storage.ErrNotFound.
func (o *OAuth) resourceByID(ctx context.Context, id string) (*storage.Resource, error) {
	if id == storage.IdentityResourceID {
		return o.identity, nil
	}
	return o.resourceWhere(ctx, func(r *storage.Resource) bool { return r.ID == id })
}

// resourceByURI finds the Resource whose canonical URI this is. storage.ErrNotFound.
func (o *OAuth) resourceByURI(ctx context.Context, uri string) (*storage.Resource, error) {
	return o.resourceWhere(ctx, func(r *storage.Resource) bool { return r.URI == uri })
}

func (o *OAuth) resourceWhere(ctx context.Context, is func(*storage.Resource) bool) (*storage.Resource, error) {
	all, err := o.Catalog.Resources(ctx)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], nil
	}
	if is(o.admin) {
		return o.admin, nil
	}
	return nil, storage.ErrNotFound
}
