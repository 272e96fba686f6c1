package upstream

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"grantd/server/keys"
	"grantd/server/web"
)

const (
	statePurpose  = "upstream state"
	stateLifetime = 10 * time.Minute
	// Cookie holds the marks of the sign-ins under way, the latest last.
	Cookie = "grantd_upstream"
	// maxMarks is how many sign-ins one browser can have under way.
	maxMarks = 8
)

// Demand is what a sign-in must prove.
type Demand struct {
	Login         bool          // that the person has just authenticated
	SelectAccount bool          // nothing, but that they could choose an account
	MaxAge        time.Duration // that they did so at most this long ago; below zero: not asked
	ACRValues     []string      // in one of these ways
}

// state is what is remembered of a sign-in while the browser is away.
type state struct {
	ProviderID string    `json:"p"`
	Query      string    `json:"q"` // raw, of the sign-in page
	Secret     []byte    `json:"s"`
	Mark       string    `json:"m"`
	At         time.Time `json:"t"`
	Demand     Demand    `json:"d"`
}

var (
	errState   = errors.New("the state is none of ours, or too old")
	errBrowser = errors.New("another browser asked, or this one has had the answer")
)

func newState(providerID, query string, demand Demand, now time.Time) *state {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails: it would end the process
	return &state{ProviderID: providerID, Query: query, Secret: secret, Mark: rand.Text(), At: now, Demand: demand}
}

// verifier is the PKCE code_verifier (RFC 7636 §4.1).
func (s *state) verifier() string { return base64.RawURLEncoding.EncodeToString(s.Secret) }

// nonce goes through the browser, so it gives nothing of the secret away.
func (s *state) nonce() string {
	sum := sha256.Sum256(append([]byte("grantd upstream nonce "), s.Secret...))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// seal returns the state as the provider sends it back.
func (u *Upstream) seal(s *state) string {
	plain, err := json.Marshal(s) //nolint:gosec // G117: it is sealed before it goes anywhere
	if err != nil {
		panic(err) // strings, numbers and times always encode
	}
	return u.Root.Seal(statePurpose, plain)
}

// open returns the state if it is of this provider and browser, and takes its mark
// from the browser, so that it counts once. errState, errBrowser, keys.ErrUnknownKey.
func (u *Upstream) open(w http.ResponseWriter, r *http.Request, providerID, sealed string) (*state, error) {
	plain, err := u.Root.Open(statePurpose, sealed)
	if errors.Is(err, keys.ErrForged) {
		return nil, errState
	} else if err != nil {
		return nil, err
	}
	var s state
	if err := json.Unmarshal(plain, &s); err != nil {
		return nil, errState
	}
	if age := u.Now().Sub(s.At); s.ProviderID != providerID || age < 0 || age > stateLifetime {
		return nil, errState
	}
	marks := u.marks(r)
	i := slices.Index(marks, s.Mark)
	if i < 0 {
		return nil, errBrowser
	}
	u.setMarks(w, slices.Delete(marks, i, i+1))
	return &s, nil
}

func (u *Upstream) marks(r *http.Request) []string {
	marks := strings.Split(u.issuer().Cookie(r, Cookie), ".")
	return slices.DeleteFunc(marks, func(mark string) bool {
		return len(mark) != len("abcdefghijklmnopqrstuvwxyz") || strings.Trim(mark, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != ""
	})
}

func (u *Upstream) setMarks(w http.ResponseWriter, marks []string) {
	if marks = marks[max(0, len(marks)-maxMarks):]; len(marks) == 0 {
		u.issuer().SetCookie(w, Cookie, "", -1)
		return
	}
	u.issuer().SetCookie(w, Cookie, strings.Join(marks, "."), stateLifetime)
}

func (u *Upstream) issuer() web.Issuer { return u.Pages.Issuer }
