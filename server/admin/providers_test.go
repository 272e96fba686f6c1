package admin_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"grantd/api"
)

const (
	providersPath = "/admin/v1/providers"
	provider      = `{"name":"Okta","issuer":"https://example.okta.com","preset":"okta","client_id":"0oa1","client_secret":"the-first","managed_by":"ours"}`
)

// A secret that is the same already is no change; since when there is another is told,
// and the secret never.
func TestProviderSecret(t *testing.T) {
	s := newServer(t)
	made := create[api.Provider](s, providersPath, provider)
	path := providersPath + "/" + made.ID
	if !made.HasClientSecret || made.ClientSecretSetAt == nil || made.ManagedBy != "ours" {
		t.Errorf("made %+v", made)
	}
	bare := create[api.Provider](s, providersPath, `{"name":"Bare","issuer":"https://id.example","client_id":"c"}`)
	if bare.HasClientSecret || bare.ClientSecretSetAt != nil || bare.ManagedBy != "" {
		t.Errorf("without a secret: %+v", bare)
	}
	for _, test := range []struct {
		body          string
		changed, has  bool
		since, events int
	}{
		{`{"client_secret":"the-first"}`, false, true, 0, 1},
		{`{"client_secret":"the-first","managed_by":null}`, true, true, 0, 2},
		{`{"client_secret":"the-second"}`, true, true, 3, 3},
		{`{"client_secret":null}`, true, false, 0, 4},
		{`{"client_secret":null}`, false, false, 0, 4},
		{`{"client_secret":"the-first"}`, true, true, 6, 5},
	} {
		s.later(time.Hour)
		dry := into[api.Provider](s.send(http.MethodPatch, path+"?dry_run=true", test.body).want(http.StatusOK))
		before := s.send(http.MethodGet, path, "").want(http.StatusOK).header.Get("ETag")
		a := s.send(http.MethodPatch, path, test.body).want(http.StatusOK)
		now := into[api.Provider](a)
		var since time.Time
		if now.ClientSecretSetAt != nil {
			since = *now.ClientSecretSetAt
		}
		want := time.Time{}
		if test.has {
			want = made.ClientSecretSetAt.Add(time.Duration(test.since) * time.Hour)
		}
		if (a.header.Get("ETag") != before) != test.changed || now.HasClientSecret != test.has || !since.Equal(want) || (dry.ClientSecretSetAt == nil) != (now.ClientSecretSetAt == nil) {
			t.Errorf("%s: %+v since %v, want %v; dry run %+v", test.body, now, since, want, dry)
		}
		events := string(s.send(http.MethodGet, "/admin/v1/audit-events?limit=200&target="+made.ID, "").want(http.StatusOK).body)
		if n := strings.Count(events, `"action":"provider.`); n != test.events || strings.Contains(events, "the-first") || strings.Contains(events, "the-second") {
			t.Errorf("%s: %d events, want %d: %s", test.body, n, test.events, events)
		}
	}
	s.send(http.MethodPost, providersPath+"?dry_run=true", provider).wantProblem(http.StatusConflict, "already-exists")
	s.send(http.MethodPatch, path+"?dry_run=true", `{"name":"Bare"}`).wantProblem(http.StatusConflict, "already-exists")
	s.send(http.MethodPatch, path+"?dry_run=true", `{"name":"Okta","label":"x"}`).want(http.StatusOK)
}

// A test asks another server, so a key that only reads may not have it done.
func TestProviderTestTakesAKeyThatWrites(t *testing.T) {
	s := newServer(t)
	path := providersPath + "/" + create[api.Provider](s, providersPath, provider).ID + "/test"
	reader := create[api.NewAdminKey](s, "/admin/v1/admin-keys", `{"name":"reader","scope":"read"}`)
	s.as(reader.Key, http.MethodPost, path, `{}`).wantProblem(http.StatusForbidden, "read-only")
	if report := into[api.ProviderReport](s.send(http.MethodPost, path, `{}`).want(http.StatusOK)); !report.Ok || report.Person == nil {
		t.Errorf("report = %+v", report)
	}
}
