// Package metadata publishes what the server can do (RFC 8414, OpenID Connect
// Discovery) and its public keys (RFC 7517). Nothing is advertised that is off.
package metadata

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"

	"grantd/server/web"
	"grantd/storage"
)

// cacheControl lets clients and resource servers keep a document for minutes.
const cacheControl = "public, max-age=300"

// Features are what the documents say of how things are signed.
type Features struct {
	SigningAlgorithm    string
	AssertionAlgorithms []string // of client assertions (RFC 7523)
}

// document is an authorization server's metadata (RFC 8414 §2). Members that are
// off are absent, never null.
type document struct {
	Issuer                                     string   `json:"issuer"`
	AuthorizationEndpoint                      string   `json:"authorization_endpoint"`
	TokenEndpoint                              string   `json:"token_endpoint"`
	JWKSURI                                    string   `json:"jwks_uri"`
	RegistrationEndpoint                       string   `json:"registration_endpoint,omitempty"`
	RevocationEndpoint                         string   `json:"revocation_endpoint"`
	IntrospectionEndpoint                      string   `json:"introspection_endpoint"`
	PushedAuthorizationRequestEndpoint         string   `json:"pushed_authorization_request_endpoint"`
	RequirePushedAuthorizationRequests         bool     `json:"require_pushed_authorization_requests"`
	DeviceAuthorizationEndpoint                string   `json:"device_authorization_endpoint"`
	ResponseTypesSupported                     []string `json:"response_types_supported"`
	ResponseModesSupported                     []string `json:"response_modes_supported"`
	GrantTypesSupported                        []string `json:"grant_types_supported"`
	CodeChallengeMethodsSupported              []string `json:"code_challenge_methods_supported"`
	TokenEndpointAuthMethodsSupported          []string `json:"token_endpoint_auth_methods_supported"`
	TokenEndpointAuthSigningAlgValuesSupported []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	RevocationEndpointAuthMethodsSupported     []string `json:"revocation_endpoint_auth_methods_supported"`
	IntrospectionEndpointAuthMethodsSupported  []string `json:"introspection_endpoint_auth_methods_supported"`
	AuthorizationResponseIssParameterSupported bool     `json:"authorization_response_iss_parameter_supported"`
	ClientIDMetadataDocumentSupported          bool     `json:"client_id_metadata_document_supported"`
	RequestParameterSupported                  bool     `json:"request_parameter_supported"`
	RequestURIParameterSupported               bool     `json:"request_uri_parameter_supported"`
	PromptValuesSupported                      []string `json:"prompt_values_supported"`
}

// openIDDocument adds what OpenID Connect Discovery §3 requires.
type openIDDocument struct {
	document
	SubjectTypesSupported            []string `json:"subject_types_supported"`
	IDTokenSigningAlgValuesSupported []string `json:"id_token_signing_alg_values_supported"`
	UserInfoEndpoint                 string   `json:"userinfo_endpoint"`
	EndSessionEndpoint               string   `json:"end_session_endpoint"`
	// ScopesSupported is not in the other document: MCP clients would ask for all of
	// it (they learn an MCP server's scopes from that server).
	ScopesSupported          []string `json:"scopes_supported"`
	ClaimTypesSupported      []string `json:"claim_types_supported"`
	ClaimsSupported          []string `json:"claims_supported"`
	ClaimsParameterSupported bool     `json:"claims_parameter_supported"`
}

// Metadata serves the documents.
type Metadata struct {
	issuer  web.Issuer
	whole   openIDDocument // but for what Registration says
	current atomic.Pointer[documents]
	jwks    func() []byte
}

type documents struct{ oauth, openID []byte }

// New composes the documents, with no way for clients to introduce themselves
// until Registration says so. jwks returns the current JWK set.
func New(issuer web.Issuer, features Features, jwks func() []byte) (*Metadata, error) {
	confidential := []string{storage.AuthMethodClientSecretBasic, storage.AuthMethodClientSecretPost, storage.AuthMethodPrivateKeyJWT}
	withNone := append(slices.Clone(confidential), storage.AuthMethodNone)
	d := document{
		Issuer:                                    issuer.String(),
		AuthorizationEndpoint:                     issuer.URL("/authorize"),
		TokenEndpoint:                             issuer.URL("/token"),
		JWKSURI:                                   issuer.URL("/jwks"),
		RevocationEndpoint:                        issuer.URL("/revoke"),
		IntrospectionEndpoint:                     issuer.URL("/introspect"),
		PushedAuthorizationRequestEndpoint:        issuer.URL("/par"),
		DeviceAuthorizationEndpoint:               issuer.URL("/device_authorization"),
		ResponseTypesSupported:                    []string{"code"},
		ResponseModesSupported:                    []string{"query"},
		GrantTypesSupported:                       []string{storage.GrantTypeAuthorizationCode, storage.GrantTypeRefreshToken, storage.GrantTypeClientCredentials, storage.GrantTypeDeviceCode},
		CodeChallengeMethodsSupported:             []string{"S256"},
		TokenEndpointAuthMethodsSupported:         withNone,
		RevocationEndpointAuthMethodsSupported:    withNone,
		IntrospectionEndpointAuthMethodsSupported: confidential,
		PromptValuesSupported:                     []string{"none", "login", "consent", "select_account"},

		TokenEndpointAuthSigningAlgValuesSupported: features.AssertionAlgorithms,
		AuthorizationResponseIssParameterSupported: true,
	}
	m := &Metadata{issuer: issuer, jwks: jwks, whole: openIDDocument{
		document: d, SubjectTypesSupported: []string{"public"}, IDTokenSigningAlgValuesSupported: []string{features.SigningAlgorithm},
		UserInfoEndpoint: issuer.URL("/userinfo"), EndSessionEndpoint: issuer.URL("/logout"),
		ScopesSupported: storage.IdentityScopes, ClaimTypesSupported: []string{"normal"},
		ClaimsSupported: []string{"iss", "sub", "aud", "azp", "exp", "iat", "auth_time", "nonce", "at_hash", "sid", "name", "preferred_username", "email", "email_verified"},
	}}
	return m, m.Registration(false, false)
}

// Registration composes the documents anew: whether /register is there, and
// whether the URL of a metadata document may be a client_id.
func (m *Metadata) Registration(dynamic, metadataDocuments bool) error {
	whole := m.whole
	if dynamic {
		whole.RegistrationEndpoint = m.issuer.URL("/register")
	}
	whole.ClientIDMetadataDocumentSupported = metadataDocuments
	oauth, err := json.Marshal(whole.document)
	if err != nil {
		return fmt.Errorf("encode the metadata: %w", err)
	}
	openID, err := json.Marshal(whole)
	if err != nil {
		return fmt.Errorf("encode the metadata: %w", err)
	}
	m.current.Store(&documents{oauth: oauth, openID: openID})
	return nil
}

// AuthorizationServer serves the document of RFC 8414.
func (m *Metadata) AuthorizationServer(w http.ResponseWriter, _ *http.Request) {
	serve(w, m.current.Load().oauth)
}

// OpenIDConfiguration serves the document of OpenID Connect Discovery.
func (m *Metadata) OpenIDConfiguration(w http.ResponseWriter, _ *http.Request) {
	serve(w, m.current.Load().openID)
}

// JWKS serves the JWK set.
func (m *Metadata) JWKS(w http.ResponseWriter, _ *http.Request) { serve(w, m.jwks()) }

func serve(w http.ResponseWriter, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", cacheControl)
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(body)
}
