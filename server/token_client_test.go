package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"grantd/server/servertest"
)

// TestClientAuthentication tries every wrong way of a client to say who it is.
// None may cost a code anything.
func TestClientAuthentication(t *testing.T) {
	o := newOffice(t)
	// The clock moves on between the cases, so that none meets the limit on
	// failures that another has used up.
	ask := func(body url.Values, authorization ...string) *servertest.Answer {
		headers := []string{"Content-Type", formType}
		for _, value := range authorization {
			headers = append(headers, "Authorization", value)
		}
		return o.post(body.Encode(), headers...)
	}
	machine := servertest.Form("grant_type", "client_credentials")
	inBody := changed(machine, "client_id", o.machine.id, "client_secret", o.machine.secret)
	right, wrong := basicHeader(o.machine.basic()), basicHeader(o.machine.id+":guess77")
	assertion := changed(machine, "client_assertion", "e30.e30.e30", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")

	for _, test := range []struct {
		name          string
		body          url.Values
		authorization []string
		status        int
		code          string
		challenge     bool
	}{
		{"TK-09 no credentials", changed(machine, "client_id", o.machine.id), nil, 401, "invalid_client", false},
		{"TK-09 no client at all", machine, nil, 400, "invalid_request", false},
		{"TK-09 wrong secret by Basic", machine, []string{wrong}, 401, "invalid_client", true},
		{"TK-09 wrong secret in the body", changed(inBody, "client_secret", "guess77"), nil, 401, "invalid_client", false},
		{"TK-09 empty secret by Basic", machine, []string{basicHeader(o.machine.id + ":")}, 401, "invalid_client", true},
		{"TK-09 unknown client by Basic", machine, []string{basicHeader("cl_nobody:guess77")}, 401, "invalid_client", true},
		{"TK-09 unknown client in the body", changed(inBody, "client_id", "cl_nobody"), nil, 401, "invalid_client", false},
		{"TK-10 Basic and a secret in the body", inBody, []string{right}, 400, "invalid_request", false},
		{"TK-10 Basic and another secret in the body", changed(machine, "client_secret", "other"), []string{right}, 400, "invalid_request", false},
		{"TK-10 Basic and an assertion", assertion, []string{right}, 400, "invalid_request", false},
		{"TK-10 a secret and an assertion", changed(assertion, "client_id", o.machine.id, "client_secret", o.machine.secret), nil, 400, "invalid_request", false},
		{"TK-10 two Authorization headers", machine, []string{right, right}, 400, "invalid_request", false},
		{"TK-11 Basic for one client, client_id of another", changed(machine, "client_id", o.guard.id), []string{right}, 400, "invalid_request", false},
		{"TK-13 an assertion by a client with a secret", changed(assertion, "client_id", o.machine.id), nil, 401, "invalid_client", false},
		{"TK-14 malformed percent-encoding", machine, []string{basicHeader(o.machine.id + ":%zz")}, 401, "invalid_client", true},
		{"TK-14 no colon", machine, []string{basicHeader(o.machine.id)}, 401, "invalid_client", true},
		{"TK-14 no client id", machine, []string{basicHeader(":" + o.machine.secret)}, 401, "invalid_client", true},
		{"TK-14 bad base64", machine, []string{"Basic !!!"}, 401, "invalid_client", true},
		{"TK-14 nothing after Basic", machine, []string{"Basic"}, 401, "invalid_client", true},
		{"TK-14 another scheme", machine, []string{"Bearer " + o.machine.secret}, 401, "invalid_client", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			o.Clock.Advance(2 * time.Minute)
			answer := ask(test.body, test.authorization...)
			wantError(t, answer, test.status, test.code)
			challenge := answer.Header.Get("WWW-Authenticate")
			if test.challenge != strings.HasPrefix(challenge, "Basic ") {
				t.Errorf("WWW-Authenticate is %q", challenge)
			}
			for _, secret := range []string{o.machine.secret, "guess77", "cl_nobody"} {
				if strings.Contains(answer.Body+challenge, secret) {
					t.Errorf("the answer repeats %q: %s", secret, answer.Body)
				}
			}
		})
	}

	encoded := func(s string) string {
		var out strings.Builder
		for i := range len(s) {
			fmt.Fprintf(&out, "%%%02X", s[i])
		}
		return out.String()
	}
	for _, test := range []struct {
		name          string
		body          url.Values
		authorization []string
	}{
		{"TK-13 registered for Basic, secret by Basic", machine, []string{right}},
		{"TK-13 registered for Basic, secret in the body", inBody, nil},
		{"TK-14 Basic with everything percent-encoded", machine, []string{basicHeader(encoded(o.machine.id) + ":" + encoded(o.machine.secret))}},
		{"TK-14 lower-case basic", machine, []string{"basic" + strings.TrimPrefix(right, "Basic")}},
		{"TK-11 Basic and the same client_id in the body", changed(machine, "client_id", o.machine.id), []string{right}},
		{"TK-10 Basic and empty credentials in the body", url.Values{"grant_type": machine["grant_type"], "client_secret": {""}, "client_assertion": {""}}, []string{right}},
	} {
		t.Run(test.name, func(t *testing.T) { wantTokens(t, ask(test.body, test.authorization...)) })
	}

	t.Run("TK-12 public client with a secret", func(t *testing.T) {
		code := o.code(t)
		wantError(t, ask(o.redemption(code, "client_secret", "any")), 401, "invalid_client")
		wantError(t, ask(o.redemption(code, "client_id", ""), basicHeader(o.clientID+":any")), 401, "invalid_client")
		// An empty parameter is one that was not sent.
		form := o.redemption(code)
		form.Set("client_secret", "")
		wantTokens(t, ask(form))
	})

	// There is no secret to guess, and strangers behind the same address must not
	// be able to shut the client out.
	t.Run("TK-15 guessing the secret of a public client changes nothing", func(t *testing.T) {
		code := o.code(t)
		for i := range 25 {
			wantError(t, ask(o.redemption(code, "client_secret", fmt.Sprint("guess ", i))), 401, "invalid_client")
		}
		wantTokens(t, ask(o.redemption(code)))
	})

	t.Run("TK-09 disabled client", func(t *testing.T) {
		client := credentialsOf(o.MachineClient())
		wantTokens(t, o.Post("/token", machine, client.basic()))
		o.Must(http.MethodPatch, "/clients/"+client.id, servertest.Object{"disabled": true})
		wantError(t, o.Post("/token", machine, client.basic()), 401, "invalid_client")
	})

	t.Run("TK-09 a secret that was deleted or has expired", func(t *testing.T) {
		client := credentialsOf(o.MachineClient())
		second := o.Must(http.MethodPost, "/clients/"+client.id+"/secrets", servertest.Object{})
		wantTokens(t, o.Post("/token", machine, client.id+":"+second.String("client_secret")))
		wantTokens(t, o.Post("/token", machine, client.basic()))
		o.Must(http.MethodDelete, "/clients/"+client.id+"/secrets/"+second.String("id"), nil)
		wantError(t, o.Post("/token", machine, client.id+":"+second.String("client_secret")), 401, "invalid_client")
		wantTokens(t, o.Post("/token", machine, client.basic()))
	})

	// Go's SDK tries Basic with an empty secret first, then the body, with the
	// same code. Nobody has guessed anything, however many people do it at once.
	t.Run("TK-12 Basic first, then the body, with one code", func(t *testing.T) {
		code := o.code(t)
		for range 25 {
			answer := ask(o.redemption(code, "client_id", ""), basicHeader(url.QueryEscape(o.clientID)+":"))
			wantError(t, answer, 401, "invalid_client")
		}
		wantTokens(t, ask(o.redemption(code)))
	})

	t.Run("TK-15 an empty secret guesses nothing", func(t *testing.T) {
		o.Clock.Advance(2 * time.Minute)
		for range 25 {
			wantError(t, ask(machine, basicHeader(o.machine.id+":")), 401, "invalid_client")
			wantError(t, ask(changed(machine, "client_id", o.machine.id)), 401, "invalid_client")
		}
		wantTokens(t, ask(machine, right))
	})

	t.Run("TK-16 an unknown client and a wrong secret look the same", func(t *testing.T) {
		o.Clock.Advance(2 * time.Minute)
		known, unknown := ask(machine, wrong), ask(machine, basicHeader("cl_nobody:guess77"))
		for _, header := range []http.Header{known.Header, unknown.Header} {
			header.Del("Date")
		}
		if known.Status != unknown.Status || known.Body != unknown.Body || fmt.Sprint(known.Header) != fmt.Sprint(unknown.Header) {
			t.Errorf("they differ:\n%d %v %s\n%d %v %s", known.Status, known.Header, known.Body, unknown.Status, unknown.Header, unknown.Body)
		}
	})
}

// TestSecretBruteForce: TK-15, TK-30.
func TestSecretBruteForce(t *testing.T) {
	o := newOffice(t, servertest.WithTrustedProxies(netip.MustParsePrefix("127.0.0.0/8")))
	form := servertest.Form("grant_type", "client_credentials").Encode()
	from := func(address, secret string) *servertest.Answer {
		return o.post(form, "Content-Type", formType, "X-Forwarded-For", address, "Authorization", basicHeader(o.machine.id+":"+secret))
	}
	var refused, limited int
	for i := range 200 {
		answer := from("192.0.2.1", fmt.Sprint("guess ", i))
		switch answer.Status {
		case http.StatusUnauthorized:
			wantError(t, answer, http.StatusUnauthorized, "invalid_client")
			refused++
			if limited > 0 {
				t.Fatal("the limit has let go")
			}
		case http.StatusTooManyRequests:
			// Never a word that makes a client throw its credentials away.
			wantError(t, answer, http.StatusTooManyRequests, "temporarily_unavailable")
			if answer.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			limited++
		default:
			t.Fatalf("%d %s", answer.Status, answer.Body)
		}
	}
	if refused == 0 || refused > 20 || limited == 0 {
		t.Errorf("of 200 guesses %d were looked at and %d refused by the limit", refused, limited)
	}
	if answer := from("192.0.2.1", o.machine.secret); answer.Status != http.StatusTooManyRequests {
		t.Errorf("the right guess beyond the limit is told: %d %s", answer.Status, answer.Body)
	}
	wantTokens(t, from("198.51.100.7", o.machine.secret))
	answer := o.post(form, "Content-Type", formType, "X-Forwarded-For", "192.0.2.1", "Authorization", basicHeader(o.guard.basic()))
	wantTokens(t, answer)
	o.Clock.Advance(time.Minute)
	wantTokens(t, from("192.0.2.1", o.machine.secret))
}

// TestAssertionBruteForce: TK-15 for clients that sign.
func TestAssertionBruteForce(t *testing.T) {
	o := newOffice(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	claims := fmt.Sprintf(`{"iss":%q,"sub":%q,"aud":%q,"jti":"a","exp":%d}`, o.machine.id, o.machine.id, o.URL, o.Clock.Now().Unix()+60)
	jws, err := signer.Sign([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	assertion, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	form := servertest.Form("grant_type", "client_credentials", "client_assertion", assertion,
		"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	for range 20 {
		wantError(t, o.Post("/token", form, ""), http.StatusUnauthorized, "invalid_client")
	}
	wantError(t, o.Post("/token", form, ""), http.StatusTooManyRequests, "temporarily_unavailable")
}

// TestForwardedForIsNotBelieved: a caller cannot escape the limit by naming
// other addresses.
func TestForwardedForIsNotBelieved(t *testing.T) {
	o := newOffice(t)
	form := servertest.Form("grant_type", "client_credentials").Encode()
	for i := range 30 {
		o.post(form, "Content-Type", formType, "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i), "Authorization", basicHeader(o.machine.id+":wrong"))
	}
	answer := o.post(form, "Content-Type", formType, "X-Forwarded-For", "198.51.100.1", "Authorization", basicHeader(o.machine.id+":wrong"))
	wantError(t, answer, http.StatusTooManyRequests, "temporarily_unavailable")
}

// TestClientAsks: what a client of the plain OAuth guide may leave out, and what
// grantd forgives it.
func TestClientAsks(t *testing.T) {
	o := newOffice(t)
	ask := func(pairs ...string) *servertest.Answer {
		return o.Post("/token", servertest.Form(append([]string{"grant_type", "client_credentials"}, pairs...)...), o.machine.basic())
	}
	want := func(t *testing.T, answer *servertest.Answer, audience, scope string) {
		t.Helper()
		got := wantTokens(t, answer)
		if claims := servertest.Claims(got.access); claims["aud"] != audience || got.scope != scope {
			t.Errorf("the token is for %v with %q, want %s with %q", claims["aud"], got.scope, audience, scope)
		}
	}
	t.Run("no resource, and one that fits", func(t *testing.T) { want(t, ask(), resourceURI, "notes:read notes:write") })
	t.Run("unknown scopes are dropped", func(t *testing.T) {
		want(t, ask("scope", "notes:read notes:fly openid"), resourceURI, "notes:read")
	})
	t.Run("offline_access is accepted", func(t *testing.T) {
		want(t, ask("scope", "offline_access notes:write"), resourceURI, "notes:write")
		want(t, ask("scope", "offline_access"), resourceURI, "notes:read notes:write")
	})
	t.Run("a trailing slash and upper case", func(t *testing.T) {
		want(t, ask("resource", resourceURI+"/"), resourceURI, "notes:read notes:write")
		want(t, ask("resource", "HTTPS://MCP.example.COM/mcp"), resourceURI, "notes:read notes:write")
	})
	const github, jira = "https://github.example.com/mcp", "https://jira.example.com/"
	o.Resource(github, nil, "mcp:github", "mcp:both")
	o.Resource(jira, nil, "mcp:jira", "mcp:both")
	t.Run("no resource, and the scopes fit one", func(t *testing.T) {
		want(t, ask("scope", "mcp:github"), github, "mcp:github")
		want(t, ask("scope", "mcp:jira mcp:both"), jira, "mcp:jira mcp:both")
		want(t, ask("scope", "mcp:jira mcp:unknown"), jira, "mcp:jira")
	})
	t.Run("a slash that is registered may be left out", func(t *testing.T) {
		want(t, ask("resource", strings.TrimSuffix(jira, "/")), jira, "mcp:jira mcp:both")
	})
	for _, scope := range []string{"mcp:github mcp:jira", "mcp:both", "notes:read mcp:jira", ""} {
		t.Run("no resource, and several fit: "+scope, func(t *testing.T) {
			answer := ask("scope", scope)
			wantError(t, answer, http.StatusBadRequest, "invalid_target")
			if !strings.Contains(answer.JSON.String("error_description"), "resource parameter") {
				t.Errorf("the description does not ask for the resource: %s", answer.Body)
			}
		})
	}
}
