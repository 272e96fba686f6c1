package clientauth

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"grantd/server/web"
	"grantd/storage"
)

// AssertionType is the client_assertion_type of private_key_jwt (RFC 7523 §2.2).
const AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// The bounds of a client assertion. The skew is for clocks that differ; the
// lifetime bounds how long a used one has to be remembered.
const (
	maxAssertionSize     = 8 << 10 // bytes
	maxAssertionLifetime = 10 * time.Minute
	maxAssertionID       = 256 // bytes
	maxClockSkew         = time.Minute
	maxKeysTried         = 10 // of those that fit, when the assertion names none
)

// KeySource finds the public keys of a client: its inline JWK set, or what is at
// its jwks_uri. It parses both with ParseJWKS.
type KeySource interface {
	// Keys returns the client's keys. refresh, asked for only when the client has
	// a jwks_uri or a document, says that the keys returned before lack the one looked for; the
	// source limits how often it fetches for that. storage.ErrNotFound: the client
	// has no usable keys; storage.ErrUnavailable: they cannot be had at the moment.
	Keys(ctx context.Context, client *storage.Client, refresh bool) (jose.JSONWebKeySet, error)
}

// UsedAssertions remembers the assertions that were used; see
// storage.ClientAssertionStore.
type UsedAssertions interface {
	UseClientAssertion(ctx context.Context, clientID, jti string, expiresAt, now time.Time) error
}

// Assertions verifies the assertions of private_key_jwt clients (RFC 7523 §3,
// OpenID Connect Core §9). It is safe for concurrent use.
type Assertions struct {
	// Issuer is the issuer of this server: the audience of an assertion is it, its
	// token endpoint, or its PAR endpoint (RFC 9126 §2). The update of RFC 7523 wants
	// the issuer alone, but clients written before it send an endpoint.
	Issuer string
	Keys   KeySource
	Used   UsedAssertions
	Now    func() time.Time
}

// ClientID returns the client_id that an assertion claims to be from, so that the
// client can be found. Nothing is verified yet. Errors are *web.OAuthError
// invalid_client.
func (a *Assertions) ClientID(assertion string) (string, error) {
	jws, err := parseAssertion(assertion)
	if err != nil {
		return "", err
	}
	said, err := parseClaims(jws.UnsafePayloadWithoutVerification())
	if err != nil {
		return "", err
	}
	if said.Issuer == "" || said.Issuer != said.Subject || strings.ContainsFunc(said.Issuer, unicode.IsControl) {
		return "", refuse("The iss and sub of the client assertion must both be the client_id.")
	}
	return said.Issuer, nil
}

// Verify checks that assertion authenticates client, and uses it up: it never
// does again. Whether the client is disabled or registered another method is for
// the caller to check. Errors are *web.OAuthError invalid_client (401), or an
// outage of Keys or Used, after which the same assertion may be sent again.
func (a *Assertions) Verify(ctx context.Context, client *storage.Client, assertion string) error {
	jws, err := parseAssertion(assertion)
	if err != nil {
		return err
	}
	if registered := client.TokenEndpointAuthSigningAlg; registered != "" && registered != jws.Signatures[0].Protected.Algorithm {
		return unproved("the algorithm is not the registered one")
	}
	payload, err := a.open(ctx, client, jws)
	if err != nil {
		return err
	}
	said, err := parseClaims(payload)
	if err != nil {
		return err
	}
	now := a.Now()
	if err := a.check(client, said, now); err != nil {
		return err
	}
	// Last, so that only an assertion that would have been accepted is used up; kept
	// until it would be refused for its age, in whole seconds for databases that
	// round.
	until := said.ExpiresAt.Add(maxClockSkew + time.Second - 1).Truncate(time.Second)
	switch err := a.Used.UseClientAssertion(ctx, client.ID, said.ID, until, now); {
	case errors.Is(err, storage.ErrConsumed):
		return refuse("The client assertion was used before; each needs a jti of its own.")
	case errors.Is(err, storage.ErrNotFound):
		return unproved("the client is gone")
	case err != nil:
		return fmt.Errorf("use a client assertion: %w", err)
	}
	return nil
}

// AssertionAlgorithms are the JWS algorithms that assertions may be signed with.
func AssertionAlgorithms() []string {
	names := make([]string, len(assertionAlgorithms))
	for i, algorithm := range assertionAlgorithms {
		names[i] = string(algorithm)
	}
	return names
}

var assertionAlgorithms = []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256, jose.PS256}

// parseAssertion reads an assertion without verifying it. Keys and certificates
// in its header, or places to fetch them from, are of no consequence: the keys are
// the registered ones.
func parseAssertion(assertion string) (*jose.JSONWebSignature, error) {
	if len(assertion) > maxAssertionSize {
		return nil, refuse("The client assertion is too long.")
	}
	jws, err := jose.ParseSignedCompact(assertion, assertionAlgorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return nil, refuse("The client assertion is not a JWT signed with one of the supported algorithms.")
	}
	// No extension is understood here; b64 would sign something else than the
	// payload (RFC 7797).
	header := jws.Signatures[0].Protected.ExtraHeaders
	for _, name := range []jose.HeaderKey{"crit", "b64"} {
		if _, ok := header[name]; ok {
			return nil, refuse("The client assertion uses a JWS extension that is not supported.")
		}
	}
	// Any other type says that this JWT was made for another purpose (RFC 8725 §3.12).
	if typ, ok := header[jose.HeaderType]; ok && !isAssertionType(typ) {
		return nil, refuse("The typ of the client assertion must be client-authentication+jwt or JWT, or be left out.")
	}
	return jws, nil
}

func isAssertionType(typ any) bool {
	name, _ := typ.(string)
	name = strings.TrimPrefix(strings.ToLower(name), "application/")
	return name == "client-authentication+jwt" || name == "jwt"
}

// open returns the payload of jws if one of the client's keys has signed it.
func (a *Assertions) open(ctx context.Context, client *storage.Client, jws *jose.JSONWebSignature) ([]byte, error) {
	for _, refresh := range []bool{false, true} {
		set, err := a.Keys.Keys(ctx, client, refresh)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			return nil, unproved("the client has no keys")
		case err != nil:
			return nil, fmt.Errorf("keys of a client: %w", err)
		}
		payload, opened, known := openWith(set, jws)
		if opened {
			return payload, nil
		}
		// The client may have changed its keys since they were fetched: then it names
		// one that is new, or none. With a key that is there it only signed badly.
		if known || (client.JWKSURI == "" && client.Source != storage.SourceMetadataDocument) {
			break
		}
	}
	return nil, unproved("no key of the client has signed the assertion")
}

// openWith tries the keys of set that fit the header of jws. known: the header
// names one of them.
func openWith(set jose.JSONWebKeySet, jws *jose.JSONWebSignature) (payload []byte, opened, known bool) {
	header := jws.Signatures[0].Protected
	tried := 0
	for i := range set.Keys {
		key := &set.Keys[i]
		if header.KeyID != "" && header.KeyID != key.KeyID {
			continue
		}
		known = known || header.KeyID != ""
		if !fits(key, jose.SignatureAlgorithm(header.Algorithm)) || tried == maxKeysTried {
			continue
		}
		tried++
		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, true, known
		}
	}
	return nil, false, known
}

// check applies RFC 7523 §3 to the claims. The signature is verified by now, so
// the client may be told what is wrong.
func (a *Assertions) check(client *storage.Client, said *claims, now time.Time) error {
	switch {
	case said.Issuer != client.ClientID || said.Subject != client.ClientID:
		return refuse("The iss and sub of the client assertion must both be the client_id.")
	case len(said.Audience) != 1 || !slices.Contains([]string{a.Issuer, a.Issuer + "/token", a.Issuer + "/par"}, said.Audience[0]):
		return refuse("The aud of the client assertion must be this server's issuer, and nothing else.")
	case said.ExpiresAt == nil:
		return refuse("The client assertion has no exp.")
	case !now.Before(said.ExpiresAt.Add(maxClockSkew)):
		return refuse("The client assertion has expired.")
	case said.ExpiresAt.After(now.Add(maxAssertionLifetime + maxClockSkew)):
		return refuse("The client assertion expires too late: it may live ten minutes.")
	case said.NotBefore != nil && said.NotBefore.After(now.Add(maxClockSkew)),
		said.IssuedAt != nil && said.IssuedAt.After(now.Add(maxClockSkew)):
		return refuse("The nbf or iat of the client assertion is in the future.")
	case said.ID == "" || len(said.ID) > maxAssertionID || strings.ContainsFunc(said.ID, unicode.IsControl):
		return refuse("The client assertion must have a jti, of at most 256 bytes and without control characters.")
	}
	return nil
}

// claims are what an assertion says (RFC 7523 §3).
type claims struct {
	Issuer    string       `json:"iss"`
	Subject   string       `json:"sub"`
	Audience  audience     `json:"aud"`
	ID        string       `json:"jti"`
	ExpiresAt *numericDate `json:"exp"`
	NotBefore *numericDate `json:"nbf"`
	IssuedAt  *numericDate `json:"iat"`
}

// parseClaims reads claims strictly: names are exact and none occurs twice, which
// encoding/json would let pass.
func parseClaims(payload []byte) (*claims, error) {
	var said claims
	if err := json.Unmarshal(payload, &said); err != nil {
		return nil, refuse("The claims of the client assertion are malformed.")
	}
	return &said, nil
}

// audience is one string or a list of them (RFC 7519 §4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(raw []byte) error {
	var one string
	if err := json.Unmarshal(raw, &one); err == nil {
		*a = audience{one}
		return nil
	}
	var many []string
	err := json.Unmarshal(raw, &many)
	*a = many
	return err
}

// numericDate is seconds since 1970, fractions allowed (RFC 7519 §2).
type numericDate struct{ time.Time }

// maxNumericDate is the end of the year 9999: a float64 counts up to it by less
// than a millisecond, and no sum of it overflows.
const maxNumericDate = 253402300799

func (d *numericDate) UnmarshalJSON(raw []byte) error {
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || math.Abs(seconds) > maxNumericDate {
		return errors.New("not a date")
	}
	whole, fraction := math.Modf(seconds)
	d.Time = time.Unix(int64(whole), int64(fraction*1e9))
	return nil
}

func refuse(description string) *web.OAuthError { return web.InvalidClient(description, false) }

// unproved refuses one who has not shown to be the client, in the words that a
// wrong secret gets; reason is for the log.
func unproved(reason string) *web.OAuthError {
	e := refuse("The client is unknown, disabled, or its credentials are wrong.")
	e.Err = errors.New(reason)
	return e
}
