package upstream

import (
	"slices"

	"grantd/storage"
)

// methods are the authentication methods that have a registered name (RFC 8176 §2).
var methods = []string{
	"face", "fpt", "geo", "hwk", "iris", "kba", "mca", "mfa", "otp", "pin", "pop", "pwd", "rba", "retina", "sc", "sms", "swk", "tel", "user", "vbm", "wia",
}

// amr is how the provider says that the person signed in, as far as the names are
// registered ones. Two factors are said by amr, or by the acr that means them.
func (t *idToken) amr() []string {
	said := storage.Intersect(methods, t.claims.texts("amr"))
	if t.acr == storage.ACRMultiFactor && !slices.Contains(said, storage.AMRMultiFactor) {
		said = append(said, storage.AMRMultiFactor)
	}
	return said
}
