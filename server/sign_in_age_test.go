package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"grantd/server/servertest"
	"grantd/storage"
)

// wantFactorKept fails if the session, stolen perhaps, can take the second factor away.
func (o *office) wantFactorKept(t testing.TB, b *servertest.Browser) {
	t.Helper()
	page := b.Get(o.URL + "/account/security")
	for _, act := range []string{"remove_totp", "new_codes"} {
		if asked := b.Post(o.URL+"/account/security", servertest.Form("page", page.Fields().Get("page"), "act", act)); !asked.IsLogin() {
			t.Errorf("%s: %d at %s", act, asked.Status, asked.URL)
		}
	}
}

// Whoever has an old session and one code has not signed in anew: neither max_age nor
// the account takes it for that (OpenID Connect Core §2, auth_time).
func TestStepUpIsNoNewSignIn(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		b, signedIn := o.SignedIn("alice"), o.Clock.Now()
		phone, _ := o.enrolled(t)
		o.Clock.Advance(time.Hour)
		page := answer(b, b.Get(o.URL+"/authorize?"+stepUpRequest(o)), phone.code(o.Clock.Now()))
		wantAsked(t, page)
		tokens := wantTokens(t, o.Redeem(o.clientID, b.Approve(page).Left.Query().Get("code")))
		claims := servertest.Claims(tokens.access)
		if claims["acr"] != storage.ACRMultiFactor || claims["auth_time"] != float64(signedIn.Unix()) {
			t.Errorf("claims %v, signed in at %d", claims, signedIn.Unix())
		}
		o.wantFactorKept(t, b)
		late := b.Authorize(changed(servertest.AuthorizationRequest(o.clientID, loopback, resourceURI), "max_age", "600"))
		if !late.IsLogin() {
			t.Errorf("max_age is met: %d at %s", late.Status, late.URL)
		}
	})
}

// A new password was chosen with the old one alone: that proves no second factor anew.
func TestANewPasswordProvesNoSecondFactor(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		o := newOffice(t, servertest.WithStore(open(t)))
		phone, _ := o.enrolled(t)
		b := o.Browser()
		wantAccount(t, answer(b, o.password(b, ""), phone.code(o.Clock.Now())))
		o.Clock.Advance(11 * time.Minute)
		page := b.Get(o.URL + "/account/password")
		done := b.Post(page.Action(), changed(page.Fields(), "current", servertest.Password, "password", chosenPassword, "again", chosenPassword))
		if !strings.Contains(done.Body, "Your password is changed.") {
			t.Fatalf("%d %s", done.Status, done.Body)
		}
		o.wantFactorKept(t, b)
	})
}

// LG-04: guesses of the current password that are sent at once are no more than ten.
func TestLG04GuessesOfTheCurrentPasswordAtOnce(t *testing.T) {
	o := newOffice(t)
	page := o.alice.Get(o.URL + "/account/password")
	form := changed(page.Fields(), "current", "wrong", "password", chosenPassword, "again", chosenPassword).Encode()
	statuses := make([]int, 30)
	race(len(statuses), func(i int) {
		statuses[i] = o.alice.Send(http.MethodPost, page.Action(), form, http.Header{"Content-Type": {formType}}).Status
	})
	count := map[int]int{}
	for _, status := range statuses {
		count[status]++
	}
	if count[http.StatusUnauthorized] > 10 || count[http.StatusUnauthorized] == 0 || count[http.StatusUnauthorized]+count[http.StatusTooManyRequests]+count[http.StatusServiceUnavailable] != len(statuses) {
		t.Errorf("answers by status: %v", count)
	}
}
