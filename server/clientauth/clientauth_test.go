package clientauth_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"grantd/server/clientauth"
	"grantd/server/web"
	"grantd/storage"
)

// clients know the clients that have the id and the secret of a test.
type clients map[string]*storage.Client

func (c clients) Client(_ context.Context, clientID string) (*storage.Client, error) {
	if found, ok := c[clientID]; ok {
		return found, nil
	}
	return nil, storage.ErrNotFound
}

func secretClient(id, secret string) *storage.Client {
	hash := sha256.Sum256([]byte(secret))
	return &storage.Client{
		ID: "cl_" + id, ClientID: id, TokenEndpointAuthMethod: storage.AuthMethodClientSecretBasic,
		Secrets: []storage.ClientSecret{{Hash: hash[:]}},
	}
}

func newAuthenticator(known ...*storage.Client) *clientauth.Authenticator {
	c := clients{}
	for _, client := range known {
		c[client.ClientID] = client
	}
	now := func() time.Time { return time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC) }
	return &clientauth.Authenticator{Clients: c, Now: now, Failures: &web.FailureLimit{Failures: 1000, Window: time.Minute, Now: now}}
}

func authenticate(t testing.TB, a *clientauth.Authenticator, header ...string) (*storage.Client, error) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/token", nil)
	r.Header["Authorization"] = header
	return a.Authenticate(r, web.Parameters{Values: url.Values{}})
}

func basic(userinfo string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(userinfo))
}

// TestBasic reads the Authorization header as RFC 6749 §2.3.1 and RFC 7617 have
// it, and nothing else as if it were one.
func TestBasic(t *testing.T) {
	const id, secret = "https://app.example/client", "s:e%c+r t/é="
	a := newAuthenticator(secretClient(id, secret), secretClient("plain", "cs_abc-DEF_123"), secretClient("empty", ""))
	encoded := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
	plain := basic("plain:cs_abc-DEF_123")
	for _, c := range []struct {
		name   string
		header []string
		want   string // the client; empty: refused
		code   string
	}{
		{"TK-04 both parts encoded", []string{basic(encoded)}, id, ""},
		{"grantd's own ids and secrets need no encoding", []string{plain}, "plain", ""},
		{"scheme in any case", []string{"bAsIc " + plain[len("Basic "):]}, "plain", ""},
		{"more spaces", []string{"Basic   " + plain[len("Basic "):]}, "plain", ""},

		{"wrong secret", []string{basic("plain:cs_abc-DEF_124")}, "", "invalid_client"},
		{"secret in other case", []string{basic("plain:CS_ABC-DEF_123")}, "", "invalid_client"},
		{"part of the secret", []string{basic("plain:cs_abc")}, "", "invalid_client"},
		{"no secret", []string{basic("plain:")}, "", "invalid_client"},
		{"an empty secret is no secret, even if it is the one", []string{basic("empty:")}, "", "invalid_client"},
		{"unknown client", []string{basic("nobody:cs_abc-DEF_123")}, "", "invalid_client"},
		{"no colon", []string{basic("plain")}, "", "invalid_client"},
		{"no id", []string{basic(":cs_abc-DEF_123")}, "", "invalid_client"},
		{"bad escape in the id", []string{basic("%zz:x")}, "", "invalid_client"},
		{"bad escape in the secret", []string{basic("plain:%zz")}, "", "invalid_client"},
		{"nothing behind the scheme", []string{"Basic"}, "", "invalid_client"},
		{"not base64", []string{"Basic !!!"}, "", "invalid_client"},
		{"base64url", []string{"Basic " + base64.URLEncoding.EncodeToString([]byte("plain:\xff\xfe\xfd"))}, "", "invalid_client"},
		{"without padding", []string{"Basic " + base64.RawStdEncoding.EncodeToString([]byte("plain:cs_abc-DEF_123"))}, "", "invalid_client"},
		{"Bearer", []string{"Bearer cs_abc-DEF_123"}, "", "invalid_client"},
		{"empty header", []string{""}, "", "invalid_client"},
		{"two headers", []string{plain, plain}, "", "invalid_request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := authenticate(t, a, c.header...)
			if c.want != "" {
				if err != nil || client.ClientID != c.want {
					t.Errorf("%v, %v", client, err)
				}
				return
			}
			var refused *web.OAuthError
			if client != nil || !errors.As(err, &refused) || refused.Code != c.code {
				t.Fatalf("%v, %v; want %s", client, err, c.code)
			}
			if want := c.code == "invalid_client"; refused.Challenge != want || (refused.Status == http.StatusUnauthorized) != want {
				t.Errorf("status %d, challenge %v", refused.Status, refused.Challenge)
			}
		})
	}
}

// FuzzBasic: no header but the right one authenticates.
func FuzzBasic(f *testing.F) {
	a := newAuthenticator(secretClient("plain", "cs_abc-DEF_123"))
	a.Failures.Failures = 1 << 62
	for _, header := range []string{"", "Basic", "Basic Og==", basic("plain:"), basic("plain:cs_abc"), basic("a:b:c"), "Basic =", "Negotiate x"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		client, err := authenticate(t, a, header)
		if err == nil {
			_, encoded, _ := strings.Cut(header, " ")
			raw, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
			if sent, _ := url.QueryUnescape(string(raw)); sent != "plain:cs_abc-DEF_123" {
				t.Errorf("%q authenticates %s", header, client.ClientID)
			}
			return
		}
		var refused *web.OAuthError
		if client != nil || !errors.As(err, &refused) || refused.Status >= 500 {
			t.Errorf("%q: %v, %v", header, client, err)
		}
	})
}
