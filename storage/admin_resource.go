package storage

import (
	"slices"
	"time"
)

// AdminResourceID is the id of the built-in Resource that the admin API is to access
// tokens. It sorts before every other id of a Resource.
const AdminResourceID = PrefixResource + "00000000000000000000000000"

// AdminGroup is the Group whose members may administer.
const AdminGroup = "admins"

// AdminFamilyLifetime is how long a sign-in to the admin API lasts: a working day.
const AdminFamilyLifetime = 12 * time.Hour

// The Scopes of the built-in Resource.
const (
	ScopeAdminRead  = "admin:read"
	ScopeAdminWrite = "admin:write"
)

// adminResourceRow is the URI that the row of the built-in Resource has. No client
// can send it: the real one depends on the issuer.
const adminResourceRow = "urn:grantd:admin-api"

// AdminResource returns the built-in Resource, under the URI that it has for an
// issuer. It is hidden: ResourceStore neither lists nor finds it. Its row is made with
// the first Client that has AdminAccess, so that Grants can refer to it.
func AdminResource(uri string) *Resource {
	return &Resource{
		ID: AdminResourceID, URI: uri, Version: 1, Name: "the administration of this server",
		Scopes: []Scope{
			{Name: ScopeAdminRead, Description: "See all clients, servers, users, grants and audit events", Tools: []string{}, Risk: RiskRead},
			{Name: ScopeAdminWrite, Description: "Change all of it: add and remove administrators, clients, servers and users", Tools: []string{}, Risk: RiskWrite},
		},
		IntrospectionClients: []string{}, AccessTokenLifetime: DefaultAccessTokenLifetime,
	}
}

// AdminResourceRow is AdminResource as its row has it, made at now.
func AdminResourceRow(now time.Time) *Resource {
	r := AdminResource(adminResourceRow)
	r.CreatedAt, r.UpdatedAt = now, now
	return r
}

// BuiltIn reports whether r is the built-in Resource.
func (r *Resource) BuiltIn() bool { return r.ID == AdminResourceID }

// MayAdminister reports whether u is one of those who may administer.
func (u *User) MayAdminister() bool { return !u.Disabled && slices.Contains(u.Groups, AdminGroup) }
