package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"grantd/server/servertest"
)

// authenticator is a software authenticator with one passkey, and the browser around
// it, written from WebAuthn §5.8.1 and §6. Its fields are what tests have it lie about.
type authenticator struct {
	key    *ecdsa.PrivateKey
	id     []byte
	handle []byte

	origin   string
	rpID     string
	count    uint32
	flags    byte // user present and verified, without bit 6
	kind     string
	spoiled  func(signed []byte) []byte // changes what is signed
	answered *string                    // instead of the challenge of the page
}

const (
	userPresent  = 0x01
	userVerified = 0x04
	backupable   = 0x08
	attested     = 0x40
)

func newAuthenticator(t testing.TB, s *servertest.Server) *authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 32)
	_, _ = rand.Read(id)
	return &authenticator{key: key, id: id, origin: s.Origin, rpID: at.Hostname(), flags: userPresent | userVerified | backupable}
}

var passkeyForm = regexp.MustCompile(`(?s)data-passkey="(get|create)" data-options="([^"]*)".*?name="challenge" value="([^"]*)"`)

// ceremony is the form for a passkey on a page.
type ceremony struct {
	kind    string
	sealed  string
	options struct {
		Challenge string
		RPID      string
		RP        struct{ ID string }
		User      struct{ ID, Name, DisplayName string }
		UV        string `json:"userVerification"`
		Allow     []struct {
			ID         string
			Transports []string
		} `json:"allowCredentials"`
		Exclude   []struct{ ID string } `json:"excludeCredentials"`
		Selection struct {
			ResidentKey, UserVerification string
			RequireResidentKey            bool
		} `json:"authenticatorSelection"`
		Attestation string
	}
}

func ceremonyOn(t testing.TB, page *servertest.Page) *ceremony {
	t.Helper()
	found := passkeyForm.FindStringSubmatch(page.Body)
	if found == nil {
		t.Fatalf("no form for a passkey at %s: %d\n%s", page.URL, page.Status, page.Body)
	}
	c := &ceremony{kind: found[1], sealed: html.UnescapeString(found[3])}
	if err := json.Unmarshal([]byte(html.UnescapeString(found[2])), &c.options); err != nil {
		t.Fatal(err)
	}
	return c
}

func inBase64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (a *authenticator) clientData(c *ceremony) []byte {
	kind, challenge := "webauthn."+c.kind, c.options.Challenge
	if a.kind != "" {
		kind = a.kind
	}
	if a.answered != nil {
		challenge = *a.answered
	}
	data, _ := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.origin, "crossOrigin": false})
	return data
}

func (a *authenticator) data(flags byte) []byte {
	hash := sha256.Sum256([]byte(a.rpID))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), a.count)
}

// created is the answer to a form that has a passkey made.
func (a *authenticator) created(t testing.TB, page *servertest.Page) url.Values {
	t.Helper()
	c := ceremonyOn(t, page)
	handle, err := base64.RawURLEncoding.DecodeString(c.options.User.ID)
	if err != nil || c.kind != "create" {
		t.Fatalf("%s for the handle %q: %v", c.kind, c.options.User.ID, err)
	}
	a.handle = handle
	point, err := a.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	public, err := cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
	if err != nil {
		t.Fatal(err)
	}
	data := append(a.data(a.flags|attested), make([]byte, 16)...)
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.id)))
	data = append(append(data, a.id...), public...)
	object, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	if err != nil {
		t.Fatal(err)
	}
	return a.answer(c, map[string]any{
		"clientDataJSON": inBase64(a.clientData(c)), "attestationObject": inBase64(object), "transports": []string{"internal", "hybrid", "tin-can"},
	})
}

// signed is the answer to a form that has a passkey used.
func (a *authenticator) signed(t testing.TB, page *servertest.Page) url.Values {
	t.Helper()
	c := ceremonyOn(t, page)
	if c.kind != "get" {
		t.Fatalf("the page has a passkey made, not used")
	}
	client, data := a.clientData(c), a.data(a.flags)
	hash := sha256.Sum256(client)
	signed := append(append([]byte{}, data...), hash[:]...)
	if a.spoiled != nil {
		signed = a.spoiled(signed)
	}
	digest := sha256.Sum256(signed)
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return a.answer(c, map[string]any{
		"clientDataJSON": inBase64(client), "authenticatorData": inBase64(data), "signature": inBase64(signature), "userHandle": inBase64(a.handle),
	})
}

func (a *authenticator) answer(c *ceremony, response map[string]any) url.Values {
	text, _ := json.Marshal(map[string]any{
		"id": inBase64(a.id), "rawId": inBase64(a.id), "type": "public-key", "clientExtensionResults": map[string]any{}, "response": response,
	})
	return url.Values{"challenge": {c.sealed}, "passkey": {string(text)}}
}
