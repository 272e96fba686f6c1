package login_test

import (
	"bufio"
	"context"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/server/login"
)

func TestSignInLeadsBackToTheSameRequest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, query, want string }{
		{"", query, "/authorize?" + query},
		{"", "", "/account"},
		{"", "?", "/authorize??"},
		{"", "b=%2F%2Fevil.example&&a=1", "/authorize?b=%2F%2Fevil.example&&a=1"},
		{"/tenant", query, "/tenant/authorize?" + query},
		{"/tenant", "", "/tenant/account"},
	} {
		t.Run(c.path+" "+c.query, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, options{path: c.path})
			h.user(t, "alice")
			target := "/login"
			if c.query != "" {
				target += "?" + c.query
			}
			page := h.get(t, target)
			page.want(t, http.StatusOK)
			if len(page.Cookies()) > 0 {
				t.Errorf("the form sets cookies: %v", page.Cookies())
			}
			// HTML may spell a character of the query otherwise, as %27 for '.
			path, posted, _ := strings.Cut(action(t, page.body), "?")
			if diff := cmp.Diff(parse(t, c.query), parse(t, posted)); path != c.path+"/login" || diff != "" {
				t.Errorf("the form posts to %s (-want +got):\n%s", path, diff)
			}
			a := h.send(t, http.MethodPost, target, url.Values{"username": {"ALICE"}, "password": {right}}.Encode())
			a.want(t, http.StatusSeeOther)
			if got := a.Header.Get("Location"); got != c.want {
				t.Errorf("leads to %s, want %s", got, c.want)
			}
			if a.cookie("grantd_session") == nil || a.cookie("grantd_device") == nil {
				t.Errorf("cookies: %v", a.Cookies())
			}
		})
	}
}

func parse(t *testing.T, query string) url.Values {
	t.Helper()
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

var formAction = regexp.MustCompile(`<form method="post" action="([^"]*)"`)

func action(t *testing.T, page string) string {
	t.Helper()
	found := formAction.FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("no form in %.300s", page)
	}
	return html.UnescapeString(found[1])
}

func TestFormSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{purpose: func(_ context.Context, rawQuery string) login.Purpose {
		if rawQuery != query {
			t.Errorf("asked about %q", rawQuery)
		}
		return login.Purpose{ClientName: "Some App", ClientHost: "app.example", ResourceName: "Notes"}
	}})
	h.user(t, "alice")
	for _, a := range []answer{
		h.get(t, "/login?"+query),
		h.send(t, http.MethodPost, "/login?"+query, "username=alice&password=wrong"),
	} {
		for _, want := range []string{"Some App", "app.example", "Notes"} {
			if !strings.Contains(a.body, want) {
				t.Errorf("%d: %q is missing", a.StatusCode, want)
			}
		}
	}
}

func TestSignedInGoesToAccountUnlessAsked(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	h.user(t, "alice")
	set := h.signIn(t, "alice", right).Cookies()
	a := h.get(t, "/login", with(set...))
	a.want(t, http.StatusSeeOther)
	if got := a.Header.Get("Location"); got != "/account" {
		t.Errorf("leads to %s", got)
	}
	h.get(t, "/login?"+query, with(set...)).want(t, http.StatusOK)
}

// HT-07 and HR-9: the headers of the page, its form kept to this server.
func TestHT07PageHeaders(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	h.user(t, "alice")
	set := h.signIn(t, "alice", right).Cookies()
	for name, a := range map[string]answer{
		"form":       h.get(t, "/login?"+query),
		"failed":     h.signIn(t, "alice", "wrong"),
		"sign out":   h.get(t, "/logout", with(set...)),
		"signed out": h.get(t, "/logout"),
	} {
		for header, want := range map[string]string{
			"Content-Security-Policy": "form-action 'self'", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := a.Header.Get(header); !strings.Contains(got, want) {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
		if a.Header.Get("Content-Encoding") != "" { // HT-06
			t.Errorf("%s: compressed", name)
		}
	}
}

func TestUnreadableForms(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	h.user(t, "alice")
	good := url.Values{"username": {"alice"}, "password": {right}}.Encode()
	for _, c := range []struct {
		name, target, body, contentType string
		status                          int
	}{
		{"JSON", "/login", `{"username":"alice","password":"` + right + `"}`, "application/json", 415},
		{"text", "/login", good, "text/plain", 415},
		{"multipart", "/login", good, "multipart/form-data; boundary=x", 415},
		{"no type", "/login", good, "", 415},
		{"user name twice", "/login", good + "&username=bobby", form, 400},
		{"password twice", "/login", good + "&password=x", form, 400},
		{"bad escape", "/login", good + "&x=%zz", form, 400},
		{"in the query only", "/login?username=alice", "password=x", form, 400},
		{"with charset", "/login", good, form + "; charset=utf-8", 303},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := h.send(t, http.MethodPost, c.target, c.body, header("Content-Type", c.contentType))
			a.want(t, c.status)
			if c.status != 303 && len(a.Cookies()) > 0 {
				t.Errorf("cookies: %v", a.Cookies())
			}
		})
	}
}

const form = "application/x-www-form-urlencoded"

// Only a program that is no browser sends a fragment; it must not become ours.
func TestFragmentIsRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	for _, target := range []string{"/login?a#b", "/login?a#%zz", "/login?#"} {
		connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(h.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", target); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(connection), nil)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d", target, response.StatusCode)
		}
		_, _ = response.Body.Close(), connection.Close()
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	for _, target := range []string{"/login", "/logout"} {
		for method, status := range map[string]int{"HEAD": 200, "PUT": 405, "DELETE": 405, "PATCH": 405, "OPTIONS": 405} {
			a := h.send(t, method, target, "")
			a.want(t, status)
			if got := a.Header.Get("Allow"); status == 405 && got != "GET, HEAD, POST" {
				t.Errorf("%s %s: Allow %q", method, target, got)
			}
		}
	}
	// CS-19: an override is no method.
	h.user(t, "alice")
	h.get(t, "/login?_method=POST", header("X-HTTP-Method-Override", "POST")).want(t, http.StatusOK)
}

func TestOutageIsNobodysFault(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	h.user(t, "alice")
	set := h.signIn(t, "alice", right).Cookies()
	h.store.down.Store(true)
	for name, a := range map[string]answer{
		"sign in":               h.signIn(t, "alice", right),
		"sign in, signed in":    h.signIn(t, "alice", right, with(set...)),
		"sign in, wrong":        h.signIn(t, "alice", "wrong"),
		"plain form, signed in": h.get(t, "/login", with(set...)),
		"sign-out page":         h.get(t, "/logout", with(set...)),
		"sign out":              h.send(t, http.MethodPost, "/logout", "", with(set...)),
	} {
		t.Run(name, func(t *testing.T) {
			a.want(t, http.StatusServiceUnavailable)
			if a.Header.Get("Retry-After") == "" || len(a.Cookies()) > 0 {
				t.Errorf("Retry-After %q, cookies %v", a.Header.Get("Retry-After"), a.Cookies())
			}
		})
	}
	h.get(t, "/login?"+query).want(t, http.StatusOK) // needs no database
	h.store.down.Store(false)
	h.get(t, "/login", with(set...)).want(t, http.StatusSeeOther)
}
