package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"grantd/server/servertest"
	"grantd/storage"
)

// What no database takes is no outage: whatever a stranger or somebody signed in puts
// into a link or form of sign-in, sign-out and account, nothing answers with a 5xx.
func TestStrangeValuesAreNoOutage(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		request := servertest.AuthorizationRequest(o.clientID, loopback, resourceURI)
		for _, value := range []string{"\x00", "a\x00b", "\xff\xfe", "é\u202e", strings.Repeat("~", 9000), "'\"--", "%00"} {
			escaped := url.QueryEscape(value)
			gets := []string{
				"/logout?client_id=" + escaped, "/logout?id_token_hint=" + escaped, "/logout?client_id=" + o.clientID + "&post_logout_redirect_uri=" + escaped + "&state=" + escaped,
				"/login?client_id=" + escaped, "/login?user_code=" + escaped, "/login?" + escaped, "/login/local?client_id=" + escaped,
				"/login/upstream/" + url.PathEscape(value), "/login/upstream/" + url.PathEscape(value) + "/callback?state=" + escaped + "&code=" + escaped,
				"/authorize?client_id=" + escaped, "/account/link?token=" + escaped, "/account/activity?before=" + escaped,
				"/account/revoke?grant=" + escaped, "/account?done=" + escaped, "/device?user_code=" + escaped,
			}
			for _, name := range []string{"acr_values", "id_token_hint", "nonce", "prompt", "ui_locales", "grantd_step", "login_hint", "state", "resource"} {
				gets = append(gets, "/authorize?"+changed(request, name, value).Encode(), "/authorize?"+changed(request, name, value, "scope", "openid").Encode())
			}
			for who, b := range map[string]*servertest.Browser{"a stranger": o.Browser(), "alice": o.alice} {
				for _, path := range gets {
					if who == "alice" && strings.HasPrefix(path, "/logout") {
						continue
					}
					if answer := b.Send(http.MethodGet, o.URL+path, "", nil); answer.Status >= 500 {
						t.Errorf("%s, GET %.80s: %d", who, path, answer.Status)
					}
				}
				page := o.alice.Get(o.URL + "/account").Fields().Get("page")
				for path, names := range map[string][]string{
					"/login": {"username", "password", "step", "code", "enrolment"}, "/logout": {"client_id", "id_token_hint"}, "/account/link": {"token", "password", "again", "username"},
					"/account/security": {"act"}, "/account/security/totp": {"enrolment", "code"}, "/account/sessions": {"session"}, "/account/installations": {"installation"},
					"/account/revoke": {"grant"}, "/device": {"user_code", "approval"},
				} {
					if who == "alice" && path == "/logout" {
						continue
					}
					form := url.Values{"page": {page}}
					if !strings.HasPrefix(path, "/account/") {
						form.Del("page")
					}
					for _, name := range names {
						form.Set(name, value)
					}
					header := http.Header{"Content-Type": {formType}}
					if path == "/logout" {
						header.Set("Sec-Fetch-Site", "cross-site")
					}
					if answer := b.Send(http.MethodPost, o.URL+path, form.Encode(), header); answer.Status >= 500 {
						t.Errorf("%s, POST %s with %q: %d", who, path, value[:min(len(value), 9)], answer.Status)
					}
				}
			}
		}
	})
}
