package consent

import "grantd/storage"

// scopesOf are the scopes that the page may show: those of the Resource and those of
// the identity, which say what of the person the client is told.
func scopesOf(q Question) []storage.Scope {
	scopes := q.Resource.Scopes
	if q.Resource.Identity() {
		scopes = nil
	}
	user := q.SignIn.User
	told := map[string]string{storage.ScopeProfile: user.Username, storage.ScopeEmail: user.Email}
	if user.Name != "" {
		told[storage.ScopeProfile] = user.Name + " (" + user.Username + ")"
	}
	for _, scope := range storage.NewIdentityResource().Scopes {
		if what := told[scope.Name]; what != "" {
			scope.Description += ": " + what
		}
		scope.Risk = "" // there is nothing here to read or write
		scopes = append(scopes[:len(scopes):len(scopes)], scope)
	}
	return scopes
}
