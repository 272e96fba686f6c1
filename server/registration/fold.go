package registration

import (
	"crypto/sha256"
	"encoding/json"
	"slices"

	"grantd/storage"
)

// foldedURIs are the client's redirect URIs without the ports that are free.
func foldedURIs(c *storage.Client) []string {
	var folded []string
	for _, uri := range c.RedirectURIs {
		if uri = storage.FoldedRedirectURI(uri); !slices.Contains(folded, uri) {
			folded = append(folded, uri)
		}
	}
	return folded
}

// digestOf is the same for two public clients exactly if nobody could tell them
// apart: everything that a client says of itself is in it. The order of redirect
// URIs and scopes says nothing.
func digestOf(c *storage.Client) []byte {
	sorted := func(list []string) []string { return slices.Sorted(slices.Values(list)) }
	all := []any{
		"grantd public client 1", c.ClientName, sorted(c.RedirectURIs), c.GrantTypes, c.ResponseTypes, c.ApplicationType,
		sorted(c.Scope), c.ClientURI, c.LogoURI, c.TosURI, c.PolicyURI, slices.Concat(c.Contacts), c.SoftwareID, c.SoftwareVersion,
	}
	if len(c.PostLogoutRedirectURIs) > 0 { // without, it is what it was before there were any
		all = append(all, sorted(c.PostLogoutRedirectURIs))
	}
	said, _ := json.Marshal(all) // strings always encode
	sum := sha256.Sum256(said)
	return sum[:]
}
