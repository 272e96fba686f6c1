package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// TestClientCredentials: the rows CC of the catalogue of attacks.
func TestClientCredentials(t *testing.T) {
	o := newOffice(t, servertest.WithDynamicRegistration())
	form := servertest.Form("grant_type", "client_credentials")
	machine := func(fields servertest.Object) credentials {
		all := servertest.Object{"grant_types": []string{"client_credentials"}}
		for name, value := range fields {
			all[name] = value
		}
		return credentialsOf(o.Must(http.MethodPost, "/clients", all))
	}

	t.Run("CC-01 public client", func(t *testing.T) {
		wantError(t, o.Post("/token", changed(form, "client_id", o.clientID), ""), http.StatusBadRequest, "unauthorized_client")
		status, _ := o.Call(http.MethodPost, "/clients", servertest.Object{"token_endpoint_auth_method": "none", "grant_types": []string{"client_credentials"}})
		if status < 400 || status > 499 {
			t.Errorf("an administrator can register a public client for it: %d", status)
		}
	})

	t.Run("CC-01 client that has become public", func(t *testing.T) {
		client := machine(nil)
		status, _ := o.Call(http.MethodPatch, "/clients/"+client.id, servertest.Object{"token_endpoint_auth_method": "none"})
		if status < 400 || status > 499 {
			t.Errorf("it can be made public: %d", status)
		}
	})

	t.Run("CC-02 client that registered itself", func(t *testing.T) {
		answer := o.Do(o.Request(http.MethodPost, "/register", `{"redirect_uris":["https://app.example.net/cb"],"client_name":"Mine",
			"grant_types":["authorization_code","client_credentials"],"token_endpoint_auth_method":"client_secret_basic"}`,
			http.Header{"Content-Type": {"application/json"}}))
		if answer.Status != http.StatusCreated || strings.Contains(answer.Body, "client_credentials") {
			t.Errorf("registration: %d %s", answer.Status, answer.Body)
		}
		answer = o.Post("/token", changed(form, "client_id", ""), credentialsOf(answer.JSON).basic())
		wantError(t, answer, http.StatusBadRequest, "unauthorized_client")
	})

	t.Run("CC-02 even if its row says so", func(t *testing.T) {
		client := &storage.Client{
			ID: storage.NewID(storage.PrefixClient), Source: storage.SourceDynamic, RedirectURIs: []string{webCallback},
			GrantTypes: []string{"client_credentials"}, TokenEndpointAuthMethod: storage.AuthMethodNone, CreatedAt: o.Clock.Now(), UpdatedAt: o.Clock.Now(),
		}
		client.ClientID = client.ID
		event := storage.NewAuditEvent(o.Clock.Now(), "system", "client.created", client.ID)
		if err := o.Store.CreateClient(t.Context(), client, event); err != nil {
			t.Fatal(err)
		}
		wantError(t, o.Post("/token", changed(form, "client_id", client.ID), ""), http.StatusBadRequest, "unauthorized_client")
	})

	t.Run("CC-03 scope beyond the ceiling", func(t *testing.T) {
		client := machine(servertest.Object{"scope": "notes:read"})
		wantError(t, o.Post("/token", changed(form, "scope", "notes:write"), client.basic()), http.StatusBadRequest, "invalid_scope")
		for _, scope := range []string{"", "notes:read notes:write", "notes:read"} {
			if got := wantTokens(t, o.Post("/token", changed(form, "scope", scope), client.basic())); got.scope != "notes:read" {
				t.Errorf("asking for %q gave %q", scope, got.scope)
			}
		}
	})

	t.Run("CC-03 scope that nobody knows, or that is none", func(t *testing.T) {
		for _, scope := range []string{"unknown", `notes:"read`, "notes:read\tnotes:write", "notés", "Notes:Read", strings.Repeat("a ", 100), strings.Repeat("a", 4096)} {
			wantError(t, o.Post("/token", changed(form, "scope", scope), o.machine.basic()), http.StatusBadRequest, "invalid_scope")
		}
	})

	t.Run("CC-03 resource that is unknown or malformed", func(t *testing.T) {
		for _, uri := range []string{
			"https://unknown.example.com/", "mcp", resourceURI + "/../mcp", resourceURI + "/x", resourceURI + "#x", resourceURI + "?x", "https://mcp.example.com/%6dcp",
			"http://mcp.example.com/mcp", "https://user@mcp.example.com/mcp", "https://mcp.example.com:443/mcp", resourceURI + "//", "https://mcp.example.com/MCP",
		} {
			wantError(t, o.Post("/token", changed(form, "resource", uri), o.machine.basic()), http.StatusBadRequest, "invalid_target")
		}
	})

	t.Run("CC-03 two resources", func(t *testing.T) {
		two := changed(form)
		two["resource"] = []string{resourceURI, "https://unknown.example.com/"}
		wantError(t, o.Post("/token", two, o.machine.basic()), http.StatusBadRequest, "invalid_target")
	})

	t.Run("CC-03 resource that is closed to the client", func(t *testing.T) {
		const mine = "https://mine.example.com/mcp"
		client := machine(servertest.Object{"resources": []string{mine}})
		wantError(t, o.Post("/token", changed(form, "resource", resourceURI), client.basic()), http.StatusBadRequest, "invalid_target")
		wantError(t, o.Post("/token", form, client.basic()), http.StatusBadRequest, "invalid_target")
		o.Resource(mine, nil, "mine:read")
		// The only one that it may reach needs no naming.
		got := wantTokens(t, o.Post("/token", form, client.basic()))
		if claims := servertest.Claims(got.access); claims["aud"] != mine {
			t.Errorf("aud is %v", claims["aud"])
		}
		// Whoever may reach several must say which.
		wantError(t, o.Post("/token", form, o.machine.basic()), http.StatusBadRequest, "invalid_target")
	})

	t.Run("CC-04 no refresh token", func(t *testing.T) {
		client := credentialsOf(o.Must(http.MethodPost, "/clients", servertest.Object{
			"grant_types": []string{"client_credentials", "authorization_code", "refresh_token"}, "redirect_uris": []string{webCallback},
		}))
		got := wantTokens(t, o.Post("/token", changed(form, "resource", resourceURI, "scope", "notes:read offline_access"), client.basic()))
		if got.refresh != "" {
			t.Error("there is one")
		}
	})

	t.Run("CC-05 a machine is never taken for a person", func(t *testing.T) {
		got := wantTokens(t, o.Post("/token", changed(form, "resource", resourceURI), o.machine.basic()))
		claims := servertest.Claims(got.access)
		if claims["sub"] != o.machine.id || claims["client_id"] != o.machine.id || !strings.HasPrefix(claims.String("sub"), "cl_") {
			t.Errorf("the claims are %v", claims)
		}
		if _, has := claims["family"]; has {
			t.Errorf("it has a family: %v", claims)
		}
		if !o.active(t, got.access) {
			t.Error("it is not active")
		}
	})

	t.Run("CC-05 nothing is written", func(t *testing.T) {
		path := t.TempDir() + "/grantd.db"
		o := newOffice(t, servertest.WithStore(servertest.SQLiteFile(t, path)))
		before := rowsInSQLite(t, path)
		for range 20 {
			wantTokens(t, o.Post("/token", form, o.machine.basic()))
		}
		for table, n := range rowsInSQLite(t, path) {
			if n != before[table] {
				t.Errorf("%s has %d rows, before %d", table, n, before[table])
			}
		}
	})

	t.Run("the token ends when its lifetime does", func(t *testing.T) {
		id := o.find(t, "/resources", "uri", resourceURI)
		o.Must(http.MethodPatch, "/resources/"+id, servertest.Object{"access_token_lifetime": 120})
		answer := o.Post("/token", changed(form, "resource", resourceURI), o.machine.basic())
		if answer.JSON["expires_in"] != float64(120) {
			t.Fatalf("expires_in: %s", answer.Body)
		}
		o.Clock.Advance(119 * time.Second)
		if !o.active(t, answer.JSON.String("access_token")) {
			t.Error("it is not active after 119 s")
		}
		o.Clock.Advance(time.Second)
		if o.active(t, answer.JSON.String("access_token")) {
			t.Error("it is active after 120 s")
		}
	})
}
