package upstream

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"grantd/server/outbound"
	"grantd/storage"
)

// skew is how far a provider's clock may be off.
const skew = time.Minute

// maxSubject bounds a subject, in bytes (OpenID Connect Core §2).
const maxSubject = 255

// idToken is a verified ID token.
type idToken struct {
	issuer, subject string // by which the person is known
	authTime        time.Time
	acr             string
	claims          claims
}

// tokenError is what is wrong with an ID token, in fixed words.
type tokenError struct {
	reason string
	clocks bool // the clocks may be to blame
}

func (e *tokenError) Error() string { return "the ID token: " + e.reason }

func badToken(reason string) error { return &tokenError{reason: reason} }

// verify checks an ID token as OpenID Connect Core §3.1.3.7 has it. nonce is compared
// unless it is empty; access, if not nil, must be the token that at_hash speaks of.
// Errors are a *tokenError, or outbound's when the keys cannot be had.
func (u *Upstream) verify(ctx context.Context, p *storage.Provider, m *metadata, raw, nonce string, access *oauth2.Token) (*idToken, error) {
	verifier := oidc.NewVerifier(m.Issuer, newKeySet(u.Fetcher, m), &oidc.Config{
		ClientID: p.ClientID, SupportedSigningAlgs: m.Algorithms,
		SkipIssuerCheck: true, // it depends on the tenant, and is checked below
		Now:             func() time.Time { return u.Now().Add(-skew) },
	})
	token, err := verifier.Verify(ctx, raw)
	if err != nil {
		return nil, tokenFault(err)
	}
	var said struct {
		AuthorizedParty string  `json:"azp"`
		AuthTime        float64 `json:"auth_time"`
		ACR             string  `json:"acr"`
		Tenant          string  `json:"tid"`
		ObjectID        string  `json:"oid"`
	}
	c := claims{}
	if err := errors.Join(token.Claims(&said), token.Claims(&c)); err != nil {
		return nil, badToken("a claim is of the wrong type")
	}
	issuer := issuerOf(p, said.Tenant)
	google := p.Issuer == googleIssuer && "https://"+token.Issuer == googleIssuer // as it sometimes calls itself
	switch {
	case token.Issuer != issuer && !google:
		return nil, badToken("it is of another issuer")
	case said.AuthorizedParty != "" && said.AuthorizedParty != p.ClientID, said.AuthorizedParty == "" && len(token.Audience) > 1:
		return nil, badToken("it was issued to another party")
	case nonce != "" && subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(nonce)) != 1:
		return nil, badToken("it is of another sign-in (nonce)")
	case token.IssuedAt.Sub(u.Now()) > skew:
		return nil, &tokenError{reason: "it is from the future", clocks: true}
	case access != nil && token.AccessTokenHash != "" && token.VerifyAccessToken(access.AccessToken) != nil:
		return nil, badToken("it is of another access token (at_hash)")
	}
	known := &idToken{issuer: issuer, subject: token.Subject, acr: said.ACR, claims: c}
	if p.Preset == storage.PresetEntra {
		// sub is another one for each application; tenant and oid are the person.
		if !guid.MatchString(said.Tenant) || said.ObjectID == "" {
			return nil, badToken("it names no tenant (tid) or no person (oid)")
		}
		known.subject = said.ObjectID
	}
	if known.subject == "" || len(known.subject) > maxSubject {
		return nil, badToken("it names nobody")
	}
	if said.AuthTime > 0 {
		known.authTime = time.Unix(int64(said.AuthTime), 0).UTC()
	}
	return known, nil
}

// tokenFault tells apart what keeps a token from being verified.
func tokenFault(err error) error {
	var expired *oidc.TokenExpiredError
	switch {
	case isOutage(err):
		return err
	case errors.As(err, &expired):
		return &tokenError{reason: "it has expired", clocks: true}
	}
	// The library's texts quote the token.
	return badToken("it is malformed, badly signed, for another client, or not valid yet")
}

// isOutage reports whether the provider, or the way there, is to blame.
func isOutage(err error) bool {
	return errors.Is(err, outbound.ErrFetch) || errors.Is(err, outbound.ErrRefused) || errors.Is(err, outbound.ErrBusy) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// authenticatedAt returns when the person proved who they are, if that is what the
// sign-in that began at began had to prove. errStale, errWeak.
func (t *idToken) authenticatedAt(d Demand, began, now time.Time) (time.Time, error) {
	if len(d.ACRValues) > 0 && !slices.Contains(d.ACRValues, t.acr) {
		return time.Time{}, errWeak
	}
	fresh := !t.authTime.IsZero() && !t.authTime.Before(began.Add(-skew))
	switch {
	case fresh:
		return now, nil
	case d.Login, d.MaxAge >= 0 && (t.authTime.IsZero() || now.Sub(t.authTime) > d.MaxAge):
		return time.Time{}, errStale
	case t.authTime.IsZero():
		return storage.AuthenticatedUnknown, nil
	}
	return t.authTime, nil
}

// errStale, errWeak: the provider did not have the person prove enough.
var (
	errStale = errors.New("the sign-in is older than was asked, or nobody knows how old")
	errWeak  = errors.New("the sign-in is weaker than was asked")
)

// claims are the members of an ID token or a userinfo response.
type claims map[string]any
