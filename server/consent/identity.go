package consent

import (
	"slices"

	"grantd/storage"
)

// identity is what the page may show beside the scopes of a Resource.
var identity = func() []storage.Scope {
	scopes := storage.NewIdentityResource().Scopes
	for i := range scopes {
		scopes[i].Risk = "" // there is nothing here to read or write
	}
	return scopes
}()

// scopesOf are the scopes that the page may show: those of the Resource and those of
// the identity.
func scopesOf(q Question) []storage.Scope {
	if q.Resource.Identity() {
		return identity
	}
	return slices.Concat(q.Resource.Scopes, identity)
}

// told is what a scope of the identity tells the client of the person, as the page
// shows it; "" for every other.
func told(scope string, user storage.User) string {
	switch {
	case scope == storage.ScopeEmail:
		return user.Email
	case scope == storage.ScopeProfile && user.Name != "":
		return user.Name + " (" + user.Username + ")"
	case scope == storage.ScopeProfile:
		return user.Username
	}
	return ""
}
