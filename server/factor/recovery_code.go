package factor

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"

	"grantd/storage"
)

// recoveryBytes is how many random bytes a recovery code has: too many to be guessed,
// so that a plain hash is kept of it.
const recoveryBytes = 10

// Letters and digits that nobody takes for one another.
var recoveryEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewRecoveryCodes makes codes in place of all that the user has, and returns them to
// be shown this once. storage.ErrNotFound: the user is gone or disabled.
func (f *Factors) NewRecoveryCodes(ctx context.Context, userID string, event storage.AuditEvent) ([]string, error) {
	codes, hashes := make([]string, storage.RecoveryCodes), make([][]byte, storage.RecoveryCodes)
	for i := range codes {
		raw := make([]byte, recoveryBytes)
		_, _ = rand.Read(raw) // never fails: it would end the process
		text := recoveryEncoding.EncodeToString(raw)
		codes[i], hashes[i] = strings.ReplaceAll(groups(text), " ", "-"), recoveryHash(userID, text)
	}
	if err := f.Store.ReplaceRecoveryCodes(ctx, userID, hashes, event); err != nil {
		return nil, err
	}
	return codes, nil
}

// UseRecoveryCode spends a code, however it is typed. ErrWrong.
func (f *Factors) UseRecoveryCode(ctx context.Context, userID, typed string, event storage.AuditEvent) error {
	text := strings.Map(func(c rune) rune {
		switch c {
		case '-', ' ':
			return -1
		case 'o':
			return '0'
		case 'i', 'l':
			return '1'
		}
		return c
	}, strings.ToLower(typed))
	err := f.Store.UseRecoveryCode(ctx, userID, recoveryHash(userID, text), event)
	if errors.Is(err, storage.ErrConsumed) {
		return ErrWrong
	}
	return err
}

// recoveryHash is what is kept of a user's code.
func recoveryHash(userID, text string) []byte {
	sum := sha256.Sum256([]byte(userID + " " + text))
	return sum[:]
}

// IsTOTP reports whether what was typed is a code of an authenticator app rather than
// a recovery code.
func IsTOTP(typed string) bool {
	text := strings.ReplaceAll(typed, " ", "")
	return len(text) == digits && strings.Trim(text, "0123456789") == ""
}
