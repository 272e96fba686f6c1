package server_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// stepUpRequest asks for two factors.
func stepUpRequest(o *office) string {
	request := servertest.AuthorizationRequest(o.clientID, loopback, resourceURI)
	return changed(request, "acr_values", storage.ACRMultiFactor).Encode()
}

// RFC 9470 §5: acr_values adds the second factor to a sign-in with one, and to the
// same request.
func TestStepUp(t *testing.T) {
	o := newOffice(t)
	b := o.SignedIn("alice")
	phone, _ := o.enrolled(t)
	page := b.Get(o.URL + "/authorize?" + stepUpRequest(o))
	wantFactorAsked(t, page) // and no password: that was proved
	wantStatus(t, answer(b, page, "000000"), http.StatusUnauthorized)
	wantAsked(t, b.Authorize(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI)))
	wantAsked(t, answer(b, page, phone.code(o.Clock.Now())))
	// Nor is anything asked again.
	wantAsked(t, b.Get(o.URL+"/authorize?"+stepUpRequest(o)))
	// The page is of the session that it was shown to.
	other := o.Browser()
	if again := answer(other, page, phone.code(o.Clock.Now().Add(30*time.Second))); again.Status != http.StatusBadRequest || !again.IsLogin() {
		t.Errorf("in another browser: %d", again.Status)
	}
}

// Somebody without a second factor types the password again and sets one up.
func TestStepUpSetsOneUp(t *testing.T) {
	o := newOffice(t)
	b := o.SignedIn("alice")
	page := b.Get(o.URL + "/authorize?" + stepUpRequest(o))
	if !page.IsLogin() {
		t.Fatalf("%d at %s", page.Status, page.URL)
	}
	set := b.Post(page.Action(), servertest.Form("username", "alice", "password", servertest.Password))
	done := answer(b, set, appOf(t, set).code(o.Clock.Now()))
	if !codeOnPage.MatchString(done.Body) {
		t.Fatalf("%d\n%s", done.Status, done.Body)
	}
	wantAsked(t, b.Get(o.URL+"/authorize?"+stepUpRequest(o)))
}

func TestACRValues(t *testing.T) {
	o := newOffice(t)
	b := o.SignedIn("alice")
	for _, c := range []struct{ acr, prompt, outcome string }{
		{storage.ACRSingleFactor, "", "consent"},
		{storage.ACRSingleFactor + " " + storage.ACRMultiFactor, "", "consent"},
		{"urn:other " + storage.ACRSingleFactor, "", "consent"},
		{"urn:other " + storage.ACRMultiFactor, "", "login"},
		{"urn:other", "", "unmet_authentication_requirements"},
		{storage.ACRMultiFactor, "none", "login_required"},
	} {
		request := changed(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI), "acr_values", c.acr)
		if c.prompt != "" {
			request.Set("prompt", c.prompt)
		}
		page, outcome := b.Authorize(request), ""
		switch {
		case page.Left != nil:
			outcome = page.Left.Query().Get("error")
		case page.IsConsent():
			outcome = "consent"
		case page.IsLogin():
			outcome = "login"
		}
		if outcome != c.outcome {
			t.Errorf("%q, prompt %q: %q at %s", c.acr, c.prompt, outcome, page.URL)
		}
	}
	supported, _ := o.Get("/.well-known/oauth-authorization-server").JSON["acr_values_supported"].([]any)
	if len(supported) != 2 {
		t.Errorf("metadata: %v", supported)
	}
}

// RFC 9068 §2.2.1, RFC 9470 §6: tokens say how and when the person signed in who
// approved, also after a refresh.
func TestTokensSayHowThePersonSignedIn(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		request := servertest.AuthorizationRequest(o.clientID, loopback, resourceURI)
		check := func(token, acr string, at time.Time) {
			t.Helper()
			claims := servertest.Claims(token)
			amr, _ := claims["amr"].([]any)
			if claims["acr"] != acr || claims["auth_time"] != float64(at.Unix()) || slices.Contains(amr, "mfa") != (acr == storage.ACRMultiFactor) {
				t.Errorf("claims %v", claims)
			}
		}
		signedIn := o.Clock.Now()
		o.Clock.Advance(time.Minute)
		check(o.tokens(t).access, storage.ACRSingleFactor, signedIn)
		phone, _ := o.enrolled(t)
		b := o.Browser()
		wantAccount(t, answer(b, o.password(b, ""), phone.code(o.Clock.Now())))
		signedIn = o.Clock.Now()
		o.Clock.Advance(time.Minute)
		first := wantTokens(t, o.Redeem(o.clientID, b.Code(request)))
		check(first.access, storage.ACRMultiFactor, signedIn)
		o.Clock.Advance(time.Minute)
		check(wantTokens(t, o.Refresh(o.clientID, first.refresh)).access, storage.ACRMultiFactor, signedIn)
		identified := o.Redeem(o.clientID, b.Code(changed(request, "scope", "openid notes:read")))
		check(identified.JSON.String("id_token"), storage.ACRMultiFactor, signedIn)
		o.Clock.Advance(time.Minute)
		check(o.Refresh(o.clientID, identified.JSON.String("refresh_token")).JSON.String("id_token"), storage.ACRMultiFactor, signedIn)
	})
}

// What can destroy something is allowed with two factors, where the organisation says
// so, and by nobody else is one wanted.
func TestDestructiveScopesNeedASecondFactor(t *testing.T) {
	o := newOffice(t)
	const uri = "https://shredder.example/mcp"
	o.Must(http.MethodPost, "/resources", servertest.Object{"uri": uri, "name": "Shredder", "scopes": []servertest.Object{
		{"name": "look", "description": "Look", "risk": "read"}, {"name": "shred", "description": "Shred", "risk": "destructive"},
	}})
	o.Must(http.MethodPost, "/groups", servertest.Object{"name": "shredders"})
	o.Must(http.MethodPost, "/policies", servertest.Object{"name": "Shredding", "groups": []string{"shredders"}, "resources": []string{uri}, "scopes": []string{"look", "shred"}})
	o.Must(http.MethodPatch, "/sign-in-policy", servertest.Object{"destructive_scopes": "second_factor"})
	request := servertest.AuthorizationRequest(o.clientID, loopback, uri)
	b := o.SignedIn("alice")
	wantAsked(t, b.Authorize(request)) // she may not shred, and so nothing is wanted
	o.change(t, servertest.Object{"groups": []string{"shredders"}})
	wantAsked(t, b.Authorize(changed(request, "scope", "look")))
	if page := b.Authorize(request); !page.IsLogin() {
		t.Fatalf("%d at %s", page.Status, page.URL)
	}
	phone, _ := o.enrolled(t)
	page := b.Authorize(request)
	wantFactorAsked(t, page)
	wantAsked(t, answer(b, page, phone.code(o.Clock.Now())))
}
