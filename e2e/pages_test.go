package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

var (
	formAction   = regexp.MustCompile(`<form[^>]* action="([^"]+)"`)
	formApproval = regexp.MustCompile(`name="approval" value="([^"]+)"`)
	formScopes   = regexp.MustCompile(`name="scope" value="([^"]+)"`)
)

// visitor goes through the real pages as a person without a browser does.
type visitor struct {
	t      *testing.T
	g      *grantd
	client *http.Client
}

func newVisitor(t *testing.T, g *grantd) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t: t, g: g, client: &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), g.issuer) {
			return http.ErrUseLastResponse
		}
		return nil
	}}}
}

// send follows redirects within the server. It returns where the last one leads, if
// away from it, and the page.
func (v *visitor) send(method, target string, form url.Values) (location *url.URL, page string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, target, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	location, err = url.Parse(response.Header.Get("Location"))
	if err != nil {
		v.t.Fatal(err)
	}
	return location, string(text)
}

func (v *visitor) found(pattern *regexp.Regexp, page string) string {
	v.t.Helper()
	match := pattern.FindStringSubmatch(page)
	if match == nil {
		v.t.Fatalf("no %s on the page:\n%s", pattern, page)
	}
	return html.UnescapeString(match[1])
}

// ask opens /authorize with these parameters and those that every request has.
func (v *visitor) ask(verifier string, parameters url.Values) (location *url.URL, page string) {
	v.t.Helper()
	challenge := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"response_type": {"code"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	maps.Copy(query, parameters)
	return v.send(http.MethodGet, v.g.issuer+"/authorize?"+query.Encode(), nil)
}

// signIn fills in the form of the page.
func (v *visitor) signIn(page, username string) (location *url.URL, next string) {
	v.t.Helper()
	return v.send(http.MethodPost, v.g.issuer+v.found(formAction, page), url.Values{"username": {username}, "password": {userPassword}})
}

// offered are the scopes that the page asks for.
func offered(page string) []string {
	scopes := []string{}
	for _, match := range formScopes.FindAllStringSubmatch(page, -1) {
		scopes = append(scopes, html.UnescapeString(match[1]))
	}
	return scopes
}

// approve approves everything on the page.
func (v *visitor) approve(page string) (location *url.URL, next string) {
	v.t.Helper()
	return v.send(http.MethodPost, v.g.issuer+v.found(formAction, page), url.Values{
		"decision": {"approve"}, "approval": {v.found(formApproval, page)}, "scope": offered(page),
	})
}

// approvedCode is a code that alice has approved for a public client.
func approvedCode(t *testing.T, g *grantd, clientID, verifier string) string {
	t.Helper()
	v := newVisitor(t, g)
	_, page := v.ask(verifier, url.Values{"client_id": {clientID}, "redirect_uri": {"http://127.0.0.1:1/callback"}})
	_, page = v.signIn(page, "alice")
	location, _ := v.approve(page)
	code := location.Query().Get("code")
	if code == "" {
		t.Fatalf("the approval led to %q", location)
	}
	return code
}
