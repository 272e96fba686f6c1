package factor

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // what RFC 6238 and every authenticator app use; HMAC does not rest on collisions
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"rsc.io/qr"

	"grantd/storage"
)

// ErrWrong: the code or the passkey is not right, or was used before.
var ErrWrong = errors.New("the code is not right")

// ErrStale: the page that the answer belongs to is too old, or was another person's.
var ErrStale = errors.New("the page is out of date")

const (
	period      = 30 // seconds that a code is shown
	digits      = 6
	secretBytes = 20
	// slack is how many periods a clock may be ahead or behind.
	slack = 1
	// enrolmentLifetime is how long a secret waits for its first code.
	enrolmentLifetime = 10 * time.Minute
)

// The purposes of what is sealed.
const (
	secretPurpose    = "totp secret"
	enrolmentPurpose = "totp enrolment"
)

// Sealer encrypts and authenticates what a browser or the database keeps.
type Sealer interface {
	Seal(purpose string, plaintext []byte) string
	Open(purpose, sealed string) ([]byte, error)
	SealBytes(purpose string, plaintext []byte) []byte
	OpenBytes(purpose string, sealed []byte) ([]byte, error)
}

// Factors checks codes and passkeys, and keeps secrets. Every field is required.
type Factors struct {
	Store    storage.FactorStore
	Passkeys storage.PasskeyStore
	Sealer   Sealer
	// Issuer is the name that authenticator apps show beside the user's, and which
	// passkeys belong to: the host of the issuer. Origin is where its pages are.
	Issuer, Origin string
	Now            func() time.Time
}

// Of returns what the user has. storage.ErrUnavailable.
func (f *Factors) Of(ctx context.Context, userID string) (*storage.Factors, error) {
	return f.Store.Factors(ctx, userID)
}

// CheckTOTP reports which time step a code is of. It asks nobody and changes nothing:
// UseTOTP accepts it. ErrWrong, or that the secret cannot be opened.
func (f *Factors) CheckTOTP(t *storage.TOTP, code string) (storage.TOTPUse, error) {
	plain, err := f.Sealer.OpenBytes(secretPurpose, t.SealedSecret)
	if err != nil {
		return storage.TOTPUse{}, fmt.Errorf("the TOTP secret of user %s: %w", t.UserID, err)
	}
	secret, ours := bytes.CutPrefix(plain, []byte(t.UserID+" "))
	if !ours {
		return storage.TOTPUse{}, fmt.Errorf("the TOTP secret of user %s is another user's", t.UserID)
	}
	now := f.Now()
	step, ok := match(secret, code, now)
	if !ok {
		return storage.TOTPUse{}, ErrWrong
	}
	// Sealed anew, so that a root key that makes no more is needed no more.
	return storage.TOTPUse{UserID: t.UserID, Step: step, SealedSecret: f.sealSecret(t.UserID, secret), At: now}, nil
}

// UseTOTP accepts a code that CheckTOTP found right. ErrWrong: it, or a later one, was
// accepted before.
func (f *Factors) UseTOTP(ctx context.Context, use storage.TOTPUse) error {
	err := f.Store.UseTOTP(ctx, use)
	if errors.Is(err, storage.ErrConsumed) {
		return ErrWrong
	}
	return err
}

func (f *Factors) sealSecret(userID string, secret []byte) []byte {
	return f.Sealer.SealBytes(secretPurpose, append([]byte(userID+" "), secret...))
}

// Enrolment is a new secret that an authenticator app must show to have before it
// counts. Nothing of it is stored.
type Enrolment struct {
	Secret string // in groups of four, to be typed
	URI    string // otpauth:
	// QR is the URI as a QR code: the path of its black modules in a square of Size.
	QR     string
	Size   int
	Sealed string // comes back with the first code
}

// enrolment is what is sealed into the page.
type enrolment struct {
	UserID string    `json:"u"`
	Key    []byte    `json:"s"`
	At     time.Time `json:"t"`
}

// BeginTOTP makes a secret for the user.
func (f *Factors) BeginTOTP(user *storage.User) (*Enrolment, error) {
	secret := make([]byte, secretBytes)
	_, _ = rand.Read(secret) // never fails: it would end the process
	return f.show(user, enrolment{UserID: user.ID, Key: secret, At: f.Now()})
}

// ShowTOTP is the enrolment of a page that is shown again. ErrStale.
func (f *Factors) ShowTOTP(user *storage.User, sealed string) (*Enrolment, error) {
	begun, err := f.open(user, sealed)
	if err != nil {
		return nil, err
	}
	return f.show(user, begun)
}

func (f *Factors) show(user *storage.User, begun enrolment) (*Enrolment, error) {
	sealed, err := json.Marshal(begun)
	if err != nil {
		return nil, fmt.Errorf("encode the enrolment: %w", err)
	}
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(begun.Key)
	// As the apps read it: no "+" for a space, and no more than they need.
	uri := "otpauth://totp/" + url.PathEscape(f.Issuer+":"+user.Username) + "?secret=" + text + "&issuer=" + url.PathEscape(f.Issuer)
	code, err := qr.Encode(uri, qr.M)
	if err != nil {
		return nil, fmt.Errorf("draw the QR code: %w", err)
	}
	return &Enrolment{
		Secret: groups(text), URI: uri, QR: path(code), Size: code.Size, Sealed: f.Sealer.Seal(enrolmentPurpose, sealed),
	}, nil
}

func (f *Factors) open(user *storage.User, sealed string) (enrolment, error) {
	plain, err := f.Sealer.Open(enrolmentPurpose, sealed)
	if errors.Is(err, storage.ErrUnavailable) {
		return enrolment{}, err
	} else if err != nil {
		return enrolment{}, ErrStale
	}
	var begun enrolment
	if err := json.Unmarshal(plain, &begun); err != nil || begun.UserID != user.ID || f.Now().Sub(begun.At) > enrolmentLifetime {
		return enrolment{}, ErrStale
	}
	return begun, nil
}

// FinishTOTP keeps the secret if the code is right. ErrWrong, ErrStale,
// storage.ErrExists: the user has one by now.
func (f *Factors) FinishTOTP(ctx context.Context, user *storage.User, sealed, code string, event storage.AuditEvent) error {
	begun, err := f.open(user, sealed)
	if err != nil {
		return err
	}
	now := f.Now()
	step, ok := match(begun.Key, code, now)
	if !ok {
		return ErrWrong
	}
	return f.Store.CreateTOTP(ctx, &storage.TOTP{
		UserID: user.ID, SealedSecret: f.sealSecret(user.ID, begun.Key), LastStep: step, CreatedAt: now, LastUsedAt: now,
	}, event)
}

// match finds the time step that a code is of.
func match(secret []byte, code string, now time.Time) (step int64, ok bool) {
	code = strings.ReplaceAll(code, " ", "")
	current := now.Unix() / period
	for step := current - slack; step <= current+slack; step++ {
		if subtle.ConstantTimeCompare([]byte(codeOf(secret, step)), []byte(code)) == 1 {
			return step, true
		}
	}
	return 0, false
}

// codeOf is the code of a time step (RFC 4226 §5.3).
func codeOf(secret []byte, step int64) string {
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(step)) //nolint:gosec // steps since 1970
	mac := hmac.New(sha1.New, secret)
	_, _ = mac.Write(counter[:]) // hashes never fail
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0x0f
	number := binary.BigEndian.Uint32(sum[offset:offset+4]) & 0x7fffffff
	return fmt.Sprintf("%0*d", digits, number%1_000_000)
}

// groups puts a space after every four characters.
func groups(text string) string {
	var b strings.Builder
	for i, c := range text {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// path draws the black modules, a run at a time.
func path(code *qr.Code) string {
	var b strings.Builder
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			run := 0
			for code.Black(x+run, y) {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", x, y, run, run)
				x += run
			}
		}
	}
	return b.String()
}
