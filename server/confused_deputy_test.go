package server_test

import (
	"strings"
	"testing"

	"grantd/server/servertest"
)

// CS-10: a client that registered itself with an attacker's redirect finds a person
// who is signed in and has approved others, even the same server for the same name.
// It gets a consent page of its own each time, and nothing goes to it before.
func TestCS10ConfusedDeputy(t *testing.T) {
	f := newFront(t)
	wantCode(t, f.alice.Approve(f.alice.Authorize(f.ask()))) // remembered from here on
	wantCode(t, f.alice.Authorize(f.ask()))
	wantCode(t, f.alice.Approve(f.alice.Authorize(f.askDynamic())))
	const evil = "https://attacker.example/callback"
	id := f.registered(t, `{"client_name":"Dynamic","token_endpoint_auth_method":"none","redirect_uris":["`+evil+`"]}`).String("client_id")
	request := servertest.AuthorizationRequest(id, evil, resourceURI)
	f.quiet(t, func() {
		for range 2 {
			page := f.alice.Authorize(request)
			wantAsked(t, page)
			if !strings.Contains(page.Body, "attacker.example") {
				t.Error("the page does not say where access goes")
			}
		}
		if page := f.alice.Authorize(changed(request, "prompt", "none")); page.Left != nil {
			t.Errorf("without a page the browser went to %s", page.Left)
		}
		if page := f.Browser().Authorize(request); !page.IsLogin() {
			t.Errorf("a stranger gets %d at %s, left for %v", page.Status, page.URL, page.Left)
		}
	})
	// A yes for it is one for this once.
	wantCode(t, f.alice.Approve(f.alice.Authorize(request)))
	wantAsked(t, f.alice.Authorize(request))
}
