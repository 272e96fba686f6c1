package oauth

import (
	"crypto/rand"
	"strings"
	"unicode"
)

// A user code is eight consonants (RFC 8628 §6.1): 34.5 bits, no words, nothing
// that is mistaken for something else.
const (
	userCodeAlphabet = "BCDFGHJKLMNPQRSTVWXZ"
	userCodeLength   = 8
	// maxTypedCode is the longest text that is looked at, in bytes.
	maxTypedCode = 64
)

// userCodePurpose is what a user code is stored under a key for: it could be
// guessed from a plain hash.
const userCodePurpose = "user code"

// newUserCode returns a random user code, without its hyphen.
func newUserCode() string {
	// The largest multiple of the alphabet's size that a byte reaches: what lies
	// above would make some letters likelier.
	const fair = 256 - 256%len(userCodeAlphabet)
	code := make([]byte, 0, userCodeLength)
	var random [2 * userCodeLength]byte
	for {
		_, _ = rand.Read(random[:]) // never fails: it would end the process
		for _, b := range random {
			if int(b) < fair {
				code = append(code, userCodeAlphabet[int(b)%len(userCodeAlphabet)])
			}
			if len(code) == userCodeLength {
				return string(code)
			}
		}
	}
}

// readUserCode reads what a person typed: in any case, with or without hyphens,
// spaces and other marks between the letters. It reports whether that can be a
// user code at all.
func readUserCode(typed string) (code string, ok bool) {
	if len(typed) > maxTypedCode {
		return "", false
	}
	var letters strings.Builder
	for _, c := range typed {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		switch {
		case strings.ContainsRune(userCodeAlphabet, c):
			letters.WriteRune(c)
		case unicode.IsLetter(c) || unicode.IsNumber(c) || c == unicode.ReplacementChar:
			return "", false
		}
	}
	return letters.String(), letters.Len() == userCodeLength
}

// showUserCode is a user code as people see it, WDJB-MJHT.
func showUserCode(code string) string {
	return code[:userCodeLength/2] + "-" + code[userCodeLength/2:]
}
