package factor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"grantd/storage"
)

// UnnamedPasskey is the name of a passkey that got no other.
const UnnamedPasskey = "Passkey"

// challengePurpose is that of what is sealed into a page that asks for a passkey.
const challengePurpose = "passkey challenge"

// challengeLifetime is how long a browser has to have a challenge signed.
const challengeLifetime = 5 * time.Minute

// Ceremony has a browser use a passkey, or make one. Nothing of it is stored.
type Ceremony struct {
	Options string // what the browser is asked, as JSON
	Sealed  string // comes back with the browser's answer
}

// challenge is what is sealed into the page.
type challenge struct {
	Random []byte `json:"c"`
	// UserID is whose passkey must answer, or who gets it; empty: whoever has one.
	UserID string `json:"u,omitempty"`
	// Bound is what a passkey is made for: a session, or a link.
	Bound string    `json:"b,omitempty"`
	At    time.Time `json:"t"`
}

// OffersPasskeys reports whether there can be passkeys: they belong to the name of a
// host, and an IP address is none.
func (f *Factors) OffersPasskeys() bool {
	return f != nil && f.Origin != "" && protocol.ValidateRPID(f.Issuer) == nil
}

// relyingParty is grantd as the library knows it: its host's name and its one origin.
func (f *Factors) relyingParty() (*webauthn.WebAuthn, error) {
	timeouts := webauthn.TimeoutConfig{Timeout: challengeLifetime, TimeoutUVD: challengeLifetime}
	required := true
	party, err := webauthn.New(&webauthn.Config{
		RPID: f.Issuer, RPDisplayName: f.Issuer, RPOrigins: []string{f.Origin}, AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			RequireResidentKey: &required, ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired,
		},
		Timeouts: webauthn.TimeoutsConfig{Login: timeouts, Registration: timeouts},
	})
	if err != nil {
		return nil, fmt.Errorf("set up the relying party: %w", err)
	}
	return party, nil
}

// algorithms are those of the keys, of which every authenticator has one.
func algorithms() []protocol.CredentialParameter { return webauthn.CredentialParametersRecommendedL3() }

// BeginPasskey asks a browser to make a passkey for the user, who has these already.
// bound is what it is made for: FinishPasskey must be told the same.
func (f *Factors) BeginPasskey(user *storage.User, has []*storage.Passkey, bound string) (*Ceremony, error) {
	party, err := f.relyingParty()
	if err != nil {
		return nil, err
	}
	person := owner(user, has)
	taken := make([]protocol.CredentialDescriptor, len(person.credentials))
	for i, c := range person.credentials {
		taken[i] = c.Descriptor()
	}
	options, session, err := party.BeginRegistration(person, webauthn.WithExclusions(taken), webauthn.WithCredentialParameters(algorithms()))
	if err != nil {
		return nil, fmt.Errorf("begin a passkey: %w", err)
	}
	return f.ceremony(options.Response, session.Challenge, challenge{UserID: user.ID, Bound: bound})
}

// FinishPasskey checks what the browser has made for the user with this id, and
// returns it, not stored. ErrStale, ErrWrong.
func (f *Factors) FinishPasskey(userID, bound, sealed, answer, name string) (*storage.Passkey, error) {
	asked, err := f.openChallenge(sealed)
	if err != nil {
		return nil, err
	}
	if userID == "" || asked.UserID != userID || bound == "" || asked.Bound != bound {
		return nil, ErrStale
	}
	party, err := f.relyingParty()
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(answer))
	if err != nil {
		return nil, ErrWrong
	}
	session := f.session(asked)
	session.CredParams = algorithms()
	made, err := party.CreateCredential(passkeyOwner{id: []byte(userID)}, session, parsed)
	if err != nil {
		return nil, ErrWrong
	}
	return &storage.Passkey{
		ID: storage.NewID(storage.PrefixPasskey), UserID: userID, CredentialID: made.ID, PublicKey: made.PublicKey,
		SignCount: int64(made.Authenticator.SignCount), BackupEligible: made.Flags.BackupEligible, BackedUp: made.Flags.BackupState,
		Transports: knownTransports(made.Transport), Name: name, CreatedAt: f.Now(), ChallengedAt: asked.At,
	}, nil
}

// PasskeyOwner is who a passkey is being made for, as the page says that was sealed
// for bound: the one who is not there yet. ErrStale.
func (f *Factors) PasskeyOwner(bound, sealed string) (userID string, err error) {
	asked, err := f.openChallenge(sealed)
	if err != nil {
		return "", err
	}
	if asked.Bound != bound {
		return "", ErrStale
	}
	return asked.UserID, nil
}

// AskPasskey asks a browser to have one of the user's passkeys sign. With no user, the
// browser may take any that it finds, and nobody learns who has one.
func (f *Factors) AskPasskey(user *storage.User, has []*storage.Passkey) (*Ceremony, error) {
	party, err := f.relyingParty()
	if err != nil {
		return nil, err
	}
	var (
		options *protocol.CredentialAssertion
		session *webauthn.SessionData
		asked   challenge
	)
	if user == nil {
		options, session, err = party.BeginDiscoverableLogin()
	} else {
		asked.UserID = user.ID
		options, session, err = party.BeginLogin(owner(user, has))
	}
	if err != nil {
		return nil, fmt.Errorf("ask for a passkey: %w", err)
	}
	return f.ceremony(options.Response, session.Challenge, asked)
}

// UsePasskey accepts the answer of a browser, once, and returns whose passkey signed.
// It must be that of the user with this id, if there is one; then the page must have
// asked that user. cloned is recorded if there may be a copy of the key. ErrStale,
// ErrWrong: also for a passkey that nobody has, and for one whose user is disabled.
func (f *Factors) UsePasskey(ctx context.Context, userID, sealed, answer string, cloned func(*storage.Passkey) storage.AuditEvent) (string, error) {
	asked, err := f.openChallenge(sealed)
	if err != nil {
		return "", err
	}
	if asked.UserID != userID || asked.Bound != "" {
		return "", ErrStale
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(answer))
	if err != nil {
		return "", ErrWrong
	}
	passkey, err := f.Passkeys.PasskeyByCredential(ctx, parsed.RawID)
	if errors.Is(err, storage.ErrNotFound) {
		return "", ErrWrong
	} else if err != nil {
		return "", err
	}
	if userID != "" && passkey.UserID != userID {
		return "", ErrWrong
	}
	used, err := f.verify(asked, passkey, parsed)
	if err != nil {
		return "", err
	}
	err = f.Passkeys.UsePasskey(ctx, storage.PasskeyUse{
		ID: passkey.ID, UserID: passkey.UserID, ChallengedAt: asked.At, BackedUp: used.Flags.BackupState,
		// Not of used: its count stays where it was when it should have grown.
		SignCount: int64(parsed.Response.AuthenticatorData.Counter), At: f.Now(),
	}, cloned(passkey))
	if errors.Is(err, storage.ErrConsumed) || errors.Is(err, storage.ErrConflict) {
		return "", ErrWrong
	}
	return passkey.UserID, err
}

// verify checks the signature and all that was signed. ErrWrong.
func (f *Factors) verify(asked challenge, passkey *storage.Passkey, parsed *protocol.ParsedCredentialAssertionData) (*webauthn.Credential, error) {
	party, err := f.relyingParty()
	if err != nil {
		return nil, err
	}
	person := owner(&storage.User{ID: passkey.UserID}, []*storage.Passkey{passkey})
	session := f.session(asked)
	var used *webauthn.Credential
	if asked.UserID != "" {
		used, err = party.ValidateLogin(person, session, parsed)
	} else {
		_, used, err = party.ValidatePasskeyLogin(func(_, _ []byte) (webauthn.User, error) { return person, nil }, session, parsed)
	}
	if err != nil {
		return nil, ErrWrong
	}
	return used, nil
}

// ceremony seals a challenge of now.
func (f *Factors) ceremony(options any, random string, asked challenge) (*Ceremony, error) {
	text, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("encode a ceremony: %w", err)
	}
	asked.Random, asked.At = []byte(random), f.Now()
	plain, err := json.Marshal(asked)
	if err != nil {
		return nil, fmt.Errorf("encode a challenge: %w", err)
	}
	return &Ceremony{Options: string(text), Sealed: f.Sealer.Seal(challengePurpose, plain)}, nil
}

// openChallenge opens what was sealed into a page. ErrStale, storage.ErrUnavailable.
func (f *Factors) openChallenge(sealed string) (challenge, error) {
	if !f.OffersPasskeys() {
		return challenge{}, ErrStale
	}
	plain, err := f.Sealer.Open(challengePurpose, sealed)
	if errors.Is(err, storage.ErrUnavailable) {
		return challenge{}, err
	}
	var asked challenge
	if err != nil || json.Unmarshal(plain, &asked) != nil || f.Now().Sub(asked.At) > challengeLifetime {
		return challenge{}, ErrStale
	}
	return asked, nil
}

// session is what the library kept of a challenge when it was made. No list of
// credentials: the row says whose each is.
func (f *Factors) session(asked challenge) webauthn.SessionData {
	session := webauthn.SessionData{Challenge: string(asked.Random), RelyingPartyID: f.Issuer, UserVerification: protocol.VerificationRequired}
	if asked.UserID != "" {
		session.UserID = []byte(asked.UserID)
	}
	return session
}

// passkeyOwner is a user as the library knows one. The handle that passkeys keep is
// the user's id, which says nothing about the person.
type passkeyOwner struct {
	id            []byte
	name, display string
	credentials   []webauthn.Credential
}

func owner(user *storage.User, has []*storage.Passkey) passkeyOwner {
	person := passkeyOwner{id: []byte(user.ID), name: user.Username, display: user.Name}
	if person.display == "" {
		person.display = user.Username
	}
	for _, p := range has {
		c := webauthn.Credential{ID: p.CredentialID, PublicKey: p.PublicKey}
		for _, transport := range p.Transports {
			c.Transport = append(c.Transport, protocol.AuthenticatorTransport(transport))
		}
		c.Flags.BackupEligible, c.Flags.BackupState = p.BackupEligible, p.BackedUp
		c.Authenticator.SignCount = uint32(p.SignCount) //nolint:gosec // it was one when it was stored
		person.credentials = append(person.credentials, c)
	}
	return person
}

// WebAuthnID implements webauthn.User.
func (o passkeyOwner) WebAuthnID() []byte { return o.id }

// WebAuthnName implements webauthn.User.
func (o passkeyOwner) WebAuthnName() string { return o.name }

// WebAuthnDisplayName implements webauthn.User.
func (o passkeyOwner) WebAuthnDisplayName() string { return o.display }

// WebAuthnCredentials implements webauthn.User.
func (o passkeyOwner) WebAuthnCredentials() []webauthn.Credential { return o.credentials }

// knownTransports are those that a browser may be told again.
func knownTransports(told []protocol.AuthenticatorTransport) []string {
	known := []string{}
	for _, transport := range []protocol.AuthenticatorTransport{
		protocol.BLE, protocol.Hybrid, protocol.Internal, protocol.NFC, protocol.SmartCard, protocol.USB,
	} {
		if slices.Contains(told, transport) {
			known = append(known, string(transport))
		}
	}
	return known
}
