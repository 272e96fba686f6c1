package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"grantd/server/servertest"
	"grantd/storage"
)

// managed is a confidential client that manages its own registration.
type managed struct {
	*office
	answer servertest.Object // of the registration
	client credentials
	token  string
}

const managedMetadata = `"client_name":"Managed","redirect_uris":["` + webCallback + `","https://app.example.com/second"],"scope":"notes:read"`

func newManaged(t testing.TB, o *office) *managed {
	t.Helper()
	got := o.registered(t, `{`+managedMetadata+`}`)
	return &managed{office: o, answer: got, client: credentialsOf(got), token: got.String("registration_access_token")}
}

// manage sends a request to the client's own place.
func (m *managed) manage(method, token, body string) *servertest.Answer {
	return m.Do(m.Request(method, "/register/"+m.client.id, body, http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}))
}

// put replaces the metadata by members, with the client's own id.
func (m *managed) put(members string) *servertest.Answer {
	return m.manage(http.MethodPut, m.token, `{"client_id":"`+m.client.id+`",`+members+`}`)
}

// tokensVia has alice approve the client at one of its redirects.
func (m *managed) tokensVia(t testing.TB, redirectURI string) issued {
	t.Helper()
	code := m.approved(t, servertest.AuthorizationRequest(m.client.id, redirectURI, resourceURI))
	return wantTokens(t, m.Post("/token", servertest.Form("grant_type", "authorization_code", "code", code, "code_verifier", servertest.Verifier), m.client.basic()))
}

func (m *managed) refresh(refresh string) *servertest.Answer {
	return m.Post("/token", servertest.Form("grant_type", "refresh_token", "refresh_token", refresh), m.client.basic())
}

// TestRG10WrongToken: nobody but who has the token manages a client, nor learns
// whether there is one.
func TestRG10WrongToken(t *testing.T) {
	o := newOffice(t, servertest.WithDynamicRegistration())
	m, other := newManaged(t, o), newManaged(t, o)
	public := o.registered(t, publicMetadata("Desk", 40000)).String("client_id")
	body := `{"client_id":"` + m.client.id + `","redirect_uris":["https://evil.example/cb"]}`
	var first string
	for name, c := range map[string]struct{ id, authorization string }{
		"no token":                {m.client.id, ""},
		"another client's":        {m.client.id, "Bearer " + other.token},
		"forged":                  {m.client.id, "Bearer " + forged(m.token)},
		"cut":                     {m.client.id, "Bearer " + m.token[:20]},
		"the client's secret":     {m.client.id, "Bearer " + m.client.secret},
		"Basic":                   {m.client.id, basicHeader(m.client.basic())},
		"the admin key":           {m.client.id, "Bearer " + servertest.AdminKey},
		"for a shared client":     {public, "Bearer " + m.token},
		"empty for a shared one":  {public, "Bearer rat_"},
		"for a registered client": {o.web.id, "Bearer " + m.token},
		"for nobody":              {storage.NewID(storage.PrefixClient), "Bearer " + m.token},
		"for garbage":             {"x", "Bearer " + m.token},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			t.Run("RG-10 "+name+" "+method, func(t *testing.T) {
				header := http.Header{"Content-Type": {"application/json"}}
				if c.authorization != "" {
					header.Set("Authorization", c.authorization)
				}
				answer := o.Do(o.Request(method, "/register/"+c.id, body, header))
				wantError(t, answer, http.StatusUnauthorized, "invalid_token")
				wantNoCORS(t, answer)
				if first == "" {
					first = answer.Body
				}
				if answer.Body != first || !strings.HasPrefix(answer.Header.Get("WWW-Authenticate"), "Bearer ") {
					t.Errorf("it tells: %s, %q", answer.Body, answer.Header.Get("WWW-Authenticate"))
				}
			})
		}
	}
	for _, c := range []*managed{m, other} {
		if got := c.manage(http.MethodGet, c.token, ""); got.Status != http.StatusOK || got.JSON["client_name"] != "Managed" {
			t.Errorf("%d %s", got.Status, got.Body)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPatch, http.MethodOptions, http.MethodHead} {
		answer := m.manage(method, m.token, "")
		if answer.Status != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != "DELETE, GET, PUT" {
			t.Errorf("%s: %d, Allow %q", method, answer.Status, answer.Header.Get("Allow"))
		}
		wantNoCORS(t, answer)
	}
}

// TestRFC7592Read: a read tells what registering told, except the secret.
func TestRFC7592Read(t *testing.T) {
	m := newManaged(t, newOffice(t, servertest.WithDynamicRegistration()))
	got := m.manage(http.MethodGet, m.token, "")
	wantJSON(t, got)
	if _, has := got.JSON["client_secret"]; has || got.Status != http.StatusOK {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	for name, value := range m.answer {
		if name != "client_secret" && name != "client_secret_expires_at" && fmt.Sprint(got.JSON[name]) != fmt.Sprint(value) {
			t.Errorf("%s is %v, want %v", name, got.JSON[name], value)
		}
	}
	// Switched off, it is as good as gone.
	m.Must(http.MethodPatch, "/clients/"+m.find(t, "/clients", "client_id", m.client.id), servertest.Object{"disabled": true})
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		wantError(t, m.manage(method, m.token, ""), http.StatusUnauthorized, "invalid_token")
	}
	wantError(t, m.put(managedMetadata), http.StatusUnauthorized, "invalid_token")
}

// TestRG10Replace: a change is by the rules of registering, and voids what people
// approved for a redirect that is given up.
func TestRG10Replace(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		m := newManaged(t, newOffice(t, servertest.WithStore(open(t)), servertest.WithDynamicRegistration()))
		for name, members := range map[string]string{
			"redirect":      `"redirect_uris":["javascript:alert(1)"]`,
			"no redirect":   `"client_name":"x"`,
			"grant type":    `"redirect_uris":["` + webCallback + `"],"grant_types":["client_credentials"]`,
			"public":        `"redirect_uris":["` + webCallback + `"],"token_endpoint_auth_method":"none"`,
			"chosen secret": `"redirect_uris":["` + webCallback + `"],"client_secret":"mine"`,
			"internal":      `"redirect_uris":["` + webCallback + `"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://127.0.0.1/jwks"`,
			"twice":         `"redirect_uris":["` + webCallback + `"],"client_id":"x"`,
		} {
			if answer := m.put(members); answer.Status != http.StatusBadRequest {
				t.Errorf("%s: %d %s", name, answer.Status, answer.Body)
			}
		}
		for _, id := range []string{``, `"client_id":"cl_other",`} {
			wantError(t, m.manage(http.MethodPut, m.token, `{`+id+managedMetadata+`}`), http.StatusBadRequest, "invalid_client_metadata")
		}
		if m.audited(t, "client.updated") != 0 {
			t.Error("a refused change was made")
		}

		kept := m.tokensVia(t, webCallback)
		answer := m.put(`"client_name":"Renamed","client_secret":"` + m.client.secret + `","redirect_uris":["` + webCallback + `","https://app.example.com/third"],
			"grant_types":["authorization_code","refresh_token","client_credentials"],"contacts":null`)
		wantJSON(t, answer)
		if got := answer.JSON; answer.Status != http.StatusOK || got["client_name"] != "Renamed" || got["scope"] != nil ||
			fmt.Sprint(got["grant_types"]) != "[authorization_code refresh_token]" || got["registration_access_token"] != m.token ||
			got["client_id_issued_at"] != m.answer["client_id_issued_at"] {
			t.Errorf("%d %s", answer.Status, answer.Body)
		}
		wantTokens(t, m.refresh(kept.refresh))
		wantRefusalPage(t, m.alice.Authorize(servertest.AuthorizationRequest(m.client.id, "https://app.example.com/second", resourceURI)))

		third := m.tokensVia(t, "https://app.example.com/third") // now the approval is of this one
		code := m.approved(t, servertest.AuthorizationRequest(m.client.id, "https://app.example.com/third", resourceURI))
		if answer := m.put(managedMetadata); answer.Status != http.StatusOK {
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
		wantError(t, m.refresh(third.refresh), http.StatusBadRequest, "invalid_grant")
		wantError(t, m.Post("/token", servertest.Form("grant_type", "authorization_code", "code", code, "code_verifier", servertest.Verifier), m.client.basic()),
			http.StatusBadRequest, "invalid_grant")
		if n := m.audited(t, "client.updated"); n != 2 {
			t.Errorf("%d changes in the audit, want 2", n)
		}
		m.tokensVia(t, webCallback) // it goes on

		// Changes make every replica forget: they are limited.
		limited := false
		for range 25 {
			limited = limited || m.put(managedMetadata).Status == http.StatusTooManyRequests
		}
		if !limited {
			t.Error("changes have no limit")
		}
	})
}

// TestRG10Delete: a client that deletes itself leaves nothing.
func TestRG10Delete(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		m := newManaged(t, newOffice(t, servertest.WithStore(open(t)), servertest.WithDynamicRegistration()))
		got := m.tokensVia(t, webCallback)
		m.approved(t, servertest.AuthorizationRequest(m.client.id, webCallback, resourceURI))
		answers := make([]*servertest.Answer, 8)
		race(len(answers), func(i int) { answers[i] = m.manage(http.MethodDelete, m.token, "") })
		gone := 0
		for _, answer := range answers {
			switch answer.Status {
			case http.StatusNoContent:
				gone++
			default:
				wantError(t, answer, http.StatusUnauthorized, "invalid_token")
			}
		}
		if gone != 1 || m.audited(t, "client.deleted") != 1 {
			t.Errorf("deleted %d times", gone)
		}
		wantError(t, m.refresh(got.refresh), http.StatusUnauthorized, "invalid_client")
		if m.active(t, got.access) || len(m.list(t, "/grants")) != 0 {
			t.Error("something is left")
		}
		wantRefusalPage(t, m.alice.Authorize(servertest.AuthorizationRequest(m.client.id, webCallback, resourceURI)))
		wantError(t, m.manage(http.MethodGet, m.token, ""), http.StatusUnauthorized, "invalid_token")
	})
}
