package clientauth_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"grantd/server/clientauth"
	"grantd/server/outbound"
	"grantd/storage"
)

// leadsTo resolves every name to one address.
type leadsTo string

func (a leadsTo) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr(string(a))}, nil
}

// TestJWKSURIRefused: HR-8. Only what the URL itself says is the client's fault.
// A name that leads inward for a while is an outage, which must not cost a client
// its credentials.
func TestJWKSURIRefused(t *testing.T) {
	for name, c := range map[string]struct {
		url         string
		want, other error
	}{
		"a name that resolves to 0.0.0.0": {"https://keys.example/jwks.json", storage.ErrUnavailable, storage.ErrNotFound},
		"an address":                      {"https://0.0.0.0/jwks.json", storage.ErrNotFound, storage.ErrUnavailable},
		"an internal name":                {"https://keys.internal/jwks.json", storage.ErrNotFound, storage.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			fetcher := outbound.New(outbound.Config{Resolver: leadsTo("0.0.0.0")})
			keys := clientauth.ClientKeys{Fetcher: fetcher, Now: time.Now}
			_, err := keys.Keys(t.Context(), &storage.Client{JWKSURI: c.url}, false)
			if !errors.Is(err, c.want) || errors.Is(err, c.other) {
				t.Errorf("the error is %v, want %v", err, c.want)
			}
		})
	}
}
