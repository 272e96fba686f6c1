package templates

import (
	"io"
	"time"
)

// A SecondFactorPage asks for a code at sign-in. Its form posts "step" and "code".
type SecondFactorPage struct {
	Action  string // relative URL with its raw query
	Step    string // what was proved so far, returned as it is
	Problem string // one sentence above the form, "" for none
	Account Account
	Passkey PasskeyForm
	// NoApp: the person has no authenticator app, so a code is a recovery code.
	NoApp bool
}

// SecondFactor writes the page. It returns ErrUnsafeURL when Action leaves this server.
func (s *Set) SecondFactor(w io.Writer, p SecondFactorPage) error {
	return s.render(w, "second_factor.html", p)
}

// AppURI is an otpauth: URI, by which an authenticator app takes a secret.
type AppURI string

const appURIPrefix = "otpauth://totp/"

// An EnrolPage shows the secret for an authenticator app and asks for its first code.
// Its form posts "enrolment", "code", and "step" or "page".
type EnrolPage struct {
	Action    string // relative URL with its raw query
	Step      string // at sign-in: what was proved so far, returned as it is; else ""
	Page      string // on the account: the mark of whose page it is; else ""
	Enrolment string // the sealed secret, returned as it is
	Required  bool   // there is no going on without it
	Problem   string // one sentence above the form, "" for none
	Account   Account
	Secret    string // in groups of four
	URI       AppURI
	QR        string // the path of the black modules in a square of QRSize
	QRSize    int
	BackURL   string // relative URL, "" for none
	Passkey   PasskeyForm
}

// Frame is the square of the QR code with the quiet zone around it.
func (p EnrolPage) Frame() int { return p.QRSize + 2*quietZone }

// quietZone is how many white modules are around a QR code.
const quietZone = 4

// Enrol writes the page. It returns ErrUnsafeURL when one of its URLs leaves this
// server, or URI is no otpauth: URI.
func (s *Set) Enrol(w io.Writer, p EnrolPage) error { return s.render(w, "enrol.html", p) }

// A RecoveryCodesPage shows recovery codes, this once.
type RecoveryCodesPage struct {
	Codes       []string
	ContinueURL string // relative URL
}

// RecoveryCodes writes the page. It returns ErrUnsafeURL when ContinueURL leaves this
// server.
func (s *Set) RecoveryCodes(w io.Writer, p RecoveryCodesPage) error {
	return s.render(w, "recovery_codes.html", p)
}

// A SecurityPage says what a person proves besides a password. Its forms post "page"
// and "act": "remove_totp", "new_codes", or with "passkey" the id of one and "name"
// "rename_passkey" or "remove_passkey".
type SecurityPage struct {
	Action        string // relative URL
	Page          string
	Notice        string
	TOTP          bool
	TOTPSince     time.Time
	TOTPLastUsed  time.Time
	RecoveryCodes int
	EnrolURL      string // relative URL
	AccountURL    string // relative URL, the way back
	Passkeys      []AccountPasskey
	PasskeyURL    string // relative URL, to make one; "" where there can be none
	NoPasskeys    bool   // because the server is reached by an IP address
	Problem       string // one sentence above all, "" for none
}

// An AccountPasskey is a passkey of the person.
type AccountPasskey struct {
	ID, Name            string
	CreatedAt, LastUsed time.Time // LastUsed is zero: never
}

// A PasskeyForm has the browser use a passkey, or make one, with the script of the
// pages. Without Options there is none. Its form posts "challenge" and, from the
// script, "passkey".
type PasskeyForm struct {
	Options   string // for navigator.credentials, as JSON
	Challenge string // the sealed challenge, returned as it is
}

// A PasskeyPage has the browser make a passkey. Its form posts "page" and
// "passkey_name" too.
type PasskeyPage struct {
	Action  string // relative URL
	Page    string
	Problem string // one sentence above the form, "" for none
	Account Account
	Name    string // what it is called unless the person says otherwise
	BackURL string // relative URL
	Passkey PasskeyForm
}

// Passkey writes the page. It returns ErrUnsafeURL when one of its URLs leaves this
// server.
func (s *Set) Passkey(w io.Writer, p PasskeyPage) error { return s.render(w, "passkey.html", p) }

// Security writes the page. It returns ErrUnsafeURL when one of its URLs leaves this
// server.
func (s *Set) Security(w io.Writer, p SecurityPage) error { return s.render(w, "security.html", p) }
