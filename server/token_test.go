package server_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
)

const formType = "application/x-www-form-urlencoded"

// basicHeader is an Authorization header for Basic with these raw credentials.
func basicHeader(raw string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(raw))
}

// post sends a body to /token with these headers: name, value, name, value.
func (h *house) post(body string, headers ...string) *servertest.Answer {
	header := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		header.Add(headers[i], headers[i+1])
	}
	return h.Do(h.Request(http.MethodPost, "/token", body, header))
}

// TestTokenRequests sends what is no proper token request. Each time the code in
// it must still be good afterwards.
func TestTokenRequests(t *testing.T) {
	o := newOffice(t)
	unspent := func(t *testing.T, code string) {
		t.Helper()
		wantTokens(t, o.Redeem(o.clientID, code))
	}

	t.Run("TK-01 any method but POST", func(t *testing.T) {
		code := o.code(t)
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			answer := o.Do(o.Request(method, "/token?"+o.redemption(code).Encode(), "", nil))
			allow := answer.Header.Get("Allow")
			if answer.Status != http.StatusMethodNotAllowed || !strings.Contains(allow, http.MethodPost) || strings.Contains(allow, http.MethodGet) {
				t.Errorf("%s: %d, Allow: %s", method, answer.Status, allow)
			}
		}
		unspent(t, code)
	})

	t.Run("TK-02 parameters in the URL", func(t *testing.T) {
		code := o.code(t)
		whole := o.redemption(code).Encode()
		wantError(t, o.Do(o.Request(http.MethodPost, "/token?"+whole, "", http.Header{"Content-Type": {formType}})), http.StatusBadRequest, "invalid_request")
		// What the URL says besides the body counts for nothing.
		answer := o.Do(o.Request(http.MethodPost, "/token?code=other&client_id=other&scope=other&resource=other", whole, http.Header{"Content-Type": {formType}}))
		wantTokens(t, answer)
	})

	t.Run("TK-02 secret in the URL", func(t *testing.T) {
		written := captureLogs(t)
		before := o.audited(t, "client.secret_in_url")
		target := "/token?" + servertest.Form("client_id", o.machine.id, "client_secret", o.machine.secret).Encode()
		for range 50 {
			answer := o.Do(o.Request(http.MethodPost, target, "grant_type=client_credentials", http.Header{"Content-Type": {formType}}))
			wantError(t, answer, http.StatusBadRequest, "invalid_request")
		}
		if n := o.audited(t, "client.secret_in_url") - before; n < 1 || n > 20 {
			t.Errorf("50 such requests made %d audit events, want at least one and no flood", n)
		}
		if strings.Contains(written.String(), o.machine.secret) {
			t.Error("the secret has been logged")
		}
	})

	for _, contentType := range []string{
		"application/json", "", "application/json, application/x-www-form-urlencoded", "text/plain",
		"application/x-www-form-urlencoded, application/json", "application/x-www-form-urlencodedx",
	} {
		t.Run("TK-03 content type "+contentType, func(t *testing.T) {
			code := o.code(t)
			answer := o.post(o.redemption(code).Encode(), "Content-Type", contentType)
			wantError(t, answer, http.StatusBadRequest, "invalid_request")
			if !strings.Contains(answer.JSON.String("error_description"), formType) {
				t.Errorf("the description does not name the content type: %s", answer.Body)
			}
			unspent(t, code)
		})
	}

	t.Run("TK-03 JSON body", func(t *testing.T) {
		code := o.code(t)
		answer := o.post(`{"grant_type":"authorization_code","code":"`+code+`"}`, "Content-Type", "application/json")
		wantError(t, answer, http.StatusBadRequest, "invalid_request")
		unspent(t, code)
	})

	t.Run("TK-03 two content types", func(t *testing.T) {
		code := o.code(t)
		answer := o.post(o.redemption(code).Encode(), "Content-Type", formType, "Content-Type", "application/json")
		wantError(t, answer, http.StatusBadRequest, "invalid_request")
		unspent(t, code)
	})

	t.Run("TK-04 multipart/form-data", func(t *testing.T) {
		code := o.code(t)
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		for name, values := range o.redemption(code) {
			if err := form.WriteField(name, values[0]); err != nil {
				t.Fatal(err)
			}
		}
		if err := form.Close(); err != nil {
			t.Fatal(err)
		}
		wantError(t, o.post(body.String(), "Content-Type", form.FormDataContentType()), http.StatusBadRequest, "invalid_request")
		unspent(t, code)
	})

	t.Run("TK-05 content type with charset, in any case", func(t *testing.T) {
		wantTokens(t, o.post(o.redemption(o.code(t)).Encode(), "Content-Type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8"))
	})

	for _, name := range []string{"code", "code_verifier", "client_id", "grant_type"} {
		t.Run("TK-06 "+name+" sent twice", func(t *testing.T) {
			code := o.code(t)
			form := o.redemption(code)
			for _, second := range []string{form.Get(name), "other", ""} {
				answer := o.post(form.Encode()+"&"+name+"="+second, "Content-Type", formType)
				wantError(t, answer, http.StatusBadRequest, "invalid_request")
			}
			unspent(t, code)
		})
	}

	t.Run("TK-06 refresh_token sent twice", func(t *testing.T) {
		got := o.tokens(t)
		form := servertest.Form("grant_type", "refresh_token", "client_id", o.clientID, "refresh_token", got.refresh)
		answer := o.post(form.Encode()+"&refresh_token="+got.refresh, "Content-Type", formType)
		wantError(t, answer, http.StatusBadRequest, "invalid_request")
		// Had it been spent, it would be spent for good by now.
		o.Clock.Advance(time.Minute)
		wantTokens(t, o.Refresh(o.clientID, got.refresh))
	})

	t.Run("TK-06 malformed body", func(t *testing.T) {
		code := o.code(t)
		for _, rest := range []string{"&a=%zz", ";b=2", "&%"} {
			answer := o.post(o.redemption(code).Encode()+rest, "Content-Type", formType)
			wantError(t, answer, http.StatusBadRequest, "invalid_request")
		}
		unspent(t, code)
	})

	for _, grantType := range []string{
		"password", "implicit", "authorization_code refresh_token", "Authorization_Code", " authorization_code",
		"urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:token-exchange",
	} {
		t.Run("TK-07 grant type "+grantType, func(t *testing.T) {
			code := o.code(t)
			answer := o.Post("/token", o.redemption(code, "grant_type", grantType, "username", "alice", "password", servertest.Password), "")
			wantError(t, answer, http.StatusBadRequest, "unsupported_grant_type")
			unspent(t, code)
		})
	}

	t.Run("TK-07 no grant type", func(t *testing.T) {
		code := o.code(t)
		wantError(t, o.Post("/token", o.redemption(code, "grant_type", ""), ""), http.StatusBadRequest, "invalid_request")
		unspent(t, code)
	})

	t.Run("TK-08 grant type that is not registered", func(t *testing.T) {
		code := o.code(t)
		answer := o.Post("/token", o.redemption(code, "client_id", ""), o.machine.basic())
		wantError(t, answer, http.StatusBadRequest, "unauthorized_client")
		answer = o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.web.basic())
		wantError(t, answer, http.StatusBadRequest, "unauthorized_client")
		answer = o.Post("/token", servertest.Form("grant_type", "refresh_token", "refresh_token", "rt_x"), o.machine.basic())
		wantError(t, answer, http.StatusBadRequest, "unauthorized_client")
		unspent(t, code)
	})
}

// TestTokenLimits: TK-24.
func TestTokenLimits(t *testing.T) {
	o := newOffice(t)
	code := o.code(t)
	form := o.redemption(code).Encode()
	padded := func(size int) string { return form + "&x=" + strings.Repeat("y", size-len(form)-3) }
	var many strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, "&p%d=", i)
	}
	for _, test := range []struct {
		name, body string
		status     int
	}{
		{"64 KiB and a byte", padded(64<<10 + 1), http.StatusRequestEntityTooLarge},
		{"9 MiB", padded(9 << 20), http.StatusRequestEntityTooLarge},
		{"10,000 parameters", form + many.String(), http.StatusRequestEntityTooLarge},
		{"one parameter 10,000 times", form + strings.Repeat("&p=", 10_000), http.StatusBadRequest},
	} {
		t.Run("TK-24 "+test.name, func(t *testing.T) {
			wantError(t, o.post(test.body, "Content-Type", formType), test.status, "invalid_request")
		})
	}
	t.Run("TK-24 request line beyond 16 KiB", func(t *testing.T) {
		answer := o.Do(o.Request(http.MethodPost, "/token?x="+strings.Repeat("y", 16<<10), form, http.Header{"Content-Type": {formType}}))
		if answer.Status != http.StatusRequestURITooLong {
			t.Errorf("%d", answer.Status)
		}
	})
	t.Run("TK-24 64 KiB are not too much", func(t *testing.T) {
		wantTokens(t, o.post(padded(64<<10), "Content-Type", formType))
	})
}

// TestTokenFraming: TK-25, as far as net/http lets a client show it. It reads a
// folded header as one with a space, and bare line feeds in headers as line ends,
// which RFC 9112 allows.
func TestTokenFraming(t *testing.T) {
	o := newOffice(t)
	host := strings.TrimPrefix(o.URL, "http://")
	body := servertest.Form("grant_type", "client_credentials", "client_id", o.machine.id, "client_secret", o.machine.secret).Encode()
	size := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	head := "POST /token HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: " + formType + "\r\n"
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	// send returns the statuses of all answers, until the server closes.
	send := func(t *testing.T, raw string) []int {
		t.Helper()
		var dialer net.Dialer
		conn, err := dialer.DialContext(t.Context(), "tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, raw); err != nil {
			t.Fatal(err)
		}
		var statuses []int
		reader := bufio.NewReader(conn)
		for {
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				if !strings.Contains(err.Error(), "EOF") && !strings.Contains(err.Error(), "reset") {
					t.Errorf("the connection was not closed: %v", err)
				}
				return statuses
			}
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			statuses = append(statuses, response.StatusCode)
		}
	}
	next := "GET /jwks HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"
	for _, test := range []struct {
		name, raw string
		want      string
	}{
		{"a proper request and another", head + size + "\r\n" + body + next, "[200 200]"},
		{"two lengths", head + size + "Content-Length: 5\r\n\r\n" + body + next, "[400]"},
		{"a list of lengths", head + "Content-Length: 5, 6\r\n\r\n" + body + next, "[400]"},
		{"a signed length", head + "Content-Length: +5\r\n\r\n" + body + next, "[400]"},
		{"an unknown transfer coding", head + "Transfer-Encoding: xchunked\r\n\r\n" + chunked + next, "[501]"},
		{"two transfer codings", head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunked + next, "[501]"},
		{"a space before the colon", head + "Content-Length : 5\r\n\r\n" + body + next, "[400]"},
		{"a line feed alone in a chunk", head + "Transfer-Encoding: chunked\r\n\r\n" + strings.ReplaceAll(chunked, "\r\n", "\n") + next, "[400]"},
		// The length counts for nothing beside a transfer coding: what it would
		// make of the rest is not what the server makes of it.
		{"length and transfer coding", head + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + chunked + next, "[200 200]"},
		{"no host", "POST /token HTTP/1.1\r\nContent-Type: " + formType + "\r\n" + size + "\r\n" + body + next, "[400]"},
		{"two hosts", head + "Host: other.example\r\n" + size + "\r\n" + body + next, "[400]"},
	} {
		t.Run("TK-25 "+test.name, func(t *testing.T) {
			if got := fmt.Sprint(send(t, test.raw)); got != test.want {
				t.Errorf("the answers are %s, want %s", got, test.want)
			}
		})
	}
}

// TestTokenCORS: TK-26.
func TestTokenCORS(t *testing.T) {
	o := newOffice(t)
	const origin = "https://app.example.net"
	check := func(t *testing.T, answer *servertest.Answer) {
		t.Helper()
		if got := answer.Header.Values("Access-Control-Allow-Origin"); fmt.Sprint(got) != "[*]" {
			t.Errorf("Access-Control-Allow-Origin is %q", got)
		}
		if got := answer.Header.Get("Access-Control-Allow-Credentials"); got != "" {
			t.Errorf("Access-Control-Allow-Credentials is %q", got)
		}
		if strings.Contains(fmt.Sprint(answer.Header), origin) {
			t.Errorf("the origin is reflected: %v", answer.Header)
		}
		for _, name := range []string{"WWW-Authenticate", "Retry-After", "DPoP-Nonce"} {
			if !strings.Contains(answer.Header.Get("Access-Control-Expose-Headers"), name) {
				t.Errorf("%s is not exposed", name)
			}
		}
	}
	for _, path := range []string{"/token", "/revoke"} {
		t.Run("TK-26 preflight of "+path, func(t *testing.T) {
			answer := o.Do(o.Request(http.MethodOptions, path, "", http.Header{
				"Origin": {origin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"authorization"},
			}))
			check(t, answer)
			if answer.Status != http.StatusNoContent || !strings.Contains(answer.Header.Get("Access-Control-Allow-Methods"), "POST") ||
				!strings.Contains(answer.Header.Get("Access-Control-Allow-Headers"), "Authorization") {
				t.Errorf("%d %v", answer.Status, answer.Header)
			}
		})
	}
	t.Run("TK-26 success", func(t *testing.T) {
		answer := o.post(servertest.Form("grant_type", "client_credentials").Encode(), "Content-Type", formType, "Origin", origin,
			"Cookie", "grantd_session=any", "Authorization", basicHeader(o.machine.basic()))
		wantTokens(t, answer)
		check(t, answer)
	})
	t.Run("TK-26 error", func(t *testing.T) {
		answer := o.post("grant_type=client_credentials", "Content-Type", formType, "Origin", origin, "Authorization", basicHeader("cl_nobody:x"))
		wantError(t, answer, http.StatusUnauthorized, "invalid_client")
		check(t, answer)
	})
	t.Run("TK-26 introspection is for no browser", func(t *testing.T) {
		answer := o.Do(o.Request(http.MethodPost, "/introspect", "token=x", http.Header{
			"Content-Type": {formType}, "Origin": {origin}, "Authorization": {basicHeader(o.guard.basic())},
		}))
		if answer.Status != http.StatusOK || answer.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%d %v", answer.Status, answer.Header)
		}
	})
}

// TestTokenErrorText: TK-27, TK-28. Whatever is sent, the answer says nothing of
// it, and the log neither.
func TestTokenErrorText(t *testing.T) {
	o := newOffice(t)
	code := o.code(t)
	spent := o.tokens(t)
	written := captureLogs(t)
	const canary = "canary7f3a'\"<script>\r\nSet-Cookie: é"
	forms := map[string]url.Values{
		"code":          o.redemption(canary),
		"verifier":      o.redemption(code, "code_verifier", canary),
		"redirect_uri":  o.redemption(code, "redirect_uri", canary),
		"resource":      o.redemption(code, "resource", canary),
		"grant_type":    o.redemption(code, "grant_type", canary),
		"client_id":     o.redemption(code, "client_id", canary),
		"client_secret": o.redemption(code, "client_secret", canary),
		"refresh_token": servertest.Form("grant_type", "refresh_token", "client_id", o.clientID, "refresh_token", canary),
		"scope":         servertest.Form("grant_type", "refresh_token", "client_id", o.clientID, "refresh_token", spent.refresh, "scope", canary),
		"a NUL byte":    o.redemption("ac_\x00", "client_id", "cl_\x00"+canary),
	}
	for name, form := range forms {
		t.Run("TK-28 "+name, func(t *testing.T) {
			answer := o.Post("/token", form, "")
			if answer.Status != http.StatusBadRequest && answer.Status != http.StatusUnauthorized {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
			wantError(t, answer, answer.Status, answer.JSON.String("error"))
			for _, word := range []string{"canary", "SELECT", "sql", "goroutine", ".go:", code, spent.refresh} {
				if strings.Contains(answer.Body, word) {
					t.Errorf("the answer has %q: %s", word, answer.Body)
				}
			}
		})
	}
	wantTokens(t, o.Redeem(o.clientID, code))
	for _, secret := range []string{"canary", code, spent.refresh, spent.access, servertest.Verifier} {
		if strings.Contains(written.String(), secret) {
			t.Errorf("the log has %.20q", secret)
		}
	}
}

// TestNoNull: no answer of any endpoint has a JSON null.
func TestNoNull(t *testing.T) {
	o := newOffice(t, servertest.WithDynamicRegistration())
	got := o.tokens(t)
	bodies := map[string]string{
		"token":         o.Post("/token", servertest.Form("grant_type", "client_credentials"), o.machine.basic()).Body,
		"introspection": o.introspect(got.access).Body,
		"registration": o.Do(o.Request(http.MethodPost, "/register", `{"redirect_uris":["http://localhost/cb"],"scope":null,"contacts":null,"client_uri":null}`,
			http.Header{"Content-Type": {"application/json"}})).Body,
		"registration error": o.Do(o.Request(http.MethodPost, "/register", `{}`, http.Header{"Content-Type": {"application/json"}})).Body,
	}
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/jwks", "/healthz", "/readyz"} {
		bodies[path] = o.Get(path).Body
	}
	for name, body := range bodies {
		if !strings.HasPrefix(body, "{") {
			t.Errorf("%s is no JSON: %s", name, body)
			continue
		}
		wantNoNull(t, body)
	}
}
