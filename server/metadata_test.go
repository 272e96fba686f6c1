package server_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"grantd/server"
	"grantd/server/keys"
	"grantd/server/servertest"
	"grantd/server/web"
	"grantd/storage"
)

const (
	oauthName  = "/.well-known/oauth-authorization-server"
	openIDName = "/.well-known/openid-configuration"
)

func TestMD01MetadataIsFound(t *testing.T) {
	for _, c := range []struct {
		issuerPath string
		paths      []string // relative to the origin
		absent     []string
	}{
		{"", []string{oauthName, openIDName}, []string{oauthName + "/mcp", openIDName + "/tenant", "/tenant" + oauthName, oauthName + "/"}},
		{"/tenant", []string{
			oauthName + "/tenant", openIDName + "/tenant", // inserted
			"/tenant" + oauthName, "/tenant" + openIDName, // appended
		}, []string{oauthName, openIDName, oauthName + "/other", oauthName + "/tenant/mcp", "/other" + openIDName}},
		{"/a/b", []string{oauthName + "/a/b", openIDName + "/a/b", "/a/b" + oauthName, "/a/b" + openIDName}, []string{oauthName + "/a", "/a" + oauthName + "/b"}},
	} {
		t.Run("issuer path "+c.issuerPath, func(t *testing.T) {
			s := servertest.New(t, servertest.WithIssuerPath(c.issuerPath))
			for _, path := range c.paths {
				answer := s.Get(s.Origin + path)
				if answer.Status != http.StatusOK || answer.JSON["issuer"] != s.URL {
					t.Errorf("%s: %d, issuer %v, want %s", path, answer.Status, answer.JSON["issuer"], s.URL)
				}
				wantPublicDocument(t, answer)
				if answer.JSON["jwks_uri"] != s.URL+"/jwks" || strings.Contains(path, "openid") != (answer.JSON["subject_types_supported"] != nil) {
					t.Errorf("%s: %s", path, answer.Body)
				}
				if head := s.Do(s.Request(http.MethodHead, s.Origin+path, "", nil)); head.Status != http.StatusOK || head.Body != "" {
					t.Errorf("HEAD %s: %d", path, head.Status)
				}
				preflight := s.Do(s.Request(http.MethodOptions, s.Origin+path, "", http.Header{"Origin": {"https://app.example"}, "Access-Control-Request-Method": {"GET"}, "Access-Control-Request-Headers": {"mcp-protocol-version"}}))
				if preflight.Status != http.StatusNoContent || preflight.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(preflight.Header.Get("Access-Control-Allow-Headers"), "MCP-Protocol-Version") {
					t.Errorf("preflight of %s: %d %v", path, preflight.Status, preflight.Header)
				}
			}
			for _, path := range c.absent {
				if answer := s.Get(s.Origin + path); answer.Status != http.StatusNotFound {
					t.Errorf("%s: %d, want 404: it is not this issuer's", path, answer.Status)
				}
			}
		})
	}
}

// wantPublicDocument checks the headers of what any program may read and keep for
// minutes.
func wantPublicDocument(t testing.TB, answer *servertest.Answer) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff",
		"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "",
	} {
		if got := answer.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	wantNoNull(t, answer.Body)
}

func TestMD03Members(t *testing.T) {
	for _, open := range []bool{false, true} {
		mode := storage.RegistrationOff
		if open {
			mode = storage.RegistrationAllow
		}
		h := newHouse(t, servertest.WithRegistration(mode, ""))
		document := h.Get(oauthName).JSON
		has := func(member, value string) bool {
			list, _ := document[member].([]any)
			return slices.Contains(list, any(value))
		}
		for member, values := range map[string][]string{
			"response_types_supported":                      {"code"},
			"response_modes_supported":                      {"query"},
			"grant_types_supported":                         {"authorization_code", "refresh_token", "client_credentials", servertest.DeviceGrantType},
			"token_endpoint_auth_methods_supported":         {"none", "client_secret_basic", "client_secret_post"},
			"revocation_endpoint_auth_methods_supported":    {"none", "client_secret_basic", "client_secret_post"},
			"introspection_endpoint_auth_methods_supported": {"client_secret_basic", "client_secret_post"},
		} {
			for _, value := range values {
				if !has(member, value) {
					t.Errorf("%s is %v, without %s", member, document[member], value)
				}
			}
		}
		if list, _ := document["code_challenge_methods_supported"].([]any); len(list) != 1 || list[0] != "S256" {
			t.Errorf("code_challenge_methods_supported is %v", list)
		}
		if document["pushed_authorization_request_endpoint"] != h.URL+"/par" || document["require_pushed_authorization_requests"] != false {
			t.Errorf("pushed requests: %v, required: %v", document["pushed_authorization_request_endpoint"], document["require_pushed_authorization_requests"])
		}
		if document["authorization_response_iss_parameter_supported"] != true || has("introspection_endpoint_auth_methods_supported", "none") || has("scopes_supported", "offline_access") {
			t.Errorf("the document is %v", document)
		}
		for member, value := range document {
			endpoint, isString := value.(string)
			if !isString || member == "issuer" {
				continue
			}
			path, below := strings.CutPrefix(endpoint, h.URL)
			if !below {
				t.Errorf("%s is %s, not below the issuer", member, endpoint)
			}
			if answer := h.Get(path); answer.Status == http.StatusNotFound {
				t.Errorf("%s is advertised and not there", member)
			}
		}
		if _, advertised := document["registration_endpoint"]; advertised != open || (h.register("{}").Status != http.StatusNotFound) != open {
			t.Errorf("registration is open: %v; advertised: %v", open, advertised)
		}
		for _, grantType := range []string{
			"authorization_code", "refresh_token", "client_credentials", "password", "implicit",
			"urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:jwt-bearer",
		} {
			answer := h.Post("/token", servertest.Form("grant_type", grantType, "client_id", h.clientID), "")
			if refused := answer.JSON["error"] == "unsupported_grant_type"; refused == has("grant_types_supported", grantType) {
				t.Errorf("%s is advertised: %v, and answered with %s", grantType, !refused, answer.Body)
			}
		}
	}
}

// TestMD04JWKS: anybody can check a token with what is published, and nobody can
// make one.
func TestMD04JWKS(t *testing.T) {
	h := newHouse(t)
	answer := h.Get("/jwks")
	wantPublicDocument(t, answer)
	list, _ := answer.JSON["keys"].([]any)
	for _, item := range list {
		key := servertest.Object(item.(map[string]any))
		for name := range key {
			if !slices.Contains([]string{"kty", "use", "kid", "alg", "crv", "x", "y"}, name) {
				t.Errorf("a key has %q", name)
			}
		}
		if key["use"] != "sig" || key["alg"] != "ES256" || key["kty"] != "EC" || key.String("kid") == "" {
			t.Errorf("key %v", key)
		}
	}
	if len(list) != 2 {
		t.Errorf("%d keys, want the active and the next one", len(list))
	}
	token := h.tokens(t).JSON.String("access_token")
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jws.Verify(publishedKeys(t, h.Server)); err != nil {
		t.Errorf("a token does not verify with the published keys: %v", err)
	}
	if header := jws.Signatures[0].Header; header.ExtraHeaders[jose.HeaderType] != "at+jwt" || header.JSONWebKey != nil {
		t.Errorf("header %v", header)
	}
}

func publishedKeys(t testing.TB, s *servertest.Server) *jose.JSONWebKeySet {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(s.Get("/jwks").Body), &set); err != nil {
		t.Fatal(err)
	}
	return &set
}

// TestMD05ForgedTokens: introspection takes no token that this server did not sign
// as an access token. Package keys tries more of them.
func TestMD05ForgedTokens(t *testing.T) {
	o := newOffice(t)
	good := o.tokens(t).access
	parts := strings.Split(good, ".")
	key := publishedKeys(t, o.Server).Keys[0]
	public, err := x509.MarshalPKIXPublicKey(key.Key.(*ecdsa.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	header := func(alg, typ, kid string) string {
		return encode(`{"alg":"` + alg + `","typ":"` + typ + `","kid":"` + kid + `"}`)
	}
	hs256 := header("HS256", "at+jwt", key.KeyID) + "." + parts[1]
	mac := hmac.New(sha256.New, public)
	mac.Write([]byte(hs256))
	for name, token := range map[string]string{
		"alg none":                  header("none", "at+jwt", key.KeyID) + "." + parts[1] + ".",
		"HS256 with the public key": hs256 + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)),
		"other kid":                 header("ES256", "at+jwt", "other") + "." + parts[1] + "." + parts[2],
		"typ JWT":                   header("ES256", "JWT", key.KeyID) + "." + parts[1] + "." + parts[2],
		"changed signature":         forged(good),
		"other claims":              parts[0] + "." + encode(`{"sub":"x"}`) + "." + parts[2],
	} {
		if o.active(t, token) {
			t.Errorf("%s: active", name)
		}
	}
	if !o.active(t, good) {
		t.Error("the token that the forgeries were made from is not active: they prove nothing")
	}
}

func TestMD06AndMD10Claims(t *testing.T) {
	o := newOffice(t)
	for name, token := range map[string]string{
		"a person's":  o.tokens(t).access,
		"a machine's": wantTokens(t, o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.basic())).access,
	} {
		claims := servertest.Claims(token)
		if aud, single := claims["aud"].(string); !single || aud != resourceURI {
			t.Errorf("%s aud is %v", name, claims["aud"])
		}
		if lifetime := claims["exp"].(float64) - claims["iat"].(float64); lifetime != 600 {
			t.Errorf("%s token lives %v s", name, lifetime)
		}
	}
	for seconds, good := range map[int]bool{59: false, 60: true, 900: true, 901: false, 0: false, -1: false} {
		status, answer := o.Call(http.MethodPatch, "/resources/"+o.find(t, "/resources", "uri", resourceURI), servertest.Object{"access_token_lifetime": seconds})
		if (status < 300) != good {
			t.Errorf("a lifetime of %d s: %d %v", seconds, status, answer)
		}
		if good {
			answer := o.Redeem(o.clientID, o.code(t))
			claims := servertest.Claims(answer.JSON.String("access_token"))
			if answer.JSON["expires_in"] != float64(seconds) {
				t.Errorf("expires_in is %v, want %d", answer.JSON["expires_in"], seconds)
			}
			if lifetime := claims["exp"].(float64) - claims["iat"].(float64); lifetime != float64(seconds) {
				t.Errorf("a token lives %v s, want %d", lifetime, seconds)
			}
		}
	}
}

// TestMD09FirstBoot: replicas that start at once on an empty database have one
// active key and one next.
func TestMD09FirstBoot(t *testing.T) {
	url := servertest.MigratedPostgres(t)
	issuer, err := web.ParseIssuer("http://127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	root, err := keys.NewRoot(servertest.RootKey)
	if err != nil {
		t.Fatal(err)
	}
	const n = 6
	configs, documents, errs := make([]server.Config, n), make([][]byte, n), make([]error, n)
	for i := range configs {
		configs[i] = server.Config{Issuer: issuer, Store: servertest.OpenPostgres(t, url), Root: root, SigningAlgorithm: "ES256", Now: servertest.NewClock().Now}
	}
	race(n, func(i int) {
		s, err := server.New(t.Context(), configs[i])
		if err != nil {
			errs[i] = err
			return
		}
		w := httptest.NewRecorder()
		s.Public().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:8080/jwks", nil))
		documents[i] = w.Body.Bytes()
	})
	for i := range n {
		if errs[i] != nil {
			t.Errorf("replica %d: %v", i, errs[i])
		}
		if !bytes.Equal(documents[i], documents[0]) || bytes.Count(documents[i], []byte(`"kid"`)) != 2 {
			t.Errorf("replica %d publishes %s, replica 0 %s", i, documents[i], documents[0])
		}
	}
	// What one signs, another takes.
	one := newOffice(t, servertest.WithStore(servertest.OpenPostgres(t, url)))
	two := servertest.New(t, servertest.WithStore(servertest.OpenPostgres(t, url)), servertest.ReplicaOf(one.Server))
	answer := two.Do(two.Request(http.MethodPost, two.Origin+"/introspect", servertest.Form("token", one.tokens(t).access).Encode(), http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(one.guard.basic()))},
	}))
	if answer.JSON["active"] != true {
		t.Errorf("a token of one replica at another: %d %s", answer.Status, answer.Body)
	}
}
