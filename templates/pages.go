package templates

import "io"

// An Account is the person as the pages name them. Name may be empty.
type Account struct {
	Name     string
	Username string
}

// A LoginPage asks for a user name and a password. Its form posts the fields
// "username" and "password".
type LoginPage struct {
	Action       string // relative URL with its raw query
	Username     string // shown again after a failed attempt
	Problem      string // one sentence above the form, "" for none
	Verified     bool   // the client was registered by an admin, so its name can be believed
	ClientName   string // what the person continues to; each of the four may be empty
	ClientHost   string // the host of the client's own address, or else where the answer goes
	RedirectHost string // where the answer goes, if not to ClientHost
	ResourceName string
	// Administration: it is that of grantd itself, which has a name in each language.
	Administration bool
	Providers      []LoginProvider // other ways to sign in
	Passkey        PasskeyForm
	// PasskeysOnly: there is no password. Without a Passkey nobody can sign in here.
	PasskeysOnly bool
}

// A LoginProvider is an identity provider that people sign in with.
type LoginProvider struct {
	Label string
	URL   string // relative URL with its raw query
}

// Login writes the sign-in page. It returns ErrUnsafeURL when Action, or the URL of a
// provider, leaves this server.
func (s *Set) Login(w io.Writer, p LoginPage) error { return s.render(w, "login.html", p) }

// A ConsentPage asks a person to approve a Client's request. Its form posts
// "decision" ("approve" or "deny"), "approval", and "scope" once for each
// ticked scope.
type ConsentPage struct {
	Action              string // relative URL with its raw query
	Approval            string // the sealed page, returned as it is
	UserCode            string // of the device to be connected, WDJB-MJHT, returned as "user_code"; "" for none
	Notice              string // why the page is shown again, "" for none
	Client              ConsentClient
	Resource            ConsentResource
	Scopes              []ConsentScope
	Policies            []string // names of the policies that let the person allow these
	Withheld            []string // names of scopes that no policy lets them allow
	Account             Account
	RefreshLifetimeDays int    // the longest the approval can last unasked; 0 without a refresh token
	SwitchAccountURL    string // relative URL, "" for none
	Problem             string // what to mend before approving, "" for none
}

// A ConsentClient is who asks. Unless Verified, everything but the two hosts is
// the client's own claim and is shown smaller than they are.
type ConsentClient struct {
	Name         string
	Host         string // host of the client id, in punycode; "" if it has none
	RedirectHost string // host[:port] in punycode, or the scheme of a private-use one
	Loopback     bool   // the answer goes to a program on this computer
	Device       bool   // the answer goes to the device that asked
	Verified     bool   // registered by an admin
	Trusted      bool   // describes itself, from where the administrators trust
	Known        string // the title of the profile that knows where it comes from, "" for none
	New          bool   // describes itself, and nobody here has allowed it yet
	LooksLike    string // a name that its own may be taken for, "" for none
	LooksLikeOf  string // what has that name: NameOfClient, NameOfResource or NameOfProfile
	Source       string // "registered", "dynamic" or "metadata_document"
}

// What may have a name that a client's looks like.
const (
	NameOfClient   = "client"   // registered by an admin
	NameOfResource = "resource" // an MCP server
	NameOfProfile  = "profile"  // an app whose addresses grantd knows
)

// A ConsentResource is the MCP server that the client asks to use.
type ConsentResource struct {
	Name string
	URI  string
	Host string // shown when there is no name
	// Identity: it is no MCP server but who the person is. Administration: nor is it
	// one, but that of grantd itself. Either has a name in each language.
	Identity, Administration bool
}

// A ConsentScope is one permission, in words and with the tools it unlocks.
type ConsentScope struct {
	Name        string
	Description string
	Told        string // what of the person it tells, "" for a scope of an MCP server
	Tools       []string
	Risk        string // "read", "write" or "destructive"; "" for unknown
	Approved    bool   // allowed before
	Checked     bool
}

// Consent writes the consent page. It returns ErrUnsafeURL when Action or
// SwitchAccountURL leaves this server.
func (s *Set) Consent(w io.Writer, p ConsentPage) error { return s.render(w, "consent.html", p) }

// A DevicePage asks for the code that another device shows. Its form posts
// "user_code".
type DevicePage struct {
	Action           string // relative URL
	UserCode         string // filled in already, "" for none
	Problem          string // one sentence above the form, "" for none
	Account          Account
	SwitchAccountURL string // relative URL, "" for none
}

// Device writes the page that asks for a code. It returns ErrUnsafeURL when Action
// or SwitchAccountURL leaves this server.
func (s *Set) Device(w io.Writer, p DevicePage) error { return s.render(w, "device.html", p) }

// A DeviceDonePage says that the device has its answer.
type DeviceDonePage struct {
	Connected  bool   // else the person said no
	AccountURL string // relative URL, "" for none
}

// DeviceDone writes the page after a device was connected, or not. It returns
// ErrUnsafeURL when AccountURL leaves this server.
func (s *Set) DeviceDone(w io.Writer, p DeviceDonePage) error {
	return s.render(w, "device_done.html", p)
}

// An AskPage says that an administrator must allow a client before a person may
// approve it. Its form posts "request".
type AskPage struct {
	Action           string // relative URL with its raw query
	Request          string // the sealed page, returned as it is
	Asked            bool   // this person has asked: there is nothing to send
	Problem          string // why it could not be sent, "" for none
	Client           ConsentClient
	Resource         ConsentResource
	Account          Account
	SwitchAccountURL string // relative URL, "" for none
	Reference        string // of the request, once it is sent
}

// Ask writes the page. It returns ErrUnsafeURL when Action or SwitchAccountURL
// leaves this server.
func (s *Set) Ask(w io.Writer, p AskPage) error { return s.render(w, "ask.html", p) }

// A ContinuePage names a host and links there. With Automatic the browser also
// goes by itself, which is the one way from a form to a client that a
// form-action policy does not block.
type ContinuePage struct {
	Title, Message string
	URL            string // https, http on loopback, a private-use scheme, or a path of this server
	Host           string
	Automatic      bool
}

// Continue writes the page that leads to a client. It returns ErrUnsafeURL when
// URL is of a scheme that runs code or is none of those ContinuePage allows.
func (s *Set) Continue(w io.Writer, p ContinuePage) error { return s.render(w, "continue.html", p) }

// An ErrorPage tells a person what went wrong and what they can do.
type ErrorPage struct {
	Status               int // HTTP status, 0 for none
	Title, Message, Help string
	Values               map[string]string // what stands for each {name} in Message
	ReturnURL            string            // a way back, as in ContinuePage; left out when unsafe
	ReturnHost           string
	Link, LinkText       string // a path of this server that leads on, both "" for none
	Reference            string // request id, to find the event in the log
}

// Error writes the error page. An unsafe ReturnURL only loses its button: there
// is no better page to show instead. Nor is an unsafe Link shown.
func (s *Set) Error(w io.Writer, p ErrorPage) error { return s.render(w, "error.html", p) }

// A LogoutPage asks for confirmation; its form posts no fields.
type LogoutPage struct {
	Action  string // relative URL
	Account Account
}

// Logout writes the sign-out page. It returns ErrUnsafeURL when Action leaves
// this server.
func (s *Set) Logout(w io.Writer, p LogoutPage) error { return s.render(w, "logout.html", p) }
