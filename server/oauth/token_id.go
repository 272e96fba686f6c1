package oauth

import (
	"strings"
	"time"

	"grantd/storage"
)

// newTokenID returns the jti of a new access token. It leads to whom the token is
// for, a Family or, for a machine, its Client, and to when it was made: a jti is
// what logs have of a token, and there is no row to look it up in.
func newTokenID(now time.Time, clientID, familyID string) string {
	holder := familyID
	if holder == "" {
		holder = clientID
	}
	return storage.NewIDAt(storage.PrefixToken, now) + "_" + holder
}

// tokenID is what a jti says.
type tokenID struct {
	madeAt             time.Time
	familyID, clientID string // the opaque ids; one of the two is empty
}

// expiresAt is when the token has expired at the latest.
func (t tokenID) expiresAt() time.Time { return t.madeAt.Add(storage.MaxAccessTokenLifetime) }

// readTokenID reads a jti. errNotOurs: it does not have the form. Anybody can make
// one that has.
func readTokenID(jti string) (tokenID, error) {
	prefix, rest, _ := strings.Cut(jti, "_")
	id, holder, _ := strings.Cut(rest, "_")
	madeAt, err := storage.IDTime(storage.PrefixToken, prefix+"_"+id)
	if err != nil {
		return tokenID{}, errNotOurs
	}
	if _, err := storage.IDBytes(storage.PrefixFamily, holder); err == nil {
		return tokenID{madeAt: madeAt, familyID: holder}, nil
	}
	if _, err := storage.IDBytes(storage.PrefixClient, holder); err == nil {
		return tokenID{madeAt: madeAt, clientID: holder}, nil
	}
	return tokenID{}, errNotOurs
}
