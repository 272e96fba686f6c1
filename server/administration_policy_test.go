package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"grantd/server/servertest"
	"grantd/storage"
)

const administratorsOnly = "Administrators may administer this server"

// lastApproval is the detail of the newest grant.approved event.
func (c *chancellery) lastApproval() map[string]any {
	c.t.Helper()
	items := c.Must(http.MethodGet, "/audit-events?order=newest&limit=1&action=grant.approved", nil)["items"].([]any)
	if len(items) != 1 {
		c.t.Fatalf("approvals: %v", items)
	}
	return items[0].(map[string]any)["detail"].(map[string]any)
}

// explain is what the policies are said to decide on admin:write for a user: the
// policy that allows it, and how many were asked.
func (c *chancellery) explain(userID string) (allowedBy any, asked int) {
	c.t.Helper()
	query := url.Values{"user_id": {userID}, "client_id": {c.clientID}, "resource_id": {storage.AdminResourceID}, "scope": {storage.ScopeAdminWrite}}
	scope := c.Must(http.MethodGet, "/policy-explanation?"+query.Encode(), nil)["scopes"].([]any)[0].(map[string]any)
	return scope["policy"], len(scope["policies"].([]any))
}

// Policies neither lock the administrators out nor let anybody else administer.
func TestPoliciesDoNotDecideOnTheAdministration(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		c := newChancellery(t, open(t))
		bobID := c.Must(http.MethodGet, "/users?username=bob", nil)["items"].([]any)[0].(map[string]any)["id"].(string)
		for _, p := range c.Must(http.MethodGet, "/policies", nil)["items"].([]any) {
			c.Must(http.MethodDelete, "/policies/"+p.(map[string]any)["id"].(string), nil)
		}
		tokens := c.signIn()
		if detail := c.lastApproval(); detail["policies"] != administratorsOnly || detail["consent"] != nil {
			t.Errorf("the approval was recorded as %v", detail)
		}
		tokens = wantTokens(t, c.Refresh(c.clientID, tokens.refresh))
		c.want(tokens.access, http.MethodGet, "/policies", "", http.StatusOK, "")

		c.Must(http.MethodPost, "/policies", servertest.Object{"name": "All to all", "clients": []string{c.clientID}})
		c.want(tokens.access, http.MethodPost, "/policies", `{"name":"None asked","resources":["`+c.resource+`"],"skip_consent":true}`, http.StatusBadRequest, "invalid")
		c.want(tokens.access, http.MethodPost, "/policies", `{"name":"Let in","scopes":["admin:write"]}`, http.StatusBadRequest, "invalid")
		if page := c.ada.Authorize(c.request()); !page.IsConsent() {
			t.Errorf("ada is not asked: %d, left for %v", page.Status, page.Left)
		}
		if page := c.SignedIn("bob").Authorize(c.request()); page.Left == nil || page.Left.Query().Get("error") != "access_denied" {
			t.Errorf("bob ends at %d, left for %v", page.Status, page.Left)
		}
		if by, asked := c.explain(c.adaID); by != administratorsOnly || asked != 1 {
			t.Errorf("ada may by %v, one of %d rules", by, asked)
		}
		if by, asked := c.explain(bobID); by != nil || asked != 1 {
			t.Errorf("bob may by %v, one of %d rules", by, asked)
		}

		// No request to the rule's id changes it: it is nowhere.
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			c.want(tokens.access, method, "/policies/pol_00000000000000000000000001", "", http.StatusNotFound, "not-found")
		}
	})
}

// A person finds their sign-in to the administration on the account page while it lasts,
// and can end it there.
func TestAccountShowsTheSignInToTheAdministration(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		c := newChancellery(t, open(t))
		shown := func() *servertest.Page {
			t.Helper()
			return c.ada.Get(c.URL + "/account")
		}
		const name = "the administration of this server"
		const none = "No application has access in your name."
		tokens := c.signIn()
		page := shown()
		if !strings.Contains(page.Body, name) || !strings.Contains(page.Body, "Last used") {
			t.Errorf("the account page does not have it:\n%s", page.Body)
		}
		// Signed out with "grantd logout": only the bare approval is left, which is asked for again.
		c.Post("/revoke", servertest.Form("token", tokens.refresh, "client_id", c.clientID), "")
		if page := shown(); !strings.Contains(page.Body, none) {
			t.Errorf("the account page still has it:\n%s", page.Body)
		}

		tokens = c.signIn()
		page = shown()
		for _, link := range page.Links() {
			if strings.Contains(link, "/account/revoke?grant=grt_") {
				page = c.ada.Get(c.Origin + link)
				break
			}
		}
		c.ada.Post(page.Action(), page.Fields())
		c.want(tokens.access, http.MethodGet, "/clients", "", http.StatusUnauthorized, "unauthorized")
		if page := shown(); !strings.Contains(page.Body, none) {
			t.Errorf("the account page still has it:\n%s", page.Body)
		}
	})
}
