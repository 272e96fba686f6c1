package consent

import "grantd/storage"

// scopesOf are the scopes that the page may show: those of the Resource and those of
// the identity.
func scopesOf(q Question) []storage.Scope {
	scopes := q.Resource.Scopes
	if q.Resource.Identity() {
		scopes = nil
	}
	for _, scope := range storage.NewIdentityResource().Scopes {
		scope.Risk = "" // there is nothing here to read or write
		scopes = append(scopes[:len(scopes):len(scopes)], scope)
	}
	return scopes
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
