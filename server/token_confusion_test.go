package server_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"grantd/server/servertest"
	"grantd/storage"
)

// RFC 8725 §3.11, §3.12: an ID token is no access token, an access token no ID token,
// and neither counts where it is another's. What is read in its place is as if nothing
// had been sent.
func TestTokensAreNotTakenForOthers(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		o.Must(http.MethodPatch, "/clients/"+o.find(t, "/clients", "client_id", o.clientID), servertest.Object{"post_logout_redirect_uris": []string{goodbye}})
		answer := o.Redeem(o.clientID, o.alice.Code(changed(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI), "scope", "openid notes:read")))
		idToken, accessToken := answer.JSON.String("id_token"), answer.JSON.String("access_token")
		c := &chancellery{Server: o.Server, t: t}

		// The ID token where an access token is due.
		if o.active(t, idToken) {
			t.Error("introspection calls an ID token active")
		}
		c.want(idToken, http.MethodGet, "/clients", "", http.StatusUnauthorized, "unauthorized")
		if status := o.userInfo(idToken).Status; status != http.StatusUnauthorized {
			t.Errorf("userinfo: %d", status)
		}
		if status, _ := o.Call(http.MethodPost, "/tokens/inspect", servertest.Object{"value": idToken}); status != http.StatusNotFound {
			t.Errorf("inspect: %d", status)
		}
		// The MCP server's own token tells nobody who the person is.
		if status := o.userInfo(accessToken).Status; status != http.StatusUnauthorized {
			t.Errorf("userinfo with a token for an MCP server: %d", status)
		}

		// A hint is an ID token of this server, signed, of this client.
		parts := strings.Split(idToken, ".")
		none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + "."
		o.User("bob")
		bob := o.SignedIn("bob")
		asks := openID(o.clientID, loopback, "openid", "prompt", "none")
		if page := bob.Authorize(changed(asks, "id_token_hint", idToken)); page.Left == nil || page.Left.Query().Get("error") != "login_required" {
			t.Errorf("alice's hint to bob: %d, left for %v", page.Status, page.Left)
		}
		for name, hint := range map[string]string{"an access token": accessToken, "alg none": none, "a changed signature": forged(idToken)} {
			if page := bob.Authorize(changed(asks, "id_token_hint", hint)); page.Left == nil || page.Left.Query().Get("error") != "consent_required" {
				t.Errorf("%s as a hint: %d, left for %v", name, page.Status, page.Left)
			}
			page := o.alice.Get(o.URL + "/logout?" + servertest.Form("id_token_hint", hint, "post_logout_redirect_uri", goodbye).Encode())
			if page.Left != nil || o.alice.Get(o.URL+"/account").IsLogin() {
				t.Errorf("%s signs alice out, or leads to %v", name, page.Left)
			}
		}
		// Another client's hint says nothing to this one.
		other := o.PublicClient(callback).String("client_id")
		if page := bob.Authorize(changed(openID(other, loopback, "openid", "prompt", "none"), "id_token_hint", idToken)); page.Left == nil || page.Left.Query().Get("error") != "consent_required" {
			t.Errorf("another client's hint: %d, left for %v", page.Status, page.Left)
		}
		// Nor does a session that is not the token's own end without a question.
		page := bob.Get(o.URL + "/logout?" + servertest.Form("id_token_hint", idToken).Encode())
		if bob.Get(o.URL+"/account").IsLogin() || page.Status != http.StatusOK {
			t.Errorf("alice's ID token signs bob out: %d", page.Status)
		}
	})
}
