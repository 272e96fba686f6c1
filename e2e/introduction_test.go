package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/oauth2"

	"grantd/examples/mcp-server/notes"
)

// testKey is the private key of every client of these tests that has one.
var testKey = sync.OnceValue(func() *jose.JSONWebKey {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return &jose.JSONWebKey{Key: private, Algorithm: "ES256", Use: "sig"}
})

// assertion is a client assertion by testKey (RFC 7523 §3).
func assertion(t *testing.T, clientID, audience string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: testKey().Key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signed, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: clientID, Subject: clientID, Audience: jwt.Audience{audience}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Minute)),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// TestRefreshWithoutTheMetadataHost is rows RF-19 and CM-25: a client whose metadata
// document can no longer be read goes on with what was read when the person
// approved.
func TestRefreshWithoutTheMetadataHost(t *testing.T) {
	browser := newBrowser(t)
	documents := startDocumentHost(t)
	at := startPlace(t, documents.flags()...)
	at.admin.openRegistration()
	callback := startCallback(t)
	config := &oauth2.Config{
		ClientID: documents.publish(map[string]any{
			"client_name": "Desk", "redirect_uris": []string{callback.url}, "token_endpoint_auth_method": "none",
			"grant_types": []string{"authorization_code", "refresh_token"},
		}),
		RedirectURL: callback.url, Scopes: []string{notes.ScopeRead},
		Endpoint: oauth2.Endpoint{AuthURL: at.issuer + "/authorize", TokenURL: at.issuer + "/token", AuthStyle: oauth2.AuthStyleInParams},
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	verifier := oauth2.GenerateVerifier()
	if err := chromedp.Do(browser, signIn(config.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("resource", at.endpoint)), at.username, at.password), press("approve")); err != nil {
		t.Fatal(err)
	}
	answer, err := callback.wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	documents.gone()
	token, err := config.Exchange(ctx, answer.Code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if token, err = config.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token(); err != nil {
			t.Fatal(err)
		}
	}
	useNotes(ctx, t, at, oauth2.StaticTokenSource(token))
}

// documentHost serves client metadata documents over https on loopback.
type documentHost struct {
	server    *httptest.Server
	caFile    string
	mu        sync.Mutex
	documents map[string][]byte // by path
}

func startDocumentHost(t *testing.T) *documentHost {
	t.Helper()
	h := &documentHost{documents: map[string][]byte{}}
	h.server = httptest.NewUnstartedServer(http.HandlerFunc(h.serve))
	certificate := localhostCertificate(t)
	h.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	h.server.StartTLS()
	t.Cleanup(h.server.Close)
	h.caFile = filepath.Join(t.TempDir(), "authority.pem")
	if err := os.WriteFile(h.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

// localhostCertificate is one for localhost that vouches for itself.
func localhostCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// flags open the host to a grantd, which otherwise refuses loopback addresses and
// unknown authorities.
func (h *documentHost) flags() []string {
	return []string{"--outbound-allow", h.host(), "--outbound-ca", h.caFile}
}

// host is the host of its URLs. An IP address could not be the host of a client id.
func (h *documentHost) host() string {
	_, port, _ := strings.Cut(h.server.Listener.Addr().String(), ":")
	return "localhost:" + port
}

// publish serves a document and returns its URL, the client id it names.
func (h *documentHost) publish(document map[string]any) (clientID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	path := fmt.Sprintf("/oauth/client-%d.json", len(h.documents)+1)
	clientID = "https://" + h.host() + path
	document["client_id"] = clientID
	body, err := json.Marshal(document)
	if err != nil {
		panic(err)
	}
	h.documents[path] = body
	return clientID
}

func (h *documentHost) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	body, ok := h.documents[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

// gone takes the host off the network.
func (h *documentHost) gone() { h.server.Close() }
