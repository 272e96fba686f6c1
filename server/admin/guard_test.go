package admin_test

import (
	"net/http"
	"strings"
	"testing"

	"grantd/api"
	"grantd/storage/storagetest"
)

// AD-01: nothing but an admin key in the Authorization header is a credential.
func TestCredentials(t *testing.T) {
	s := newServer(t)
	tests := map[string]struct {
		header http.Header
		query  string
		ok     bool
	}{
		"a key":                   {header: http.Header{"Authorization": {"Bearer " + key}}, ok: true},
		"another key":             {header: http.Header{"Authorization": {"Bearer " + otherKey}}, ok: true},
		"scheme in another case":  {header: http.Header{"Authorization": {"bearer " + key}}, ok: true},
		"none":                    {},
		"empty":                   {header: http.Header{"Authorization": {"Bearer "}}},
		"no scheme":               {header: http.Header{"Authorization": {key}}},
		"another scheme":          {header: http.Header{"Authorization": {"Basic " + key}}},
		"a wrong key":             {header: http.Header{"Authorization": {"Bearer " + key + "x"}}},
		"the beginning of a key":  {header: http.Header{"Authorization": {"Bearer " + key[:32]}}},
		"a configured short key":  {header: http.Header{"Authorization": {"Bearer short"}}},
		"two headers":             {header: http.Header{"Authorization": {"Bearer " + key, "Bearer " + key}}},
		"two keys in one":         {header: http.Header{"Authorization": {"Bearer " + key + ", Bearer " + key}}},
		"in the query":            {query: "?access_token=" + key},
		"in a cookie":             {header: http.Header{"Cookie": {"access_token=" + key + "; Authorization=Bearer " + key}}},
		"in a header of its own":  {header: http.Header{"X-Api-Key": {key}}},
		"in the query and a lie":  {header: http.Header{"Authorization": {"Bearer x"}}, query: "?key=" + key},
		"as a user of Basic":      {header: http.Header{"Authorization": {"Basic YWRtaW46Zmlyc3Q="}}},
		"a proxy's authorization": {header: http.Header{"Proxy-Authorization": {"Bearer " + key}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := s.request(http.MethodGet, "/admin/v1/clients"+test.query, "")
			r.Header = test.header.Clone()
			if r.Header == nil {
				r.Header = http.Header{}
			}
			a := s.do(r)
			if test.ok {
				a.want(http.StatusOK)
				return
			}
			a.wantProblem(http.StatusUnauthorized, "unauthorized")
			if got := a.header.Values("WWW-Authenticate"); len(got) != 1 || got[0] != "Bearer" {
				t.Errorf("WWW-Authenticate = %q", got)
			}
		})
	}
}

// Without a key nobody learns which paths exist, and nothing is written.
func TestNoKeyNothing(t *testing.T) {
	s := newServer(t)
	for _, path := range []string{"/admin/v1/clients", "/admin/v1/nothing", "/admin", "/"} {
		r := s.request(http.MethodPost, path, `{"client_name":"X","grant_types":["client_credentials"]}`)
		r.Header.Del("Authorization")
		s.do(r).wantProblem(http.StatusUnauthorized, "unauthorized")
	}
	if items := into[api.ClientList](s.send(http.MethodGet, "/admin/v1/clients", "")).Items; len(items) != 0 {
		t.Errorf("clients = %+v", items)
	}
}

// AD-03: a page that has its own name point to this machine gets nothing.
func TestHosts(t *testing.T) {
	s := newServer(t)
	for host, status := range map[string]int{
		"127.0.0.1:8081":         http.StatusOK,
		"localhost:8081":         http.StatusOK,
		"evil.example:8081":      http.StatusMisdirectedRequest,
		"127.0.0.1.evil.example": http.StatusMisdirectedRequest,
		"":                       http.StatusMisdirectedRequest,
	} {
		r := s.request(http.MethodGet, "/admin/v1/clients", "")
		r.Host = host
		s.do(r).want(status)
	}
}

// AD-04: the API is not for browsers on other pages.
func TestBrowsers(t *testing.T) {
	s := newServer(t)
	tests := map[string]struct {
		header http.Header
		ok     bool
	}{
		"a program":              {ok: true},
		"its own origin":         {header: http.Header{"Origin": {"http://" + host}, "Sec-Fetch-Site": {"same-origin"}}, ok: true},
		"typed by the person":    {header: http.Header{"Sec-Fetch-Site": {"none"}}, ok: true},
		"a foreign origin":       {header: http.Header{"Origin": {"https://evil.example"}}},
		"another port":           {header: http.Header{"Origin": {"http://127.0.0.1:3000"}}},
		"an origin like ours":    {header: http.Header{"Origin": {"http://" + host + ".evil.example"}}},
		"a null origin":          {header: http.Header{"Origin": {"null"}}},
		"two origins":            {header: http.Header{"Origin": {"http://" + host, "https://evil.example"}}},
		"another site":           {header: http.Header{"Sec-Fetch-Site": {"cross-site"}}},
		"a sibling site":         {header: http.Header{"Sec-Fetch-Site": {"same-site"}}},
		"another site that lies": {header: http.Header{"Origin": {"http://" + host}, "Sec-Fetch-Site": {"cross-site"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := s.request(http.MethodGet, "/admin/v1/clients", "")
			for name, values := range test.header {
				r.Header[name] = values
			}
			a := s.do(r)
			if test.ok {
				a.want(http.StatusOK)
			} else {
				a.wantProblem(http.StatusForbidden, "cross-origin")
			}
		})
	}
}

// A preflight is no special request: it has no key.
func TestPreflight(t *testing.T) {
	s := newServer(t)
	r := s.request(http.MethodOptions, "/admin/v1/clients", "")
	r.Header.Set("Access-Control-Request-Method", "POST")
	r.Header.Set("Access-Control-Request-Headers", "authorization")
	s.do(r).wantProblem(http.StatusMethodNotAllowed, "method-not-allowed")
	r.Header.Del("Authorization")
	r.Header.Set("Origin", "https://evil.example")
	s.do(r).wantProblem(http.StatusForbidden, "cross-origin")
}

// AD-05: an id is an id, whatever it is made of.
func TestStrangePaths(t *testing.T) {
	s := newServer(t)
	f := storagetest.NewFixture(t, s.store)
	for _, path := range []string{
		"/admin/v1/clients/",
		"/admin/v1/clients/..",
		"/admin/v1/clients/../users",
		"/admin/v1/clients/%2e%2e/users",
		"/admin/v1//clients",
		"/admin/v1/clients/" + f.Client.ID + "%2Fsecrets",
		"/admin/v1/clients/" + f.Client.ID + "/",
		"/admin/v1/clients/" + f.Client.ID + "%00",
		"/admin/v1/clients/' OR '1'='1",
		"/admin/v1/clients/%27%20OR%20%271%27=%271",
		"/admin/v1/clients/" + strings.ToUpper(f.Client.ID),
		"/admin/v1/clients/" + f.User.ID,
		"/admin/v1/users/" + f.Client.ID,
		"/admin/v1/resources/" + strings.Repeat("x", 4000),
		"/admin/v1/nothing",
		"/admin/v2/clients",
		"/",
	} {
		r := s.request(http.MethodGet, "/", "")
		r.URL.Path, r.URL.RawPath = path, ""
		if strings.Contains(path, "%") {
			r.URL.RawPath = path
			r.URL.Path = strings.NewReplacer("%2F", "/", "%2e", ".", "%00", "\x00", "%27", "'", "%20", " ").Replace(path)
		}
		r.RequestURI = path
		a := s.do(r)
		if problem := a.wantProblem(http.StatusNotFound, "not-found"); strings.Contains(problem.Detail, "OR") {
			t.Errorf("%q: detail = %q", path, problem.Detail)
		}
	}
}

func TestMethods(t *testing.T) {
	s := newServer(t)
	f := storagetest.NewFixture(t, s.store)
	for path, allow := range map[string]string{
		"/admin/v1/clients":                               "GET, POST",
		"/admin/v1/clients/" + f.Client.ID:                "GET, PATCH, DELETE",
		"/admin/v1/clients/" + f.Client.ID + "/secrets":   "GET, POST",
		"/admin/v1/clients/" + f.Client.ID + "/secrets/x": "DELETE",
		"/admin/v1/grants":                                "GET",
		"/admin/v1/grants/" + f.Grant.ID:                  "DELETE",
		"/admin/v1/keys":                                  "GET",
		"/admin/v1/audit-events":                          "GET",
		"/admin/v1/audit-head":                            "GET",
		"/admin/v1/audit-verification":                    "GET",
		"/admin/v1/audit-access":                          "GET",
		"/admin/v1/users/" + f.User.ID + "/erase":         "POST",
	} {
		a := s.send(http.MethodPut, path, `{}`)
		a.wantProblem(http.StatusMethodNotAllowed, "method-not-allowed")
		if got := a.header.Get("Allow"); got != allow {
			t.Errorf("%s: Allow = %q, want %q", path, got, allow)
		}
	}
}
