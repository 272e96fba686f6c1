package registration_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"grantd/server/clientauth"
	"grantd/server/outbound"
	"grantd/server/registration"
	"grantd/server/web"
	"grantd/storage"
)

const documentURL = "https://client.example/oauth/client.json"

// rules are those of the server.
func rules() registration.DocumentRules {
	return registration.DocumentRules{
		CheckKeys:      func(jwks []byte) error { _, err := clientauth.ParseJWKS(jwks); return err },
		HasPrivateKeys: clientauth.HasPrivateKeys, CheckURL: outbound.New(outbound.Config{}).Check,
	}
}

// The documents of real clients, cut down to what matters.
var seeds = []string{
	`{"client_id":"https://client.example/oauth/client.json","client_name":"Claude","redirect_uris":["https://claude.ai/api/mcp/auth_callback"],"grant_types":["authorization_code","refresh_token","urn:ietf:params:oauth:grant-type:jwt-bearer"],"response_types":["code"],"token_endpoint_auth_method":"none"}`,
	`{"client_id":"https://client.example/oauth/client.json","client_name":"Claude Code","client_uri":"https://claude.ai","redirect_uris":["http://localhost/callback","http://127.0.0.1/callback"],"token_endpoint_auth_method":"none"}`,
	`{"client_id":"https://client.example/oauth/client.json","client_name":"ChatGPT","redirect_uris":["https://chatgpt.com/connector_platform_oauth_redirect"],"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_methods_supported":["private_key_jwt","none"],"jwks_uri":"https://chatgpt.com/oauth/jwks.json"}`,
	`{"client_id":"https://client.example/oauth/client.json","client_name":"Keys","redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"WbuJsN0jmIkMSaJvQPsR5gC5_XQ8BbkGzsvOKrPaUs0","y":"Xr_5Q8DdD2UbZgpLjJPwxhzbLwzxHLVyUeqGpBzWQsM","d":"AAAA"}]}}`,
	`{"client_id":"https://client.example/oauth/client.json","client_secret":null,"Client_ID":"x"}`,
	`{"client_name":"\u202e","redirect_uris":["javascript:alert(1)"],"logo_uri":"https://169.254.169.254/"}`,
	"{} x", "[]", "\xef\xbb\xbf{}", `{"redirect_uris":"x"}`, strings.Repeat("[", 100),
}

func TestDocumentsOfRealClients(t *testing.T) {
	for body, want := range map[string]string{seeds[0]: storage.AuthMethodNone, seeds[1]: storage.AuthMethodNone, seeds[2]: storage.AuthMethodPrivateKeyJWT} {
		client, err := rules().Client(documentURL, []byte(body))
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if client.TokenEndpointAuthMethod != want || !client.MayUse(storage.GrantTypeAuthorizationCode) || len(client.GrantTypes) > 2 || client.Stored() {
			t.Errorf("the client is %+v", client)
		}
		if client.ID != storage.DocumentClientID(documentURL) || client.ClientID != documentURL || !client.SelfAsserted() {
			t.Errorf("the client is %s, %s, %s", client.ID, client.ClientID, client.Source)
		}
	}
}

// FuzzDocument: whatever a host publishes, what is accepted has nothing in it that
// was not allowed, and what is refused is refused in words of ours.
func FuzzDocument(f *testing.F) {
	for _, body := range seeds {
		f.Add(body)
	}
	judge := rules()
	f.Fuzz(func(t *testing.T, body string) {
		client, err := judge.Client(documentURL, []byte(body))
		if err != nil {
			var oauth *web.OAuthError
			if !errors.As(err, &oauth) || oauth.Status != 400 {
				t.Fatalf("error %v", err)
			}
			return
		}
		var said struct {
			ClientID string `json:"client_id"`
		}
		if json.Unmarshal([]byte(body), &said) != nil || said.ClientID != documentURL || client.ClientID != documentURL {
			t.Errorf("client_id %q was accepted", said.ClientID)
		}
		if client.ClientName == "" || len(client.RedirectURIs) == 0 || len(client.Secrets) > 0 || client.Disabled || client.Stored() {
			t.Errorf("accepted: %+v", client)
		}
		for _, uri := range client.RedirectURIs {
			if storage.ValidateRedirectURI(uri) != nil {
				t.Errorf("redirect URI %q was accepted", uri)
			}
		}
		for _, page := range []string{client.ClientURI, client.LogoURI, client.TosURI, client.PolicyURI} {
			if u, err := url.Parse(page); page != "" && (err != nil || u.Scheme != "https" || u.Hostname() == "169.254.169.254") {
				t.Errorf("page %q was accepted", page)
			}
		}
		if !slices.Contains([]string{storage.AuthMethodNone, storage.AuthMethodPrivateKeyJWT}, client.TokenEndpointAuthMethod) {
			t.Errorf("method %q was accepted", client.TokenEndpointAuthMethod)
		}
		if clientauth.HasPrivateKeys([]byte(client.JWKS)) || client.MayUse(storage.GrantTypeClientCredentials) {
			t.Errorf("accepted: %+v", client)
		}
	})
}

// FuzzDocumentURL: no URL of a document that may be asked leads to a literal address
// or is spelled in a way that two readers take differently.
func FuzzDocumentURL(f *testing.F) {
	for _, clientID := range []string{
		documentURL, "https://h.example/", "https://h.example:8443/c?x=1", "https://h.example", "https://h.example/#", "https://u@h.example/c",
		"https://h.example/a/../c", "https://h.example/%2e%2e/c", `https://h.example\c`, "https:///h.example/c", "https:h.example/c", "https://127.1/c",
		"https://[::1]/c", "https://2130706433/c", "https://0x7f.1/c", "https://h.example/\x00", "https://h.exаmple/c", "HTTPS://h.example/c", "https://h.example./c",
	} {
		f.Add(clientID)
	}
	check := outbound.New(outbound.Config{}).Check
	f.Fuzz(func(t *testing.T, clientID string) {
		if !registration.IsDocument(clientID) || check(clientID) != nil {
			return
		}
		u, err := url.Parse(clientID)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Path == "" || u.Fragment != "" || strings.Contains(clientID, "#") {
			t.Fatalf("%q is accepted", clientID)
		}
		if strings.ContainsAny(u.Hostname(), ":[]%") || !strings.Contains(u.Hostname(), ".") || strings.HasSuffix(u.Hostname(), ".") {
			t.Errorf("host %q is accepted", u.Hostname())
		}
		if u.String() != clientID && !strings.EqualFold(u.String(), clientID) {
			t.Errorf("%q is read as %q", clientID, u)
		}
		for _, segment := range strings.Split(u.Path, "/") {
			if segment == "." || segment == ".." {
				t.Errorf("%q has dot segments", clientID)
			}
		}
	})
}
