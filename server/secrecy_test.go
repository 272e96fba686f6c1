package server_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"grantd/migrations"
	"grantd/server/servertest"
	"grantd/storage/sqlite"
)

// TestST01NothingStoredIsUsable goes through everything that hands out a secret and
// then looks for each in the bytes of the database.
func TestST01NothingStoredIsUsable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "grantd.db")
	if err := migrations.Up(t.Context(), "sqlite:"+path); err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	s := servertest.New(t, servertest.WithStore(store))
	s.Resource(resourceURI, nil, "notes:read")
	s.User("alice")
	clientID := s.PublicClient(callback).String("client_id")
	machine := s.MachineClient()

	browser := s.SignedIn("alice")
	code := browser.Code(servertest.AuthorizationRequest(clientID, callback, resourceURI))
	first := s.Redeem(clientID, code)
	second := s.Refresh(clientID, first.JSON.String("refresh_token"))
	own := s.Post("/token", servertest.Form("grant_type", "client_credentials", "resource", resourceURI),
		machine.String("client_id")+":"+machine.String("client_secret"))
	revoked := s.Post("/revoke", servertest.Form("token", own.JSON.String("access_token")), machine.String("client_id")+":"+machine.String("client_secret"))
	if revoked.Status != http.StatusOK {
		t.Fatalf("revoke: %d %s", revoked.Status, revoked.Body)
	}
	web := s.SecretClient(webCallback)
	pushed := wantPushed(t, s.Post("/par", changed(servertest.AuthorizationRequest(web.String("client_id"), webCallback, resourceURI), "client_secret", web.String("client_secret")), ""))
	secrets := map[string]string{
		"the request_uri": pushed, "what makes the request_uri": strings.TrimPrefix(pushed, requestURIPrefix), "the secret that was pushed": web.String("client_secret"),
		"the code": code, "the first refresh token": first.JSON.String("refresh_token"), "the second refresh token": second.JSON.String("refresh_token"),
		"a person's access token": second.JSON.String("access_token"), "a machine's access token": own.JSON.String("access_token"),
		"the client secret": machine.String("client_secret"), "the password": servertest.Password, "the admin key": servertest.AdminKey,
		"the root key": string(servertest.RootKey),
	}
	for _, cookie := range browser.Cookies() {
		secrets["the cookie "+cookie.Name] = cookie.Value
	}
	for _, file := range []string{path, path + "-wal"} {
		stored, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if file == path+"-wal" && !bytes.Contains(stored, []byte("alice")) {
			t.Fatal("the write-ahead log does not have what was just written: this test looks in the wrong place")
		}
		for name, secret := range secrets {
			if len(secret) < 16 {
				t.Fatalf("%s is %q", name, secret)
			}
			if bytes.Contains(stored, []byte(secret)) {
				t.Errorf("%s stands in %s", name, filepath.Base(file))
			}
		}
	}
}

// TestMD02ForgedHost asks for the documents under other names: they never change.
func TestMD02ForgedHost(t *testing.T) {
	s := servertest.New(t)
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/jwks"} {
		plain := s.Get(path)
		forwarded := s.Do(s.Request(http.MethodGet, path, "", http.Header{"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"http"}, "Forwarded": {"host=evil.example"}}))
		if plain.Status != http.StatusOK || forwarded.Body != plain.Body {
			t.Errorf("%s: %d %s, forwarded: %s", path, plain.Status, plain.Body, forwarded.Body)
		}
		r := s.Request(http.MethodGet, path, "", nil)
		r.Host = "evil.example"
		if forged := s.Do(r); forged.Status != http.StatusMisdirectedRequest {
			t.Errorf("%s for evil.example: %d %s", path, forged.Status, forged.Body)
		}
	}
}

// wantNotStored checks that a text is nowhere in the bytes of a SQLite database.
func wantNotStored(t testing.TB, path, text string) {
	t.Helper()
	for _, file := range []string{path, path + "-wal"} {
		stored, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(stored, []byte(text)) {
			t.Errorf("%q stands in %s", text, filepath.Base(file))
		}
	}
}
