package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// maxSteps is how many pages and redirects may lie between an authorization
// request and its answer.
const maxSteps = 20

// form is the part of an HTML form that a browser would send without anybody
// touching it: hidden and text fields, and boxes that are ticked. Buttons are
// sent only when they are pressed, which is a matter of filling them in.
type form struct {
	action  string
	names   map[string]bool
	untyped url.Values
}

// forms reads the forms of a page.
func forms(page []byte) []*form {
	var all []*form
	tokens := html.NewTokenizer(bytes.NewReader(page))
	for {
		kind := tokens.Next()
		if kind == html.ErrorToken {
			return all
		}
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		tag, more := tokens.TagName()
		name := string(tag)
		if name != "form" && name != "input" && name != "button" {
			continue
		}
		attributes := make(map[string]string)
		for more {
			var key, value []byte
			key, value, more = tokens.TagAttr()
			attributes[string(key)] = string(value)
		}
		if name == "form" {
			all = append(all, &form{action: attributes["action"], names: make(map[string]bool), untyped: url.Values{}})
			continue
		}
		if len(all) > 0 {
			all[len(all)-1].add(name, attributes)
		}
	}
}

func (f *form) add(tag string, attributes map[string]string) {
	f.names[attributes["name"]] = true
	kind := attributes["type"]
	_, checked := attributes["checked"]
	if tag == "button" || kind == "submit" || (kind == "checkbox" || kind == "radio") && !checked || attributes["name"] == "" {
		return
	}
	f.untyped.Add(attributes["name"], attributes["value"])
}

// approve goes where an authorization request leads, through sign-in and consent
// pages as a browser would, until the server sends the browser to the redirect
// URI. It returns the parameters there and the number of requests made.
func (a *agent) approve(p *Profile, u User, request *url.URL) (parameters url.Values, requests int, err error) {
	method, at, body := http.MethodGet, request, ""
	for requests = 1; requests <= maxSteps; requests++ {
		got, err := a.browse(method, at, body)
		if err != nil {
			return nil, requests, err
		}
		if location := got.header.Get("Location"); got.status >= 300 && got.status < 400 && location != "" {
			if query, ok := strings.CutPrefix(location, p.Installed.RedirectURI); ok {
				next, err := url.ParseQuery(strings.TrimPrefix(query, "?"))
				return next, requests, err
			}
			if at, err = at.Parse(location); err != nil {
				return nil, requests, err
			}
			method, body = http.MethodGet, ""
			continue
		}
		if got.status != http.StatusOK {
			return nil, requests, fmt.Errorf("the page at %s has status %d", at.Path, got.status)
		}
		if at, body, err = p.fill(at, got.body, u); err != nil {
			return nil, requests, err
		}
		method = http.MethodPost
	}
	return nil, requests, errors.New("the pages go on and on")
}

// browse sends a request as a browser does: with cookies, and saying where a form
// comes from.
func (a *agent) browse(method string, at *url.URL, body string) (answer, error) {
	var h strings.Builder
	for i, cookie := range a.jar.Cookies(at) {
		h.WriteString([]string{"Cookie: ", "; "}[min(i, 1)] + cookie.Name + "=" + cookie.Value)
	}
	if h.Len() > 0 {
		h.WriteString("\r\n")
	}
	h.WriteString("Accept: text/html\r\n")
	if method == http.MethodPost {
		h.WriteString(string(formType) + "Sec-Fetch-Site: same-origin\r\nOrigin: " + at.Scheme + "://" + at.Host + "\r\n")
	}
	got, err := a.send(method, at, headers(h.String()), body)
	if err == nil && len(got.header["Set-Cookie"]) > 0 {
		a.jar.SetCookies(at, (&http.Response{Header: got.header}).Cookies())
	}
	return got, err
}

// fill answers the first form on the page that the profile knows.
func (p *Profile) fill(at *url.URL, page []byte, u User) (action *url.URL, body string, err error) {
	for _, f := range forms(page) {
		for _, known := range p.Pages {
			if !f.names[known.Has] {
				continue
			}
			for name, value := range known.Fill {
				f.untyped.Set(name, strings.NewReplacer("$username", u.Username, "$password", u.Password).Replace(value))
			}
			action, err = at.Parse(f.action)
			return action, f.untyped.Encode(), err
		}
	}
	return nil, "", fmt.Errorf("the profile knows none of the forms on the page at %s", at.Path)
}
