package server_test

import (
	"net/http"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// shredder is an MCP server with a destructive scope that everybody may approve, and
// that until now nobody wants a second factor for.
func (o *office) shredder(t testing.TB) (uri string) {
	t.Helper()
	const at = "https://shredder.example/mcp"
	o.Must(http.MethodPost, "/resources", servertest.Object{"uri": at, "name": "Shredder", "scopes": []servertest.Object{
		{"name": "look", "description": "Look", "risk": "read"}, {"name": "shred", "description": "Shred", "risk": "destructive"},
	}})
	o.rule(servertest.Object{"name": "Shredding", "resources": []string{at}, "scopes": []string{"look", "shred"}})
	return at
}

// A second factor that is wanted now is wanted of what was approved before it was: an
// approval that is remembered or given in advance, a page left open, a pushed request
// and a device do not get around it.
func TestStepUpIsNotPassedBy(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		uri := o.shredder(t)
		device := o.DeviceClient().String("client_id")
		request := servertest.AuthorizationRequest(o.web.id, webCallback, uri)
		o.alice.Code(request)
		if page := o.alice.Authorize(request); page.Left == nil {
			t.Fatalf("the approval is not remembered: %d", page.Status)
		}
		public := servertest.AuthorizationRequest(o.clientID, loopback, uri)
		leftOpen := o.alice.Authorize(public)
		wantAsked(t, leftOpen)
		shown := o.DeviceAuthorization(device, "resource", uri).JSON
		asked := o.alice.Device(shown.String("verification_uri_complete"))
		wantAsked(t, asked)
		pushed := o.Post("/par", changed(public, "redirect_uri", loopback), "").JSON.String("request_uri")

		o.Must(http.MethodPatch, "/sign-in-policy", servertest.Object{"destructive_scopes": "second_factor"})
		if page := o.alice.Authorize(request); page.Left != nil || !page.IsLogin() {
			t.Errorf("remembered: %d, left for %v", page.Status, page.Left)
		}
		if page := o.alice.Authorize(changed(request, "prompt", "none")); page.Left == nil || page.Left.Query().Get("error") != "login_required" {
			t.Errorf("remembered, prompt=none: %d, left for %v", page.Status, page.Left)
		}
		if page := o.alice.Approve(leftOpen, "look", "shred"); page.Left != nil || !page.IsLogin() {
			t.Errorf("a page left open: %d, left for %v", page.Status, page.Left)
		}
		if page := o.alice.Authorize(servertest.Form("client_id", o.clientID, "request_uri", pushed)); page.Left != nil || !page.IsLogin() {
			t.Errorf("pushed: %d, left for %v", page.Status, page.Left)
		}
		if page := o.alice.Approve(asked, "look", "shred"); page.Status != http.StatusForbidden {
			t.Errorf("a device: %d", page.Status)
		}
		o.Clock.Advance(10 * time.Second)
		wantError(t, o.Poll(device, shown.String("device_code")), http.StatusBadRequest, "authorization_pending")
		o.Must(http.MethodPost, "/policies", servertest.Object{
			"name": "Shredding in advance", "resources": []string{uri}, "scopes": []string{"look", "shred"}, "clients": []string{o.web.id}, "skip_consent": true,
		})
		if page := o.alice.Authorize(request); page.Left != nil || !page.IsLogin() {
			t.Errorf("in advance: %d, left for %v", page.Status, page.Left)
		}
		// With the factor all of it goes on.
		phone, _ := o.enrolled(t)
		page := answer(o.alice, o.alice.Authorize(request), phone.code(o.Clock.Now()))
		if page.Left == nil && page.Status != http.StatusOK || page.IsLogin() {
			t.Errorf("with the factor: %d at %s", page.Status, page.URL)
		}
		// A scope that becomes destructive wants it too.
		b := o.approver(t, "bob")
		o.Must(http.MethodPatch, "/resources/"+o.find(t, "/resources", "uri", resourceURI), servertest.Object{"scopes": []servertest.Object{
			{"name": "notes:read", "description": "Read", "risk": "destructive"},
		}})
		o.rule(servertest.Object{"name": "Notes", "resources": []string{resourceURI}, "scopes": []string{"notes:read"}})
		if page := b.Authorize(servertest.AuthorizationRequest(o.web.id, webCallback, resourceURI)); page.Left != nil || !page.IsLogin() {
			t.Errorf("a scope that has become destructive: %d, left for %v", page.Status, page.Left)
		}
	})
}

// approver makes a person who has approved the confidential client.
func (o *office) approver(t testing.TB, username string) *servertest.Browser {
	t.Helper()
	o.User(username)
	b := o.SignedIn(username)
	b.Code(servertest.AuthorizationRequest(o.web.id, webCallback, resourceURI))
	return b
}
