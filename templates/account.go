package templates

import (
	"io"
	"time"
)

// An AccountPage says who is signed in, which applications have access in their
// name, and where they are signed in. Its forms post "page" and, to end a
// session, "session", or to end one sign-in of an application, "installation".
type AccountPage struct {
	Account        Account
	LogoutAction   string   // relative URL that takes a POST
	Notice         string   // what has just happened, "" for none
	Page           string   // the mark of whose page it is, returned as it is
	Providers      []string // labels of the identity providers that they sign in with
	Applications   []Application
	RevokeAllURL   string // relative URL, "" for none
	Sessions       []AccountSession
	SessionsAction string // relative URL that takes a POST
	// InstallationsAction is a relative URL that takes a POST.
	InstallationsAction string
	PasswordURL         string // relative URL, "" when there is no password to change
	SecurityURL         string // relative URL of the second factor, "" for none
	ActivityURL         string // relative URL
}

// An Application is a client that a person has allowed to use an MCP server.
type Application struct {
	Client        ConsentClient
	Resource      ConsentResource
	Scopes        []ConsentScope
	ApprovedAt    time.Time
	LastUsedAt    time.Time // zero: nothing is signed in
	Installations []Installation
	RevokeURL     string // relative URL
}

// An Installation is one sign-in of an Application, somewhere.
type Installation struct {
	ID                     string
	Program                string // in words, "" when it is not known
	Address                string // "" when it is not known
	SignedInAt, LastUsedAt time.Time
}

// An AccountSession is a browser in which the person is signed in.
type AccountSession struct {
	ID                     string
	Browser                string            // in words
	Values                 map[string]string // what stands for each {name} in Browser
	Address                string            // "" when it is not known
	SignedInAt, LastSeenAt time.Time
	Current                bool // this one
}

// Account writes the account page. It returns ErrUnsafeURL when one of its URLs
// leaves this server.
func (s *Set) Account(w io.Writer, p AccountPage) error { return s.render(w, "account.html", p) }

// A RevokePage asks whether to take the access of applications. Its form posts
// "page" and "grant".
type RevokePage struct {
	Action       string // relative URL
	Page         string
	Grant        string // what is revoked
	Applications []Application
	AccountURL   string // relative URL, the way back
}

// Revoke writes the page. It returns ErrUnsafeURL when one of its URLs leaves this
// server.
func (s *Set) Revoke(w io.Writer, p RevokePage) error { return s.render(w, "revoke.html", p) }

// A PasswordPage asks for the current password and twice for a new one. Its form
// posts "page", "current", "password" and "again".
type PasswordPage struct {
	Action     string // relative URL
	Page       string
	Problem    string // one sentence above the form, "" for none
	Account    Account
	AccountURL string // relative URL, the way back
}

// Password writes the page. It returns ErrUnsafeURL when one of its URLs leaves
// this server.
func (s *Set) Password(w io.Writer, p PasswordPage) error { return s.render(w, "password.html", p) }

// An ActivityPage tells what happened about an account, newest first.
type ActivityPage struct {
	Events     []Activity
	OlderURL   string // relative URL, "" on the last page
	AccountURL string // relative URL, the way back
}

// An Activity is one event in words.
type Activity struct {
	At      time.Time
	Text    string // a sentence, which may name {app} and {server}
	Address string // where from, "" when it is not known
	// App and Server are the names of what it is about, "" for what is gone.
	// Unverified: the application chose its name itself.
	App, Server string
	Unverified  bool
	// The server is who the person is, or the administration of grantd itself.
	Identity, Administration bool
}

// Activity writes the page. It returns ErrUnsafeURL when one of its URLs leaves
// this server.
func (s *Set) Activity(w io.Writer, p ActivityPage) error { return s.render(w, "activity.html", p) }

// A LinkPage lets whoever has a link choose a password, or with a Passkey make one
// instead, and the first administrator also choose a user name and a name. Its form
// posts "token", "password", "again", "username" and "name".
type LinkPage struct {
	Action     string // relative URL, without the token
	Token      string // returned as it is
	Reset      bool   // a forgotten password, else an invitation
	FirstAdmin bool
	Account    Account // of the first administrator: what was typed before
	Problem    string  // one sentence above the form, "" for none
	Passkey    PasskeyForm
}

// Link writes the page. It returns ErrUnsafeURL when Action leaves this server.
func (s *Set) Link(w io.Writer, p LinkPage) error { return s.render(w, "link.html", p) }
