package server_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"grantd/server/servertest"
)

// vendor stands in for an identity provider of some make at its real addresses: every
// host that grantd asks through the proxy is this one. It answers in the shapes that
// the make's documentation has.
type vendor struct {
	document servertest.Object // its metadata
	issuer   string            // that grantd is told
	token    servertest.Object // claims of the ID token, besides the protocol's
	userinfo servertest.Object // nil: it must not be asked
	key      *rsa.PrivateKey
	now      func() time.Time
	asked    url.Values // what the browser came with
}

// The makes, as their metadata names them, and the issuers that grantd is told.
const (
	oktaIssuer     = "https://acme.okta.com"
	entraTenant    = "8f7e6d5c-0000-4000-8000-000000000001"
	otherTenant    = "8f7e6d5c-0000-4000-8000-00000000000f"
	entraPerson    = "8f7e6d5c-0000-4000-8000-000000000002"
	entraIssuer    = "https://login.microsoftonline.com/" + entraTenant + "/v2.0"
	entraCommon    = "https://login.microsoftonline.com/organizations/v2.0"
	googleIssuer   = "https://accounts.google.com"
	keycloakIssuer = "https://sso.example.com/realms/acme"
)

func vendorMetadata(issuer string) servertest.Object {
	both := []string{"client_secret_basic", "client_secret_post"}
	switch issuer {
	case oktaIssuer:
		return servertest.Object{
			"issuer": issuer, "authorization_endpoint": issuer + "/oauth2/v1/authorize", "token_endpoint": issuer + "/oauth2/v1/token",
			"userinfo_endpoint": issuer + "/oauth2/v1/userinfo", "jwks_uri": issuer + "/oauth2/v1/keys", "code_challenge_methods_supported": []string{"S256"},
			"token_endpoint_auth_methods_supported": both, "scopes_supported": []string{"openid", "email", "profile", "address", "phone", "offline_access", "groups"},
		}
	case entraIssuer, entraCommon:
		base := strings.TrimSuffix(issuer, "/v2.0")
		return servertest.Object{
			"issuer": strings.Replace(issuer, "organizations", "{tenantid}", 1), "authorization_endpoint": base + "/oauth2/v2.0/authorize", "token_endpoint": base + "/oauth2/v2.0/token",
			"userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo", "jwks_uri": base + "/discovery/v2.0/keys",
			"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"}, "subject_types_supported": []string{"pairwise"},
		}
	case googleIssuer:
		return servertest.Object{
			"issuer": issuer, "authorization_endpoint": issuer + "/o/oauth2/v2/auth", "token_endpoint": "https://oauth2.googleapis.com/token",
			"userinfo_endpoint": "https://openidconnect.googleapis.com/v1/userinfo", "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
			"token_endpoint_auth_methods_supported": both, "code_challenge_methods_supported": []string{"plain", "S256"},
		}
	}
	base := issuer + "/protocol/openid-connect"
	return servertest.Object{
		"issuer": issuer, "authorization_endpoint": base + "/auth", "token_endpoint": base + "/token", "userinfo_endpoint": base + "/userinfo", "jwks_uri": base + "/certs",
		"token_endpoint_auth_methods_supported": both, "code_challenge_methods_supported": []string{"plain", "S256"}, "authorization_response_iss_parameter_supported": true,
		"id_token_signing_alg_values_supported": []string{"PS384", "RS384", "EdDSA", "ES384", "HS256", "HS512", "ES256", "RS256", "HS384", "ES512", "PS256", "PS512", "RS512"},
	}
}

// certificateFor is a certificate of these hosts, and whom to trust for it.
func certificateFor(t *testing.T, now time.Time, hosts ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "vendors"}, DNSNames: hosts, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// vendorKey is the key of all stand-ins: one is slow enough to make.
var vendorKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// newVendor returns a house, its provider's id, and the stand-in.
func newVendor(t *testing.T, issuer string, settings servertest.Object) (*house, *vendor, string) {
	t.Helper()
	key, err := vendorKey()
	if err != nil {
		t.Fatal(err)
	}
	clock := servertest.NewClock()
	v := &vendor{document: vendorMetadata(issuer), issuer: issuer, key: key, now: clock.Now}
	certificate, authorities := certificateFor(t, clock.Now(), "acme.okta.com", "login.microsoftonline.com", "graph.microsoft.com", "accounts.google.com",
		"oauth2.googleapis.com", "openidconnect.googleapis.com", "www.googleapis.com", "sso.example.com")
	server := httptest.NewUnstartedServer(v.handler(t))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)
	proxy, err := url.Parse("http://" + tunnel(t, server.Listener.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, servertest.WithClock(clock), servertest.WithOutboundProxy(proxy, authorities))
	body := servertest.Object{"name": "Vendor", "issuer": issuer, "client_id": "grantd", "client_secret": "top"}
	maps.Copy(body, settings)
	return h, v, h.Must(http.MethodPost, "/providers", body).String("id")
}

// tunnel is a proxy whose every CONNECT leads to one address.
func tunnel(t *testing.T, target string) string {
	t.Helper()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", target)
		if r.Method != http.MethodConnect || err != nil {
			http.Error(w, "CONNECT only", http.StatusBadGateway)
			return
		}
		defer to.Close() //nolint:errcheck // all is read
		from, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer from.Close() //nolint:errcheck // all is read
		_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(to, bufio.NewReader(buffered)); _ = to.(*net.TCPConn).CloseWrite() }()
		_, _ = io.Copy(from, to)
	}))
	t.Cleanup(proxy.Close)
	return strings.TrimPrefix(proxy.URL, "http://")
}

func (v *vendor) handler(t *testing.T) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer := func(value any) {
			if err := json.NewEncoder(w).Encode(value); err != nil {
				t.Error(err)
			}
		}
		switch at := "https://" + r.Host + r.URL.Path; at {
		case v.issuer + "/.well-known/openid-configuration":
			answer(v.document)
		case v.document["jwks_uri"]:
			answer(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: v.key.Public(), KeyID: "vendor", Use: "sig"}}})
		case v.document["token_endpoint"]:
			_, secret, _ := r.BasicAuth()
			if secret != "top" || servertest.ChallengeOf(r.PostFormValue("code_verifier")) != v.asked.Get("code_challenge") || r.PostFormValue("redirect_uri") != v.asked.Get("redirect_uri") {
				w.WriteHeader(http.StatusBadRequest)
				answer(map[string]string{"error": "invalid_grant"})
				return
			}
			answer(map[string]any{"access_token": "at", "token_type": "Bearer", "expires_in": 3600, "scope": v.asked.Get("scope"), "id_token": v.idToken(t)})
		case v.document["userinfo_endpoint"]:
			if v.userinfo == nil || r.Header.Get("Authorization") != "Bearer at" {
				t.Errorf("userinfo is asked with %q", r.Header.Get("Authorization"))
			}
			answer(v.userinfo)
		default:
			t.Errorf("asked for %s", at)
			http.NotFound(w, r)
		}
	})
}

func (v *vendor) idToken(t *testing.T) string {
	claims := servertest.Object{
		"iss": v.document["issuer"], "aud": "grantd", "nonce": v.asked.Get("nonce"), "iat": v.now().Unix(), "nbf": v.now().Unix(), "exp": v.now().Add(time.Hour).Unix(),
	}
	maps.Copy(claims, v.token)
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Error(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: v.key}, (&jose.SignerOptions{}).WithHeader("kid", "vendor"))
	if err != nil {
		t.Error(err)
		return ""
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Error(err)
		return ""
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		t.Error(err)
	}
	return token
}

// signIn signs in with the stand-in in a new browser.
func (v *vendor) signIn(t *testing.T, h *house, id string) *servertest.Page {
	t.Helper()
	b := h.Browser()
	page := b.Get(h.URL + "/login/upstream/" + id)
	if page.Left == nil || !strings.HasPrefix(page.Left.String(), v.document["authorization_endpoint"].(string)+"?") {
		t.Fatalf("not sent to the provider: %d to %v\n%s", page.Status, page.Left, page.Body)
	}
	v.asked = page.Left.Query()
	answer := url.Values{"code": {"c"}, "state": {v.asked.Get("state")}}
	if v.document["authorization_response_iss_parameter_supported"] == true {
		answer.Set("iss", v.issuer)
	}
	return b.Get(v.asked.Get("redirect_uri") + "?" + answer.Encode())
}

// with is claims with more or other ones; nil takes one away.
func with(claims servertest.Object, pairs ...any) servertest.Object {
	all := maps.Clone(claims)
	for i := 0; i < len(pairs); i += 2 {
		if all[pairs[i].(string)] = pairs[i+1]; pairs[i+1] == nil {
			delete(all, pairs[i].(string))
		}
	}
	return all
}

// What the makes put into ID tokens and userinfo responses for grantd's scopes.
var (
	oktaToken = servertest.Object{
		"sub": "00uid4BxXw6I6TV4m0g3", "ver": 1, "jti": "ID.x", "amr": []string{"mfa", "otp", "pwd"}, "idp": "00ok1u7AsAkrwdZL3z0g3", "auth_time": 1,
		"name": "Bea Okafor", "email": "bea@example.com", "preferred_username": "bea@example.com",
	}
	oktaInfo = servertest.Object{
		"sub": "00uid4BxXw6I6TV4m0g3", "name": "Bea Okafor", "email": "bea@example.com", "email_verified": true, "preferred_username": "bea@example.com",
		"zoneinfo": "America/Los_Angeles", "groups": []string{"Everyone", "staff"},
	}
	entraToken = servertest.Object{
		"sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", "tid": entraTenant, "oid": entraPerson, "ver": "2.0", "uti": "x", "rh": "0.x",
		"name": "Bea Okafor", "email": "bea@example.com", "preferred_username": "bea@example.com", "roles": []string{"staff"},
	}
	googleToken = servertest.Object{
		"sub": "10769150350006150715113082367", "azp": "grantd", "hd": "example.com", "name": "Bea Okafor", "email": "bea@example.com", "email_verified": true,
		"picture": "https://lh3.googleusercontent.com/a/x", "given_name": "Bea", "family_name": "Okafor",
	}
	keycloakToken = servertest.Object{
		"sub": "f1c4f64e-2c0c-4cda-8c9f-9f3f8f3a2b0e", "typ": "ID", "azp": "grantd", "sid": "4c0a3a8a", "acr": "1", "jti": "x", "auth_time": 1,
		"name": "Bea Okafor", "email": "bea@example.com", "email_verified": true, "preferred_username": "bea", "groups": []string{"staff"},
	}
	keycloakInfo = servertest.Object{
		"sub": "f1c4f64e-2c0c-4cda-8c9f-9f3f8f3a2b0e", "name": "Bea Okafor", "email": "bea@example.com", "email_verified": true, "preferred_username": "bea",
		"realm_access": map[string]any{"roles": []string{"offline_access", "staff", "uma_authorization"}},
	}
)

// TestUpstreamPresets signs Bea in with each make of provider, and looks at who she is
// here; or she is refused, is told why, and nobody is made.
func TestUpstreamPresets(t *testing.T) {
	t.Parallel()
	okta, entra, keycloak := servertest.Object{"preset": "okta"}, servertest.Object{"preset": "entra"}, servertest.Object{"preset": "keycloak"}
	google := servertest.Object{"preset": "google", "allowed_domains": []string{"example.com"}}
	many := with(entra, "allowed_tenants", []string{entraTenant})
	overage := with(entraToken, "groups", nil, "_claim_names", map[string]any{"groups": "src1"}, "_claim_sources",
		map[string]any{"src1": map[string]any{"endpoint": "https://graph.windows.net/" + entraTenant + "/users/" + entraPerson + "/getMemberObjects"}})
	groupsOfEntra := with(entra, "claims", servertest.Object{"groups": "groups"})
	for name, test := range map[string]struct {
		issuer   string
		settings servertest.Object
		token    servertest.Object
		userinfo servertest.Object
		says     string // "": she is signed in
		groups   string
	}{
		"Okta":                           {oktaIssuer, okta, oktaToken, oktaInfo, "", "Everyone staff"},
		"Okta, with all in the ID token": {oktaIssuer, okta, with(oktaToken, "groups", []string{"staff"}, "email_verified", true), nil, "", "staff"},
		"Okta, in an allowed group":      {oktaIssuer, with(okta, "allowed_groups", []string{"staff"}), oktaToken, oktaInfo, "", "Everyone staff"},
		"Okta, in none":                  {oktaIssuer, with(okta, "allowed_groups", []string{"board"}), oktaToken, oktaInfo, "not of a group", ""},
		"Okta, an allowed domain":        {oktaIssuer, with(okta, "allowed_domains", []string{"example.com"}), oktaToken, oktaInfo, "", "Everyone staff"},
		"Okta, a domain not verified":    {oktaIssuer, with(okta, "allowed_domains", []string{"example.com"}), oktaToken, with(oktaInfo, "email_verified", false), "not of a domain", ""},
		"Okta, another address there":    {oktaIssuer, with(okta, "allowed_domains", []string{"example.com"}), oktaToken, with(oktaInfo, "email", "eve@example.com"), "not of a domain", ""},
		"Okta, somebody else's userinfo": {oktaIssuer, okta, oktaToken, with(oktaInfo, "sub", "other"), "does not answer", ""},

		"Entra ID":                              {entraIssuer, entra, entraToken, nil, "", "staff"},
		"Entra ID, no roles, no address":        {entraIssuer, entra, with(entraToken, "roles", nil, "email", nil), nil, "", ""},
		"Entra ID, its tenant":                  {entraIssuer, many, entraToken, nil, "", "staff"},
		"Entra ID, a guest of another":          {entraIssuer, many, with(entraToken, "tid", otherTenant), nil, "not of a tenant", ""},
		"Entra ID, a role that may":             {entraIssuer, with(entra, "allowed_groups", []string{"staff"}), entraToken, nil, "", "staff"},
		"Entra ID, a role that may not":         {entraIssuer, with(entra, "allowed_groups", []string{"board"}), entraToken, nil, "not of a group", ""},
		"Entra ID, groups":                      {entraIssuer, groupsOfEntra, with(entraToken, "groups", []string{entraTenant}), nil, "", entraTenant},
		"Entra ID, too many groups":             {entraIssuer, groupsOfEntra, overage, nil, "too many groups", ""},
		"Entra ID, and the roles are whole":     {entraIssuer, entra, overage, nil, "", "staff"},
		"Entra ID of many":                      {entraCommon, many, with(entraToken, "iss", entraIssuer), nil, "", "staff"},
		"Entra ID of many, another one's":       {entraCommon, many, with(entraToken, "iss", strings.Replace(entraIssuer, entraTenant, otherTenant, 1), "tid", otherTenant), nil, "not of a tenant", ""},
		"Entra ID of many, iss and tid differ":  {entraCommon, many, with(entraToken, "iss", strings.Replace(entraIssuer, entraTenant, otherTenant, 1)), nil, "cannot be trusted", ""},
		"Entra ID of many, the template itself": {entraCommon, many, entraToken, nil, "cannot be trusted", ""},
		"Entra ID of many, no tenant":           {entraCommon, many, with(entraToken, "iss", entraIssuer, "tid", nil), nil, "cannot be trusted", ""},

		"Google":                               {googleIssuer, google, googleToken, nil, "", ""},
		"Google, as it sometimes calls itself": {googleIssuer, google, with(googleToken, "iss", "accounts.google.com"), nil, "", ""},
		"Google, a personal account":           {googleIssuer, google, with(googleToken, "hd", nil), nil, "not of a domain", ""},
		"Google, another organisation":         {googleIssuer, google, with(googleToken, "hd", "evil.example"), nil, "not of a domain", ""},
		"Google, only the address is of it":    {googleIssuer, google, with(googleToken, "hd", "evil.example", "email", "eve@example.com"), nil, "not of a domain", ""},

		"Keycloak":              {keycloakIssuer, keycloak, keycloakToken, nil, "", "staff"},
		"Keycloak, group paths": {keycloakIssuer, with(keycloak, "allowed_groups", []string{"/acme/staff"}), with(keycloakToken, "groups", []string{"/acme/staff"}), nil, "", "/acme/staff"},
		"Keycloak, realm roles": {
			keycloakIssuer, with(keycloak, "claims", servertest.Object{"groups": "realm_access.roles"}, "allowed_groups", []string{"staff"}),
			with(keycloakToken, "groups", nil), keycloakInfo, "", "offline_access staff uma_authorization",
		},
		"Keycloak, no such realm role": {
			keycloakIssuer, with(keycloak, "claims", servertest.Object{"groups": "realm_access.roles"}, "allowed_groups", []string{"board"}),
			with(keycloakToken, "groups", nil), keycloakInfo, "not of a group", "",
		},
		"Keycloak, an address not verified": {keycloakIssuer, keycloak, with(keycloakToken, "email_verified", false), nil, "", "staff"},
		"Keycloak, another realm":           {keycloakIssuer, keycloak, with(keycloakToken, "iss", "https://sso.example.com/realms/other"), nil, "cannot be trusted", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, v, id := newVendor(t, test.issuer, test.settings)
			v.token, v.userinfo = test.token, test.userinfo
			page := v.signIn(t, h, id)
			if test.says != "" {
				wantSays(t, page, test.says)
				if page.Status < 400 || len(h.list(t, "/users")) != 1 {
					t.Errorf("%d at %s, %d users", page.Status, page.URL, len(h.list(t, "/users")))
				}
				return
			}
			wantAccount(t, page)
			userID := h.find(t, "/users", "name", "Bea Okafor")
			user := h.Must(http.MethodGet, "/users/"+userID, nil)
			var groups []string
			for _, group := range user["groups"].([]any) {
				groups = append(groups, group.(string))
			}
			if got := strings.Join(groups, " "); got != test.groups {
				t.Errorf("groups %q, want %q", got, test.groups)
			}
			// Who she is: Entra ID has another sub for each application.
			identity := user["identities"].([]any)[0].(map[string]any)
			subject, issuer := test.token.String("sub"), test.issuer
			if test.settings["preset"] == "entra" {
				subject, issuer = entraPerson, entraIssuer
			}
			if identity["issuer"] != issuer || identity["subject"] != subject {
				t.Errorf("known as %v", identity)
			}
			wantAccount(t, v.signIn(t, h, id))
			if n := len(h.list(t, "/users")); n != 2 {
				t.Errorf("%d users after the second sign-in", n)
			}
		})
	}
}

// LG-13: an account is taken over by an address that the provider says it has verified,
// in so many words, in whichever document speaks of that address; and only where an
// administrator lets this provider.
func TestLG13UpstreamLinkingByPreset(t *testing.T) {
	t.Parallel()
	const address = "alice@example.com"
	link := servertest.Object{"link_by_email": true}
	okta, keycloak := with(link, "preset", "okta"), with(link, "preset", "keycloak")
	for name, test := range map[string]struct {
		issuer          string
		settings        servertest.Object
		token, userinfo servertest.Object
		linked          bool
	}{
		"verified":                           {keycloakIssuer, keycloak, with(keycloakToken, "email", address), nil, true},
		"verified, in a text":                {keycloakIssuer, keycloak, with(keycloakToken, "email", address, "email_verified", "true"), nil, true},
		"verified, in other capitals":        {keycloakIssuer, keycloak, with(keycloakToken, "email", "Alice@Example.com"), nil, true},
		"not allowed":                        {keycloakIssuer, with(keycloak, "link_by_email", false), with(keycloakToken, "email", address), nil, false},
		"not verified":                       {keycloakIssuer, keycloak, with(keycloakToken, "email", address, "email_verified", false), nil, false},
		"not verified, in a text":            {keycloakIssuer, keycloak, with(keycloakToken, "email", address, "email_verified", "false"), nil, false},
		"a number":                           {keycloakIssuer, keycloak, with(keycloakToken, "email", address, "email_verified", 1), nil, false},
		"not said":                           {keycloakIssuer, keycloak, with(keycloakToken, "email", address, "email_verified", nil), with(keycloakInfo, "email", address, "email_verified", nil), false},
		"said by userinfo":                   {oktaIssuer, okta, with(oktaToken, "email", address), with(oktaInfo, "email", address), true},
		"said by userinfo of another":        {oktaIssuer, okta, with(oktaToken, "email", address), oktaInfo, false},
		"denied, and said by userinfo":       {oktaIssuer, okta, with(oktaToken, "email", address, "email_verified", false), with(oktaInfo, "email", address), false},
		"only userinfo has it":               {oktaIssuer, okta, with(oktaToken, "email", nil), with(oktaInfo, "email", address), true},
		"only userinfo, and does not verify": {oktaIssuer, okta, with(oktaToken, "email", nil), with(oktaInfo, "email", address, "email_verified", nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, v, id := newVendor(t, test.issuer, test.settings)
			v.token, v.userinfo = with(test.token, "preferred_username", "alice"), test.userinfo
			wantAccount(t, v.signIn(t, h, id))
			users := h.list(t, "/users")
			if (len(users) == 1) != test.linked {
				t.Errorf("%d users: %v", len(users), users)
			}
			if local := h.find(t, "/users", "username", "alice"); test.linked {
				if identities, _ := h.Must(http.MethodGet, "/users/"+local, nil)["identities"].([]any); len(identities) != 1 {
					t.Errorf("identities of alice: %v", identities)
				}
			}
		})
	}
}
