package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// publicMetadata is what a native MCP client registers, with a port of its own.
func publicMetadata(name string, port int) string {
	return fmt.Sprintf(`{"client_name":%q,"redirect_uris":["http://127.0.0.1:%d/callback","http://localhost:%d/callback"],
		"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none"}`, name, port, port)
}

// registerWith is register with an Authorization header.
func (h *house) registerWith(authorization, metadata string) *servertest.Answer {
	return h.Do(h.Request(http.MethodPost, "/register", metadata, http.Header{"Content-Type": {"application/json"}, "Authorization": {authorization}}))
}

// dynamicClients counts the rows of clients that registered themselves.
func (h *house) dynamicClients(t testing.TB) int {
	t.Helper()
	n := 0
	for _, client := range h.list(t, "/clients") {
		if client["source"] == "dynamic" {
			n++
		}
	}
	return n
}

// TestRegistrationRefused: what is refused is not stored, and does not count.
func TestRegistrationRefused(t *testing.T) {
	f := newFront(t)
	const ok = `"redirect_uris":["https://app.example/cb"]`
	many := func(n int) string {
		uris := make([]string, n)
		for i := range uris {
			uris[i] = strconv.Quote("https://app.example/" + strconv.Itoa(i))
		}
		return `{"redirect_uris":[` + strings.Join(uris, ",") + `]}`
	}
	redirect := func(uri string) string { return `{"redirect_uris":["https://app.example/good","` + uri + `"]}` }
	key, jwk := newSigner(t, "k"), ""
	raw, err := json.Marshal(key.jwks(t))
	if err != nil {
		t.Fatal(err)
	}
	jwk = string(raw)
	private := `{"keys":[{"kty":"EC","crv":"P-256","x":"x","y":"y","d":"canary-private"}]}`
	for name, c := range map[string]struct{ body, code string }{
		"RG-01 http":                {redirect("http://app.example/cb"), "invalid_redirect_uri"},
		"RG-01 fragment":            {redirect("https://app.example/cb#x"), "invalid_redirect_uri"},
		"RG-01 wildcard":            {redirect("https://*.app.example/cb"), "invalid_redirect_uri"},
		"RG-01 relative":            {redirect("/cb"), "invalid_redirect_uri"},
		"RG-01 dangerous scheme":    {redirect("javascript:alert(1)"), "invalid_redirect_uri"},
		"RG-01 userinfo":            {redirect("https://app.example@evil.example/cb"), "invalid_redirect_uri"},
		"RG-01 response parameter":  {redirect("https://app.example/cb?code=x"), "invalid_redirect_uri"},
		"RG-01 too long":            {redirect("https://app.example/" + strings.Repeat("x", 2<<10)), "invalid_redirect_uri"},
		"RG-01 eleven":              {many(11), "invalid_redirect_uri"},
		"RG-01 none":                {`{"redirect_uris":[]}`, "invalid_redirect_uri"},
		"RG-01 absent":              {`{}`, "invalid_redirect_uri"},
		"RG-04 client_credentials":  {`{` + ok + `,"grant_types":["client_credentials"]}`, "invalid_client_metadata"},
		"RG-04 implicit":            {`{` + ok + `,"grant_types":["implicit"],"response_types":["token"]}`, "invalid_client_metadata"},
		"RG-04 only refresh":        {`{` + ok + `,"grant_types":["refresh_token"]}`, "invalid_client_metadata"},
		"RG-05 private key":         {`{` + ok + `,"token_endpoint_auth_method":"private_key_jwt","jwks":` + private + `}`, "invalid_client_metadata"},
		"RG-05 private, not needed": {`{` + ok + `,"jwks":` + private + `}`, "invalid_client_metadata"},
		"RG-05 symmetric key":       {`{` + ok + `,"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[{"kty":"oct","k":"AAAA"}]}}`, "invalid_client_metadata"},
		"RG-05 jwks and jwks_uri":   {`{` + ok + `,"jwks_uri":"https://app.example/jwks","token_endpoint_auth_method":"private_key_jwt","jwks":` + jwk + `}`, "invalid_client_metadata"},
		"RG-05 no keys":             {`{` + ok + `,"token_endpoint_auth_method":"private_key_jwt"}`, "invalid_client_metadata"},
		"RG-05 unknown algorithm":   {`{` + ok + `,"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_signing_alg":"none","jwks":` + jwk + `}`, "invalid_client_metadata"},
		"RG-05 jwks of 20 kB":       {`{` + ok + `,"jwks":{"keys":[],"x":"` + strings.Repeat("x", 20<<10) + `"}}`, "invalid_client_metadata"},
		"RG-06 internal jwks_uri":   {`{` + ok + `,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://169.254.169.254/jwks"}`, "invalid_client_metadata"},
		"RG-06 loopback jwks_uri":   {`{` + ok + `,"jwks_uri":"https://localhost:8443/jwks"}`, "invalid_client_metadata"},
		"RG-06 http jwks_uri":       {`{` + ok + `,"jwks_uri":"http://app.example/jwks"}`, "invalid_client_metadata"},
		"RG-06 internal logo_uri":   {`{` + ok + `,"logo_uri":"https://10.0.0.1/logo.png"}`, "invalid_client_metadata"},
		"RG-11 depth":               {`{` + ok + `,"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, "invalid_client_metadata"},
		"RG-11 depth of objects":    {`{` + ok + `,"x":` + strings.Repeat(`{"a":`, 5_000) + "1" + strings.Repeat("}", 5_000) + `}`, "invalid_client_metadata"},
		"RG-11 duplicate":           {`{` + ok + `,` + ok + `}`, "invalid_client_metadata"},
		"RG-11 duplicate within":    {`{` + ok + `,"x":{"a":1,"a":2}}`, "invalid_client_metadata"},
		"RG-11 BOM":                 {"\ufeff{" + ok + `}`, "invalid_client_metadata"},
		"RG-11 UTF-16":              {strings.ReplaceAll("\xff\xfe{"+ok+`}`, `"`, "\"\x00"), "invalid_client_metadata"},
		"RG-11 lone surrogate":      {`{` + ok + `,"client_name":"a\ud800b"}`, "invalid_client_metadata"},
		"RG-11 low surrogate first": {`{` + ok + `,"x":["\udc00\ud800"]}`, "invalid_client_metadata"},
		"RG-11 surrogate at end":    {`{` + ok + `,"x\ud83d":1}`, "invalid_client_metadata"},
		"RG-11 1e400":               {`{` + ok + `,"x":1e400}`, "invalid_client_metadata"},
		"RG-11 two documents":       {`{` + ok + `}{}`, "invalid_client_metadata"},
		"RG-11 no object":           {`[{` + ok + `}]`, "invalid_client_metadata"},
		"RG-11 nothing":             {``, "invalid_client_metadata"},
		"RG-12 web on loopback":     {`{"application_type":"web","redirect_uris":["http://127.0.0.1/cb"]}`, "invalid_redirect_uri"},
		"unknown method":            {`{` + ok + `,"token_endpoint_auth_method":"client_secret_jwt"}`, "invalid_client_metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			logged := captureLogs(t)
			f.quiet(t, func() { wantError(t, f.register(c.body), http.StatusBadRequest, c.code) })
			if strings.Contains(logged.String(), "canary") {
				t.Error("what was refused is in the log")
			}
		})
	}
	t.Run("RG-11 1 MiB", func(t *testing.T) {
		f.quiet(t, func() {
			wantError(t, f.register(`{`+ok+`,"x":"`+strings.Repeat("x", 1<<20)+`"}`), http.StatusRequestEntityTooLarge, "invalid_request")
		})
	})
	// A pair of surrogates is a character like any other, and so is a backslash.
	for _, name := range []string{`\ud83d\ude00`, `\\ud800`, `\\\ud83d\ude00`, `\u00e9`} {
		if answer := f.register(`{` + ok + `,"client_name":"x` + name + `"}`); answer.Status != http.StatusCreated {
			t.Errorf("RG-11 %s: %d %s", name, answer.Status, answer.Body)
		}
	}
}

// TestRegistrationNarrowed: RG-02, RG-03, RG-04, RG-07. What a client may not have it
// does not get, and is told so.
func TestRegistrationNarrowed(t *testing.T) {
	f := newFront(t)
	got := f.registered(t, `{"redirect_uris":["https://app.example/cb"],"client_id":"https://app.example/client","client_secret":"mine",
		"registration_access_token":"mine","registration_client_uri":"https://app.example/","client_id_issued_at":1,"client_secret_expires_at":1,
		"grant_types":["authorization_code","refresh_token","client_credentials","password","implicit",
			"urn:ietf:params:oauth:grant-type:jwt-bearer","urn:ietf:params:oauth:grant-type:token-exchange"],
		"response_types":["code","token","code id_token"],"scope":"notes:read admin:* offline_access notes:read","software_statement":"e30.e30.",
		"sector_identifier_uri":"https://127.0.0.1/","request_uris":["https://127.0.0.1/"],"source":"registered","resources":["x"],"disabled":true}`)
	id := got.String("client_id")
	if !strings.HasPrefix(id, "cl_") || !strings.HasPrefix(got.String("client_secret"), "cs_") ||
		!strings.HasPrefix(got.String("registration_access_token"), "rat_") || got.String("registration_client_uri") != f.URL+"/register/"+id {
		t.Errorf("RG-02, RG-03: %v", got)
	}
	for member, want := range map[string]string{
		"grant_types": "[authorization_code refresh_token]", "response_types": "[code]", "scope": "notes:read", "client_secret_expires_at": "0",
	} {
		if fmt.Sprint(got[member]) != want {
			t.Errorf("RG-04: %s is %v, want %s", member, got[member], want)
		}
	}
	for _, member := range []string{"software_statement", "sector_identifier_uri", "request_uris", "source", "disabled", "resources"} {
		if _, has := got[member]; has {
			t.Errorf("RG-07: %s is echoed", member)
		}
	}
	row := f.Must(http.MethodGet, "/clients/"+f.find(t, "/clients", "client_id", id), nil)
	if row["source"] != "dynamic" || row["disabled"] != false || fmt.Sprint(row["resources"]) != "[]" {
		t.Errorf("the row is %v", row)
	}
}

// TestRegistrationMethods: RG-12. Each method makes a client that can redeem a code
// by it, and by nothing less; without one the client is confidential.
func TestRegistrationMethods(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)), servertest.WithDynamicRegistration())
		key := newSigner(t, "")
		jwks, err := json.Marshal(key.jwks(t))
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct{ asked, method string }{
			"omitted":             {``, "client_secret_basic"},
			"client_secret_basic": {`"token_endpoint_auth_method":"client_secret_basic",`, "client_secret_basic"},
			"client_secret_post":  {`"token_endpoint_auth_method":"client_secret_post",`, "client_secret_post"},
			"private_key_jwt":     {`"token_endpoint_auth_method":"private_key_jwt","jwks":` + string(jwks) + `,`, "private_key_jwt"},
			"a choice":            {`"token_endpoint_auth_method":"tls_client_auth","token_endpoint_auth_methods_supported":["none"],`, "none"},
			"none":                {`"token_endpoint_auth_method":"none",`, "none"},
		} {
			t.Run("RG-12 "+name, func(t *testing.T) {
				answer := o.register(`{` + c.asked + `"client_name":"` + name + `","redirect_uris":["` + webCallback + `"]}`)
				wantJSON(t, answer)
				got, id := answer.JSON, answer.JSON.String("client_id")
				if answer.Status != http.StatusCreated || got["token_endpoint_auth_method"] != c.method {
					t.Fatalf("%d %s", answer.Status, answer.Body)
				}
				secret, expires := got.String("client_secret"), got["client_secret_expires_at"]
				if wantSecret := strings.HasPrefix(c.method, "client_secret"); (len(secret) == 46) != wantSecret || (expires == float64(0)) != wantSecret {
					t.Errorf("secret %q expires at %v", secret, expires)
				}
				if _, managed := got["registration_access_token"]; managed != (c.method != "none") {
					t.Errorf("managed by a token: %v", managed)
				}
				form := servertest.Form("grant_type", "authorization_code", "code_verifier", servertest.Verifier,
					"code", o.approved(t, servertest.AuthorizationRequest(id, webCallback, resourceURI)))
				basic := ""
				switch c.method {
				case "none":
					form.Set("client_id", id)
				case "client_secret_basic":
					basic = id + ":" + secret
				case "client_secret_post":
					form.Set("client_id", id)
					form.Set("client_secret", secret)
				case "private_key_jwt":
					form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
					form.Set("client_assertion", key.assertion(t, id, o.URL, o.Clock.Now()))
				}
				if c.method != "none" {
					wantError(t, o.Post("/token", servertest.Form("grant_type", "authorization_code", "client_id", id, "code", form.Get("code"), "code_verifier", servertest.Verifier), ""),
						http.StatusUnauthorized, "invalid_client")
				}
				wantTokens(t, o.Post("/token", form, basic))
			})
		}
		// Nothing usable is stored, and an admin cannot read it.
		for _, client := range o.list(t, "/clients") {
			for _, member := range []string{"client_secret", "registration_access_token"} {
				if _, has := client[member]; has {
					t.Errorf("%s is shown again", member)
				}
			}
		}
	})
}

// TestRegisteringAgain: a client that registers at every start has one row, whoever
// runs it, and nobody can tell anything by it.
func TestRegisteringAgain(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		h := newHouse(t, servertest.WithStore(open(t)), servertest.WithDynamicRegistration())
		first := h.registered(t, publicMetadata("Desk", 40000))
		if first["registration_access_token"] != nil || first["registration_client_uri"] != nil || first["client_secret"] != nil {
			t.Errorf("somebody can manage what others share: %v", first)
		}
		events := h.audited(t, "client.registered")
		for port := range 30 { // more than an address may register
			again := h.registered(t, publicMetadata("Desk", 50000+port))
			want := maps.Clone(first)
			want["redirect_uris"] = []any{fmt.Sprintf("http://127.0.0.1:%d/callback", 50000+port), fmt.Sprintf("http://localhost:%d/callback", 50000+port)}
			if fmt.Sprint(again) != fmt.Sprint(want) {
				t.Fatalf("again:\n%v, want\n%v", again, want)
			}
		}
		if n := h.dynamicClients(t); n != 1 || h.audited(t, "client.registered") != events {
			t.Errorf("%d rows, want 1; events went from %d to %d", n, events, h.audited(t, "client.registered"))
		}
		// Whoever listens on another port is still found.
		browser, id := h.SignedIn("alice"), first.String("client_id")
		code := browser.Code(servertest.AuthorizationRequest(id, "http://127.0.0.1:50007/callback", resourceURI))
		wantTokens(t, h.Redeem(id, code))
		// But nobody is sent to a port that somebody else registered.
		one := h.registered(t, `{"client_name":"One","redirect_uris":["http://127.0.0.1:40000/callback"],"token_endpoint_auth_method":"none"}`)
		wantRefusalPage(t, browser.Authorize(changed(servertest.AuthorizationRequest(one.String("client_id"), "x", resourceURI), "redirect_uri", "")))

		// Who says anything else is another client.
		for name, other := range map[string]string{
			"name":   publicMetadata("Desk 2", 40000),
			"path":   strings.ReplaceAll(publicMetadata("Desk", 40000), "/callback", "/other"),
			"host":   strings.ReplaceAll(publicMetadata("Desk", 40000), "http://localhost:40000", "https://desk.example"),
			"grants": strings.ReplaceAll(publicMetadata("Desk", 40000), `,"refresh_token"`, ""),
			"scope":  strings.Replace(publicMetadata("Desk", 40000), "{", `{"scope":"notes:read",`, 1),
			"links":  strings.Replace(publicMetadata("Desk", 40000), "{", `{"client_uri":"https://desk.example/",`, 1),
		} {
			if h.registered(t, other)["client_id"] == first["client_id"] {
				t.Errorf("another %s: the same client", name)
			}
		}
		// A confidential one is nobody else's.
		secret := strings.Replace(publicMetadata("Desk", 40000), `"none"`, `"client_secret_basic"`, 1)
		if a, b := h.registered(t, secret), h.registered(t, secret); a["client_id"] == b["client_id"] || a["client_id"] == first["client_id"] {
			t.Error("two confidential clients share a row")
		}
	})
}

// TestRegisteringABlockedClient: what an admin has switched off stays off, and the
// person is told by a page.
func TestRegisteringABlockedClient(t *testing.T) {
	f := newFront(t)
	id := f.registered(t, publicMetadata("Desk", 40000)).String("client_id")
	f.Must(http.MethodPatch, "/clients/"+f.find(t, "/clients", "client_id", id), servertest.Object{"disabled": true})
	if again := f.registered(t, publicMetadata("Desk", 40001)); again["client_id"] != id {
		t.Fatalf("it got another row: %v", again)
	}
	page := f.alice.Authorize(servertest.AuthorizationRequest(id, "http://127.0.0.1:40001/callback", resourceURI))
	wantRefusalPage(t, page)
	if !strings.Contains(page.Body, "ask your administrator") {
		t.Errorf("the page does not say whom to ask:\n%s", page.Body)
	}
}

// TestRG08Flood: strangers cannot fill the database, and an address that many share
// is not shut out by them.
func TestRG08Flood(t *testing.T) {
	loopbackProxy := netip.MustParsePrefix("127.0.0.0/8")
	h := newHouse(t, servertest.WithDynamicRegistration(), servertest.WithTrustedProxies(loopbackProxy))
	from := func(address, metadata string) *servertest.Answer {
		return h.Do(h.Request(http.MethodPost, "/register", metadata, http.Header{"Content-Type": {"application/json"}, "X-Forwarded-For": {address}}))
	}
	wantTooMany := func(answer *servertest.Answer) {
		t.Helper()
		wantError(t, answer, http.StatusTooManyRequests, "temporarily_unavailable")
		if wait, err := strconv.Atoi(answer.Header.Get("Retry-After")); err != nil || wait < 1 || wait > 3600 {
			t.Errorf("Retry-After is %q", answer.Header.Get("Retry-After"))
		}
	}
	for i := range 20 {
		if answer := from("198.51.100.1", publicMetadata(fmt.Sprint("Flood ", i), 40000)); answer.Status != http.StatusCreated {
			t.Fatalf("registration %d: %d %s", i, answer.Status, answer.Body)
		}
	}
	wantTooMany(from("198.51.100.1", publicMetadata("Flood 20", 40000)))
	if answer := from("198.51.100.1", publicMetadata("Flood 7", 40001)); answer.Status != http.StatusCreated {
		t.Errorf("who is known is shut out: %d %s", answer.Status, answer.Body)
	}
	if answer := from("198.51.100.2", publicMetadata("Other", 40000)); answer.Status != http.StatusCreated {
		t.Errorf("another address is shut out: %d %s", answer.Status, answer.Body)
	}
	token := h.Must(http.MethodPost, "/registration-tokens", servertest.Object{"name": "Team"}).String("token")
	answer := h.Do(h.Request(http.MethodPost, "/register", publicMetadata("With a token", 40000), http.Header{
		"Content-Type": {"application/json"}, "X-Forwarded-For": {"198.51.100.1"}, "Authorization": {"Bearer " + token},
	}))
	if answer.Status != http.StatusCreated {
		t.Errorf("a token does not lift the limit: %d %s", answer.Status, answer.Body)
	}

	// All addresses together.
	created := 21
	for i := range 600 {
		if answer := from(fmt.Sprintf("203.0.%d.%d", i/200, i%200), fmt.Sprintf(`{"client_name":"Many %d","redirect_uris":["https://app.example/cb"]}`, i)); answer.Status == http.StatusCreated {
			created++
		} else {
			wantTooMany(answer)
		}
	}
	if created != 500 {
		t.Errorf("%d registrations, want 500", created)
	}
	h.Clock.Advance(time.Hour)
	if answer := from("198.51.100.1", publicMetadata("Flood 20", 40000)); answer.Status != http.StatusCreated {
		t.Errorf("an hour later: %d %s", answer.Status, answer.Body)
	}
}

// TestRG13Modes: who may register, and what the metadata says of it.
func TestRG13Modes(t *testing.T) {
	for mode, c := range map[string]struct {
		status     int
		advertised bool
	}{
		"allow": {http.StatusCreated, true}, "token": {http.StatusUnauthorized, false}, "off": {http.StatusNotFound, false},
	} {
		t.Run("RG-13 "+mode, func(t *testing.T) {
			h := newHouse(t, servertest.WithRegistration(storage.RegistrationMode(mode), ""))
			if _, advertised := h.Get(oauthName).JSON["registration_endpoint"]; advertised != c.advertised {
				t.Errorf("advertised: %v", advertised)
			}
			token := h.Must(http.MethodPost, "/registration-tokens", servertest.Object{"name": "Team", "max_uses": 2}).String("token")
			answer := h.register(publicMetadata("Desk", 40000))
			if answer.Status != c.status {
				t.Errorf("without a token: %d %s", answer.Status, answer.Body)
			}
			if challenge := answer.Header.Get("WWW-Authenticate"); strings.HasPrefix(challenge, "Bearer ") != (c.status == http.StatusUnauthorized) {
				t.Errorf("WWW-Authenticate is %q", challenge)
			}
			wantNoNull(t, answer.Body)
			if mode == "off" {
				wantError(t, h.registerWith("Bearer "+token, publicMetadata("Desk", 40000)), http.StatusNotFound, "invalid_request")
				return
			}
			for _, wrong := range []string{"Bearer iat_wrong", "bearer " + forged(token)} {
				wantError(t, h.registerWith(wrong, publicMetadata("Desk", 40000)), http.StatusUnauthorized, "invalid_token")
			}
			// Case does not matter in the scheme; a use is one, folded or not.
			for _, scheme := range []string{"Bearer ", "bearer "} {
				if answer := h.registerWith(scheme+token, publicMetadata("Desk", 40001)); answer.Status != http.StatusCreated {
					t.Errorf("with a token: %d %s", answer.Status, answer.Body)
				}
			}
			wantError(t, h.registerWith("Bearer "+token, publicMetadata("Desk", 40002)), http.StatusUnauthorized, "invalid_token")

			expired := h.Must(http.MethodPost, "/registration-tokens", servertest.Object{"name": "Team", "expires_in": 60})
			deleted := h.Must(http.MethodPost, "/registration-tokens", servertest.Object{"name": "Team"})
			h.Must(http.MethodDelete, "/registration-tokens/"+deleted.String("id"), nil)
			wantError(t, h.registerWith("Bearer "+deleted.String("token"), publicMetadata("Desk", 40003)), http.StatusUnauthorized, "invalid_token")
			h.Clock.Advance(time.Minute)
			wantError(t, h.registerWith("Bearer "+expired.String("token"), publicMetadata("Desk", 40003)), http.StatusUnauthorized, "invalid_token")
		})
	}
}

// TestRegistrationRaces: two that are the same get one row, and a token for one
// registration makes one.
func TestRegistrationRaces(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		h := newHouse(t, servertest.WithStore(open(t)), servertest.WithDynamicRegistration())
		answers := make([]*servertest.Answer, 16)
		race(len(answers), func(i int) { answers[i] = h.register(publicMetadata("Desk", 40000+i)) })
		for _, answer := range answers {
			if answer.Status != http.StatusCreated || answer.JSON["client_id"] != answers[0].JSON["client_id"] {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
		}
		if n := h.dynamicClients(t); n != 1 {
			t.Errorf("%d rows, want 1", n)
		}
		for _, method := range []string{"none", "client_secret_basic"} {
			token, before := h.Must(http.MethodPost, "/registration-tokens", servertest.Object{"name": "Once"}).String("token"), h.dynamicClients(t)
			race(len(answers), func(i int) {
				answers[i] = h.registerWith("Bearer "+token, `{"client_name":"Once","redirect_uris":["https://app.example/cb"],"token_endpoint_auth_method":"`+method+`"}`)
			})
			won := slices.DeleteFunc(slices.Clone(answers), func(a *servertest.Answer) bool { return a.Status != http.StatusCreated })
			if n := h.dynamicClients(t) - before; len(won) != 1 || n != 1 {
				t.Errorf("%d registrations and %d rows with a token for one", len(won), n)
			}
			for _, answer := range answers {
				if answer != won[0] {
					wantError(t, answer, http.StatusUnauthorized, "invalid_token")
				}
			}
		}
	})
}

// TestRegistrationTokenVouches: whoever an administrator gave a token brings a
// client that no administrator must allow once more, also where strangers had
// registered the same before.
func TestRegistrationTokenVouches(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		f := newOffice(t, servertest.WithStore(open(t)), servertest.WithRegistration(storage.RegistrationAskAdmin, ""))
		see := func(answer *servertest.Answer) string {
			t.Helper()
			request := servertest.AuthorizationRequest(answer.JSON.String("client_id"), "http://localhost:40000/callback", resourceURI)
			return outcome(f.alice.Authorize(request))
		}
		metadata := `{"client_name":"Desk","redirect_uris":["http://localhost:40000/callback"],"token_endpoint_auth_method":"none"}`
		if got := see(f.register(metadata)); got != "ask" {
			t.Errorf("a stranger's client: %s", got)
		}
		token := f.Must(http.MethodPost, "/registration-tokens", servertest.Object{"name": "Team"}).String("token")
		if got := see(f.registerWith("Bearer "+token, metadata)); got != "consent" {
			t.Errorf("the same with a token: %s", got)
		}
		if got := see(f.register(metadata)); got != "consent" {
			t.Errorf("the same again, without: %s", got)
		}
		if n := f.audited(t, "client.vouched"); n != 1 {
			t.Errorf("%d audit events, want 1", n)
		}
	})
}
