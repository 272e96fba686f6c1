package consent

import (
	"encoding/hex"
	"testing"

	"grantd/server/web"
	"grantd/storage"
)

// TestDigestIsKept: a server that is replaced has shown pages that the next one judges.
// Whoever changes what a page says on purpose changes this, and makes the pages out of
// date that are open at that moment.
func TestDigestIsKept(t *testing.T) {
	issuer, err := web.ParseIssuer("https://auth.example.com/tenant")
	if err != nil {
		t.Fatal(err)
	}
	c := &Consent{Pages: &web.Pages{Issuer: issuer}}
	q := Question{
		Query: "client_id=cl_1&scope=notes%3Aread&state=x", RedirectURI: "https://app.example.com/cb",
		Client: &storage.Client{
			ID: "cl_1", ClientID: "cl_1", ClientName: "Example", Source: storage.SourceRegistered,
			RedirectURIs: []string{"https://app.example.com/cb"}, GrantTypes: []string{"authorization_code", "refresh_token"},
		},
		Resource: &storage.Resource{
			ID: "res_1", URI: "https://mcp.example.com/mcp", Name: "Notes",
			Scopes: []storage.Scope{{Name: "notes:read", Description: "Read notes.", Tools: []string{"list"}, Risk: storage.RiskRead}},
		},
		Scopes: []string{"notes:read"}, Withheld: []string{"notes:purge"},
		SignIn: &storage.SignIn{Session: storage.Session{ID: "ses_1"}, User: storage.User{ID: "usr_1", Username: "ada", Name: "Ada Example"}},
	}
	const want = "7d8a26069700f095637a11c3942ddf9177f5f618452da2635d6f08e2a5ab7902"
	if got := hex.EncodeToString(c.digest(q, c.page(q))); got != want {
		t.Errorf("the digest is %s, want %s", got, want)
	}
}
