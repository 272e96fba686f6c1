package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"grantd/server/servertest"
	"grantd/storage"
)

// approving is an office whose database does something at the moment before an approval
// is written.
type approving struct {
	*office
	store *unreliable
}

func newApproving(t *testing.T, database storage.Store) *approving {
	store := &unreliable{Store: database}
	return &approving{newOffice(t, servertest.WithStore(store)), store}
}

// meanwhile has each of the next approvals met by a change, in their order.
func (a *approving) meanwhile(changes ...func()) {
	a.store.set(func(call string) error {
		if call == "Approve" && len(changes) > 0 {
			change := changes[0]
			changes = changes[1:]
			change()
		}
		return nil
	}, nil)
}

// wantCalls checks how often an approval was tried, and a person looked up, since
// meanwhile.
func (a *approving) wantCalls(t *testing.T, approvals, looks int) {
	t.Helper()
	if got := a.store.count(); got["Approve"] != approvals || got["SignIn"] != looks {
		t.Errorf("an approval was tried %d times, want %d, and somebody looked up %d times, want %d", got["Approve"], approvals, got["SignIn"], looks)
	}
}

// change is something that an admin changes about alice.
func (a *approving) change(t *testing.T, fields servertest.Object) func() {
	return func() { a.Must(http.MethodPatch, "/users/"+a.find(t, "/users", "username", "alice"), fields) }
}

func (a *approving) ask(pairs ...string) *servertest.Page {
	return a.alice.Authorize(changed(servertest.AuthorizationRequest(a.clientID, loopback, resourceURI), pairs...))
}

// TestApprovalLooksNobodyUp: what a page says of its person is believed only as long as
// the statement that writes the approval proves it.
func TestApprovalLooksNobodyUp(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		a := newApproving(t, open(t))
		staff, nobody := func() { a.groups(t, "staff") }, func() { a.groups(t) }

		page := a.ask()
		a.meanwhile()
		wantCode(t, a.alice.Approve(page))
		a.wantCalls(t, 1, 0)

		page = a.ask()
		a.meanwhile(staff) // and the second attempt knows it
		wantCode(t, a.alice.Approve(page))
		a.wantCalls(t, 2, 1)

		page = a.ask()
		a.meanwhile(a.change(t, servertest.Object{"name": "Alice of Elsewhere"}))
		again := a.alice.Approve(page)
		wantAsked(t, again)
		wantSays(t, again, "Alice of Elsewhere", "had become out of date")

		a.meanwhile(nobody, a.change(t, servertest.Object{"name": "Alice of Nowhere"}))
		again = a.alice.Approve(again)
		wantAsked(t, again)
		wantSays(t, again, "Alice of Nowhere", "has just changed")
		a.meanwhile()
		wantCode(t, a.alice.Approve(again))

		page = a.ask()
		a.meanwhile(a.change(t, servertest.Object{"disabled": true}))
		if got := a.alice.Approve(page); !got.IsLogin() {
			t.Errorf("disabled while approving: %d at %s, left for %v", got.Status, got.URL, got.Left)
		}
	})
}

// TestApprovalAsksForGroups: a page that was made while no rule named a group does not
// say which the person is in.
func TestApprovalAsksForGroups(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		a := newApproving(t, open(t))
		a.risks(t)
		a.groups(t, "staff")
		page := a.ask("scope", "notes:read notes:purge")
		wantSays(t, page, "does not let you allow: <code>notes:purge</code>")
		a.rule(servertest.Object{"name": "Staff purge", "groups": []string{"staff"}, "scopes": []string{"notes:purge"}})
		again := a.alice.Approve(page)
		wantAsked(t, again)
		wantSays(t, again, "Staff purge")
		wantTokens(t, a.Redeem(a.clientID, wantCode(t, a.alice.Approve(again))))
	})
}

// TestDeviceMeetsAChange: who leaves a group at the moment of approving a device is told
// what holds by then.
func TestDeviceMeetsAChange(t *testing.T) {
	store := &unreliable{Store: servertest.SQLite(t)}
	k := newKiosk(t, servertest.WithStore(store))
	k.groups(t, "staff")
	k.rule(servertest.Object{"name": "Staff", "groups": []string{"staff"}})
	k.dropRule(t, everyone)
	page := k.alice.Device(k.ask(t).page)
	wantAsked(t, page)
	once := false
	store.set(func(call string) error {
		if call == "ApproveDeviceAuthorization" && !once {
			once = true
			k.groups(t)
		}
		return nil
	}, nil)
	wantStatus(t, k.alice.Approve(page), http.StatusForbidden)
}

// TestApprovalOfManyGroups: whose groups are too many for a page is looked up.
func TestApprovalOfManyGroups(t *testing.T) {
	a := newApproving(t, servertest.SQLite(t))
	a.rule(servertest.Object{"name": "Some", "groups": []string{"group 7"}, "scopes": []string{"notes:read"}})
	for n, looks := range map[int]int{50: 0, 51: 1} {
		var groups []string
		for i := range n {
			groups = append(groups, fmt.Sprintf("group %d", i))
		}
		a.groups(t, groups...)
		page := a.ask()
		a.meanwhile()
		wantCode(t, a.alice.Approve(page))
		a.wantCalls(t, 1, looks)
	}
}

// TestApprovalInAdvanceMeetsAChange: what a rule approves for somebody is not approved when
// they are another by then, and who wants no page gets none.
func TestApprovalInAdvanceMeetsAChange(t *testing.T) {
	a := newApproving(t, servertest.SQLite(t))
	a.rule(servertest.Object{
		"name": "Portal", "groups": []string{"staff"}, "clients": []string{a.web.id}, "resources": []string{resourceURI}, "skip_consent": true,
	})
	request := servertest.AuthorizationRequest(a.web.id, webCallback, resourceURI)
	leave := func() { a.groups(t) }
	for _, prompt := range []string{"", "none"} {
		a.groups(t, "staff")
		a.meanwhile(leave)
		answer := a.alice.Authorize(changed(request, "prompt", prompt))
		if prompt == "" {
			wantAsked(t, answer)
			continue
		}
		a.wantRedirectError(t, answer, webCallback, request.Get("state"), "consent_required")
	}
	a.groups(t, "staff")
	a.meanwhile()
	wantCode(t, a.alice.Authorize(changed(request, "prompt", "none")))
}

// TestApprovalNeedsAdmission: a client that administrators must allow first gets nothing
// from a page that was open before.
func TestApprovalNeedsAdmission(t *testing.T) {
	f := newFront(t)
	for _, mode := range []string{"ask_admin", "off"} {
		page := f.alice.Authorize(f.askDynamic())
		f.Must(http.MethodPatch, "/registration-policy", servertest.Object{"dynamic": mode})
		f.quiet(t, func() {
			if answer := f.alice.Approve(page); answer.Left != nil || answer.IsConsent() || strings.Contains(answer.Header.Get("Location"), "code=") {
				t.Errorf("%s: %d at %s, left for %v", mode, answer.Status, answer.URL, answer.Left)
			}
		})
		f.Must(http.MethodPatch, "/registration-policy", servertest.Object{"dynamic": "allow"})
		wantCode(t, f.alice.Approve(page))
	}
}
