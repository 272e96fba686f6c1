package main_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// newIdentityProvider is a provider's metadata and keys, and what signs for it.
func newIdentityProvider(t *testing.T) (issuer string, sign func(claims map[string]any) string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	handlers := http.NewServeMux()
	server := httptest.NewServer(handlers)
	t.Cleanup(server.Close)
	handlers.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		var answer any = map[string]any{
			"issuer": server.URL, "authorization_endpoint": server.URL + "/authorize", "token_endpoint": server.URL + "/token", "jwks_uri": server.URL + "/jwks",
			"userinfo_endpoint": server.URL + "/userinfo", "id_token_signing_alg_values_supported": []string{"ES256"},
		}
		if r.URL.Path == "/jwks" {
			answer = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Use: "sig"}}}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	})
	return server.URL, func(claims map[string]any) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
		if err != nil {
			t.Fatal(err)
		}
		payload, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		token, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
}

// What is right with a provider and what is not is a line each, then who an ID token
// would sign in.
func TestProviderTestCommand(t *testing.T) {
	inFolder(t)
	issuer, sign := newIdentityProvider(t)
	_, line := serve(t, "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--outbound-allow="+strings.TrimPrefix(issuer, "http://"))
	o := &office{t: t, environ: []string{"GRANTD_ADMIN_URL=" + line["admin"].(string)}}
	o.do(0, "provider", "add", issuer, "--name", "Local", "--client-id", "grantd", "--allowed-group", "staff")
	plain := o.do(0, "provider", "test", "Local")
	wantText(t, "without a token", plain.stdout, "client secret", "good: there is none: a public client", "good: sign-in at "+issuer+"/authorize", "good: 1 keys", "/callback")
	if strings.Contains(plain.stdout, "WRONG") || strings.Contains(plain.stdout, "subject") {
		t.Errorf("without a token: %s", plain.stdout)
	}
	for name, test := range map[string]struct {
		change map[string]any
		code   int
		says   []string
	}{
		"who may":      {map[string]any{"groups": []string{"staff"}, "email_verified": true}, 0, []string{"good: is valid", "good: are mapped\n", "good: may sign in", "Bea", "bea@example.com (verified)", "staff"}},
		"who may not":  {map[string]any{"groups": []string{"guests"}}, 1, []string{"good: is valid", "good: are mapped; a sign-in also asks", "WRONG: refused: not of an allowed group", "(not verified)", "guests"}},
		"an old token": {map[string]any{"exp": 1}, 1, []string{"WRONG: the ID token: it has expired"}},
		"another's":    {map[string]any{"aud": "other"}, 1, []string{"WRONG: the ID token: it is malformed, badly signed, for another client"}},
	} {
		claims := map[string]any{
			"iss": issuer, "sub": "s1", "aud": "grantd", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "name": "Bea", "email": "bea@example.com",
		}
		for claim, value := range test.change {
			claims[claim] = value
		}
		token := sign(claims)
		write(t, "token", token)
		if err := os.Chmod("token", 0o600); err != nil {
			t.Fatal(err)
		}
		tested := o.doAny(test.code, "provider", "test", "Local", "--id-token-file", "token")
		wantText(t, name, tested.stdout, test.says...)
		if strings.Contains(tested.stdout+tested.stderr, token) {
			t.Errorf("%s: the token is shown: %s", name, tested.stdout)
		}
	}
}
