// Package consent shows a person what a client asks for and judges their answer
// (OAuth 2.1 §7.9, the consent rules of MCP's security best practices).
//
// What the person saw is what the token says: the page carries a sealed approval
// that names the session, the user, a digest of everything shown and asked, the
// time and a nonce. If any of it has changed when the answer comes, the page is
// shown again. Nothing is stored before a person has approved.
package consent

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"grantd/server/keys"
	"grantd/server/policy"
	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

// pageLifetime is how long an answer to a page counts.
const pageLifetime = 10 * time.Minute

const sealPurpose = "consent page"

// The names of the form's fields.
const (
	FieldDecision = "decision"
	FieldApproval = "approval"
	FieldScope    = "scope"
)

var (
	// ErrStale: the page is too old, or what it showed has changed. Show it again.
	ErrStale = errors.New("the page is out of date")
	// ErrForeign: the page is not ours, or belongs to another session.
	ErrForeign = errors.New("the page does not belong to this session")
	// ErrNothingChosen: approved, but with no scope ticked.
	ErrNothingChosen = errors.New("no scope chosen")
)

// Question is what a person is asked: may this client have these scopes of this
// resource?
type Question struct {
	Query       string // the authorization request, raw, as in the URL
	Pushed      string // what the client pushed of it (RFC 9126), encoded; empty: nothing
	Step        string // what the page's URLs remember beyond Query
	Client      *storage.Client
	Known       string // what the client is known as by where it comes from, or ""
	Trust       storage.ClientTrust
	LooksLike   Known // a name that the client's may be taken for; zero: none
	RedirectURI string
	Resource    *storage.Resource
	Scopes      []string
	Decision    policy.Decision // by which policies the scopes are allowed
	Withheld    []string        // scopes that were asked for and are not
	SignIn      *storage.SignIn
	// Device asks instead of an authorization request (RFC 8628 §3.3), which then
	// has no Query and no RedirectURI. UserCode is its code as people see it.
	Device   *storage.DeviceAuthorization
	UserCode string
}

// Decision is a person's answer.
type Decision struct {
	Approved bool
	Nonce    string   // an AuthorizationCode's id: one page approves once
	Scopes   []string // what was ticked, in the order shown
}

// Consent shows and judges pages.
type Consent struct {
	Pages *web.Pages
	Root  *keys.Root
	Now   func() time.Time
}

// Show answers with the page. notice and problem are sentences above the form,
// usually empty.
func (c *Consent) Show(w http.ResponseWriter, q Question, status int, notice, problem string) error {
	page := c.page(q)
	page.Approval = c.seal(approval{
		SessionID: q.SignIn.Session.ID, UserID: q.SignIn.User.ID, Digest: c.digest(q, page),
		At: c.Now(), Nonce: storage.NewID(storage.PrefixCode), Seen: seenOf(q.SignIn),
	})
	page.Notice, page.Problem = notice, problem
	forms := web.AnyForm
	if q.Device != nil { // no client waits behind this form
		forms = web.OwnForms
	}
	return c.Pages.Write(w, status, forms, func(out io.Writer) error { return c.Pages.Templates.Consent(out, page) })
}

// Judge reads the answer to a page. ErrForeign, ErrStale, ErrNothingChosen, a
// *web.Error for a malformed form, or keys.ErrUnknownKey.
func (c *Consent) Judge(q Question, answer Answer) (Decision, error) {
	if answer.err != nil {
		return Decision{}, answer.err
	}
	page, form := answer.page, answer.form
	if page.SessionID != q.SignIn.Session.ID || page.UserID != q.SignIn.User.ID {
		return Decision{}, ErrForeign
	}
	age := c.Now().Sub(page.At)
	if age < 0 || age > pageLifetime || !slices.Equal(page.Digest, c.digest(q, c.page(q))) {
		return Decision{}, ErrStale
	}
	if form.Get(FieldDecision) != "approve" {
		return Decision{Nonce: page.Nonce}, nil
	}
	ticked := form.Values[FieldScope]
	for _, scope := range ticked {
		if !slices.Contains(q.Scopes, scope) {
			return Decision{}, &web.Error{
				Status: http.StatusBadRequest, Code: "scope-not-shown", Title: "That was not on the page",
				Message: "The answer names a permission that the page did not show. Nothing was approved.",
			}
		}
	}
	if len(ticked) == 0 {
		return Decision{}, ErrNothingChosen
	}
	chosen := storage.Intersect(q.Scopes, ticked)
	if !slices.Contains(chosen, storage.ScopeOpenID) { // the others of the identity mean nothing alone
		if chosen = storage.WithoutIdentity(chosen); len(chosen) == 0 {
			return Decision{}, ErrNothingChosen
		}
	}
	return Decision{Approved: true, Nonce: page.Nonce, Scopes: chosen}, nil
}

// page is everything the person sees of a question.
func (c *Consent) page(q Question) templates.ConsentPage {
	root := c.Pages.Issuer.Root()
	client := Describe(q.Client, q.RedirectURI)
	client.Trusted, client.Known = q.Trust == storage.TrustTrusted, q.Known
	page := templates.ConsentPage{
		Action: root + "/authorize?" + q.Query + q.Step,
		Client: client,
		Resource: templates.ConsentResource{
			Name: q.Resource.Name, URI: q.Resource.URI, Host: authority(q.Resource.URI), Identity: q.Resource.Identity(), Administration: q.Resource.BuiltIn(),
		},
		Account:          templates.Account{Name: q.SignIn.User.Name, Username: q.SignIn.User.Username},
		SwitchAccountURL: root + "/login?" + q.Query + q.Step,
	}
	page.Policies, page.Withheld = q.Decision.Names(), q.Withheld
	if q.Device != nil {
		page.UserCode, page.Action = q.UserCode, root+"/device"
		page.SwitchAccountURL = root + "/login?user_code=" + url.QueryEscape(q.UserCode)
		page.Client.RedirectHost, page.Client.Loopback, page.Client.Device = "", false, true
	}
	page.Client.Known = q.Known
	page.Client.LooksLike, page.Client.LooksLikeOf = q.LooksLike.Name, q.LooksLike.Of
	// Who signs in a device has not been asked about its client.
	page.Client.New = q.Client.SelfAsserted() && q.Device == nil && !q.SignIn.ClientKnown
	if q.Client.MayUse(storage.GrantTypeRefreshToken) {
		page.RefreshLifetimeDays = int(storage.FamilyLifetime / (24 * time.Hour))
	}
	for _, scope := range scopesOf(q) {
		if slices.Contains(q.Scopes, scope.Name) {
			approved := q.SignIn.Grant != nil && slices.Contains(q.SignIn.Grant.Scopes, scope.Name)
			page.Scopes = append(page.Scopes, templates.ConsentScope{
				Name: scope.Name, Description: scope.Description, Told: told(scope.Name, q.SignIn.User), Tools: scope.Tools, Risk: string(scope.Risk),
				Approved: approved, Checked: approved || scope.Risk != storage.RiskDestructive,
			})
		}
	}
	return page
}

// digest stands for the whole question as the person sees it: everything the
// request says, and every word on the page. The page's URLs are made of the
// request, which the form may spell otherwise when it comes back.
//
// While servers are replaced one by one, a page of the one version is answered at the
// other: a digest that is made of more or less makes that page out of date.
func (c *Consent) digest(q Question, page templates.ConsentPage) []byte {
	page.Action, page.SwitchAccountURL = "", ""
	page.Scopes, page.Client.New = slices.Clone(page.Scopes), false
	for i := range page.Scopes { // another page may approve meanwhile
		page.Scopes[i].Approved, page.Scopes[i].Checked = false, false
	}
	deviceID := ""
	if q.Device != nil {
		deviceID = q.Device.ID
	}
	// A client that changes where it can be reached, or its keys, is another one.
	client := append([]string{q.Client.ID, q.Client.TokenEndpointAuthMethod, q.Client.JWKS, q.Client.JWKSURI}, q.Client.RedirectURIs...)
	shown, err := json.Marshal(struct {
		Query, RedirectURI, ResourceID, DeviceID string
		Client                                   []string
		Page                                     shownPage
		Pushed                                   string `json:",omitempty"`
	}{web.CanonicalQuery(q.Query), q.RedirectURI, q.Resource.ID, deviceID, client, shownPage{c.Pages.Issuer.Root(), page}, q.Pushed})
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	sum := sha256.Sum256(shown)
	return sum[:]
}

// shownPage is a page, and the path of the issuer that it belongs to.
type shownPage struct {
	Root string
	templates.ConsentPage
}

// authority is the host[:port] of a URI, or "" if it has none.
func authority(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return u.Host
}

// Describe says who a client is, and where access goes when redirectURI is not
// empty. Which profile knows it is not part of it.
func Describe(client *storage.Client, redirectURI string) templates.ConsentClient {
	described := templates.ConsentClient{
		Name: client.ClientName, Host: ClientHost(client), Verified: !client.SelfAsserted(), Source: string(client.Source),
	}
	if redirectURI != "" {
		described.RedirectHost, described.Loopback = RedirectHost(redirectURI), storage.LoopbackRedirect(redirectURI)
	}
	if described.Name == "" {
		described.Name = client.ClientID
	}
	return described
}

// ClientHost is the host of the client's document, or "" if it has none.
func ClientHost(client *storage.Client) string {
	if client.Source != storage.SourceMetadataDocument {
		return ""
	}
	return authority(client.ClientID)
}

// RedirectHost is where the answer goes, as a person can judge it: a host, or
// the scheme of a program on their machine with its colon.
func RedirectHost(uri string) string {
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return ""
	case u.Scheme == "https" || u.Scheme == "http":
		return u.Host
	}
	return u.Scheme + ":"
}
