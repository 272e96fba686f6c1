package servertest

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// Browser is a person's browser: it keeps cookies, follows redirects within the
// server, and stops at any other site.
type Browser struct {
	s   *Server
	jar *cookiejar.Jar
}

// Page is where a browser has come to.
type Page struct {
	*Answer
	URL *url.URL
	// Left is the URL of another site that the browser was sent to; then the rest
	// is the redirect that did it.
	Left *url.URL
}

// Browser opens a new browser without cookies.
func (s *Server) Browser() *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &Browser{s: s, jar: jar}
}

// SignedIn opens a browser in which the user has signed in.
func (s *Server) SignedIn(username string) *Browser {
	s.t.Helper()
	b := s.Browser()
	page := b.Post(s.URL+"/login", Form("username", username, "password", Password))
	if page.Status != http.StatusOK || !strings.HasSuffix(page.URL.Path, "/account") {
		s.t.Fatalf("sign-in as %s ended at %s with %d", username, page.URL, page.Status)
	}
	return b
}

// Get goes to a URL.
func (b *Browser) Get(target string) *Page {
	b.s.t.Helper()
	return b.visit(http.MethodGet, target, "", nil)
}

// Authorize goes to /authorize with these parameters.
func (b *Browser) Authorize(parameters url.Values) *Page {
	b.s.t.Helper()
	return b.Get(b.s.URL + "/authorize?" + parameters.Encode())
}

// Post submits a form to a URL, as the page it stands on would.
func (b *Browser) Post(target string, form url.Values) *Page {
	b.s.t.Helper()
	return b.visit(http.MethodPost, target, form.Encode(), http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {b.s.issuer.Origin()}, "Sec-Fetch-Site": {"same-origin"},
	})
}

// Send sends one request with the browser's cookies and follows nothing.
func (b *Browser) Send(method, target, body string, header http.Header) *Answer {
	b.s.t.Helper()
	r := b.s.Request(method, target, body, header)
	for _, cookie := range b.jar.Cookies(r.URL) {
		r.AddCookie(cookie)
	}
	answer := b.s.Do(r)
	b.jar.SetCookies(r.URL, (&http.Response{Header: answer.Header}).Cookies())
	return answer
}

// Cookies are what the browser holds for the server.
func (b *Browser) Cookies() []*http.Cookie {
	u, err := url.Parse(b.s.URL)
	if err != nil {
		b.s.t.Fatal(err)
	}
	return b.jar.Cookies(u)
}

func (b *Browser) visit(method, target, body string, header http.Header) *Page {
	b.s.t.Helper()
	for range 10 {
		answer := b.Send(method, target, body, header)
		here, err := url.Parse(target)
		if err != nil {
			b.s.t.Fatal(err)
		}
		location := answer.Header.Get("Location")
		if location == "" || answer.Status < 300 || answer.Status > 399 {
			return &Page{Answer: answer, URL: here}
		}
		next, err := here.Parse(location)
		if err != nil {
			b.s.t.Fatal(err)
		}
		if next.Scheme+"://"+next.Host != b.s.Origin {
			return &Page{Answer: answer, URL: here, Left: next}
		}
		method, target, body, header = http.MethodGet, next.String(), "", nil
	}
	b.s.t.Fatal("too many redirects")
	return nil
}

// Fields are the values of the form on a page that would be sent: hidden fields
// and ticked boxes.
func (p *Page) Fields() url.Values {
	fields := url.Values{}
	for _, input := range p.elements("input") {
		name, kind := attribute(input, "name"), attribute(input, "type")
		if name == "" || kind == "submit" || (kind == "checkbox" && !hasAttribute(input, "checked")) {
			continue
		}
		fields.Add(name, attribute(input, "value"))
	}
	return fields
}

// Offered are the scopes that a consent page asks for, ticked or not.
func (p *Page) Offered() []string {
	var scopes []string
	for _, input := range p.elements("input") {
		if attribute(input, "name") == "scope" {
			scopes = append(scopes, attribute(input, "value"))
		}
	}
	return scopes
}

// Action is where the page's form leads.
func (p *Page) Action() string {
	for _, form := range p.elements("form") {
		if action := attribute(form, "action"); action != "" {
			next, err := p.URL.Parse(action)
			if err != nil {
				return ""
			}
			return next.String()
		}
	}
	return ""
}

// Links are the addresses the page links to.
func (p *Page) Links() []string {
	var links []string
	for _, a := range p.elements("a") {
		links = append(links, attribute(a, "href"))
	}
	return links
}

// IsConsent reports whether the page asks for an approval.
func (p *Page) IsConsent() bool { return p.Left == nil && p.Fields().Has("approval") }

// IsLogin reports whether the page asks for a password.
func (p *Page) IsLogin() bool { return p.Left == nil && p.Fields().Has("password") }

// Approve presses Allow on a consent page, with these scopes ticked (none named:
// as the page has them).
func (b *Browser) Approve(page *Page, scopes ...string) *Page {
	b.s.t.Helper()
	if !page.IsConsent() {
		b.s.t.Fatalf("no consent page at %s: %d\n%s", page.URL, page.Status, page.Body)
	}
	form := page.Fields()
	form.Set("decision", "approve")
	if len(scopes) > 0 {
		form["scope"] = scopes
	}
	return b.Post(page.Action(), form)
}

// Deny presses Deny on a consent page.
func (b *Browser) Deny(page *Page) *Page {
	b.s.t.Helper()
	form := page.Fields()
	form.Set("decision", "deny")
	return b.Post(page.Action(), form)
}

// Code goes through /authorize and the consent page, allowing all it offers, and
// returns the code.
func (b *Browser) Code(parameters url.Values) string {
	b.s.t.Helper()
	page := b.Authorize(parameters)
	if page.Left == nil {
		page = b.Approve(page, page.Offered()...)
	}
	if page.Left == nil || page.Left.Query().Get("code") == "" {
		b.s.t.Fatalf("no code: %d at %s, left for %v\n%s", page.Status, page.URL, page.Left, page.Body)
	}
	return page.Left.Query().Get("code")
}

// Device goes to the page a device names and sends the code that is filled in
// there; it returns the page that this leads to.
func (b *Browser) Device(verificationURIComplete string) *Page {
	b.s.t.Helper()
	page := b.Get(verificationURIComplete)
	if !page.Fields().Has("user_code") {
		b.s.t.Fatalf("no field for the code at %s: %d\n%s", page.URL, page.Status, page.Body)
	}
	return b.Post(page.Action(), page.Fields())
}

func (p *Page) elements(name string) []*html.Node {
	root, err := html.Parse(strings.NewReader(p.Body))
	if err != nil {
		return nil
	}
	var found []*html.Node
	for node := range root.Descendants() {
		if node.Type == html.ElementNode && node.Data == name {
			found = append(found, node)
		}
	}
	return found
}

func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func hasAttribute(node *html.Node, name string) bool {
	for _, a := range node.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}
