package storagetest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var pushedRequestContracts = []contract{
	{"a pushed request comes back", pushedRequestRoundTrip},
	{"a pushed request needs its client", pushedRequestNeeds},
	{"each client has a cap on pushed requests", pushedRequestCap},
	{"an approval decides a pushed request", pushedRequestApproved},
	{"a remembered approval decides a pushed request", pushedRequestRemembered},
	{"a denial decides a pushed request", pushedRequestDenied},
	{"a denial needs user, client and resource", pushedRequestDenialNeeds},
	{"approvals and denials of one pushed request race", pushedRequestRace},
	{"pushing at once stops at the cap", pushedRequestCapRace},
}

// push stores a request of the fixture's client.
func (f *Fixture) push(t testing.TB) *storage.PushedRequest {
	t.Helper()
	p := f.NewPushedRequest()
	want(t, f.Store.CreatePushedRequest(t.Context(), p, 1000), nil)
	return p
}

// approvalOf is an approval of the fixture's person that decides the request.
func (f *Fixture) approvalOf(p *storage.PushedRequest) *storage.Approval {
	a := f.NewApproval("files:read")
	a.Code.ID = p.CodeID()
	return a
}

func wantDecided(t testing.TB, s storage.Store, p *storage.PushedRequest, decided bool) {
	t.Helper()
	got, err := s.PushedRequest(t.Context(), p.ID)
	want(t, err, nil)
	if got.Decided != decided {
		t.Errorf("decided is %v, want %v", got.Decided, decided)
	}
}

func pushedRequestRoundTrip(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	p := f.NewPushedRequest()
	_, err := s.PushedRequest(t.Context(), p.ID)
	want(t, err, storage.ErrNotFound)
	want(t, s.CreatePushedRequest(t.Context(), p, 1), nil)
	got, err := s.PushedRequest(t.Context(), p.ID)
	want(t, err, nil)
	if diff := cmp.Diff(p, got); diff != "" {
		t.Errorf("PushedRequest (-stored +read):\n%s", diff)
	}
	want(t, s.CreatePushedRequest(t.Context(), p, 100), storage.ErrExists)
	for _, odd := range []string{"", "par_", p.CodeID(), "par_\x00", "par_0000000000000000000000000\xff"} {
		_, err := s.PushedRequest(t.Context(), odd)
		want(t, err, storage.ErrNotFound)
	}

	want(t, s.DeleteClient(t.Context(), f.Client.ID, storage.AnyVersion, Event("client.deleted", f.Client.ID)), nil)
	_, err = s.PushedRequest(t.Context(), p.ID)
	want(t, err, storage.ErrNotFound)
}

func pushedRequestNeeds(t *testing.T, s storage.Store) {
	p := NewFixture(t, s).NewPushedRequest()
	p.ClientID = "cl_none"
	want(t, s.CreatePushedRequest(t.Context(), p, 100), storage.ErrNotFound)
	_, err := s.PushedRequest(t.Context(), p.ID)
	want(t, err, storage.ErrNotFound)
}

func pushedRequestCap(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	push := func(f *Fixture, maxKept int) (*storage.PushedRequest, error) {
		p := f.NewPushedRequest()
		return p, s.CreatePushedRequest(t.Context(), p, maxKept)
	}
	first, err := push(f, 2)
	want(t, err, nil)
	_, err = push(f, 2)
	want(t, err, nil)
	full, err := push(f, 2)
	want(t, err, storage.ErrFull)
	_, err = s.PushedRequest(t.Context(), full.ID)
	want(t, err, storage.ErrNotFound)
	_, err = push(f, 0)
	want(t, err, storage.ErrFull)
	_, err = push(other, 1) // a cap is the client's own
	want(t, err, nil)
	_, err = push(f, 3)
	want(t, err, nil)

	// What the next sweep deletes does not count, decided requests do.
	want(t, s.Approve(t.Context(), f.approvalOf(first), Event("grant.approved", "")), nil)
	late := f.NewPushedRequest()
	late.CreatedAt = first.ExpiresAt.Add(storage.PushedRequestGrace - step)
	late.ExpiresAt = late.CreatedAt.Add(storage.PushedRequestLifetime)
	want(t, s.CreatePushedRequest(t.Context(), late, 3), storage.ErrFull)
	late.CreatedAt = late.CreatedAt.Add(step)
	want(t, s.CreatePushedRequest(t.Context(), late, 1), nil)
}

func pushedRequestApproved(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	p, other := f.push(t), f.push(t)
	a := f.approvalOf(p)
	want(t, s.Approve(t.Context(), a, Event("grant.approved", a.Code.ID)), nil)
	wantDecided(t, s, p, true)
	wantDecided(t, s, other, false)

	want(t, s.Approve(t.Context(), f.approvalOf(p), Event("grant.approved", a.Code.ID)), storage.ErrConsumed)
	want(t, s.DenyPushedRequest(t.Context(), f.NewDenial(p)), storage.ErrConsumed)
	f.Redeem(t, &a.Code)
	// Taking the approval back does not bring the request back.
	want(t, s.DeleteGrant(t.Context(), f.Grant.ID, Event("grant.deleted", "")), nil)
	wantDecided(t, s, p, true)
	want(t, s.Approve(t.Context(), f.approvalOf(p), Event("grant.approved", a.Code.ID)), storage.ErrConsumed)
}

func pushedRequestRemembered(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	p := f.push(t)
	remembered := func() *storage.AuthorizationCode {
		c := f.NewCode("files:read")
		c.ID, c.GrantID = p.CodeID(), f.Grant.ID
		return c
	}
	want(t, s.CreateCode(t.Context(), remembered(), f.Session.ID), nil)
	wantDecided(t, s, p, true)
	want(t, s.CreateCode(t.Context(), remembered(), f.Session.ID), storage.ErrConsumed)
	want(t, s.Approve(t.Context(), f.approvalOf(p), Event("grant.approved", "")), storage.ErrConsumed)
}

func pushedRequestDenied(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	p := f.push(t)
	denied := f.NewDenial(p)
	want(t, s.DenyPushedRequest(t.Context(), denied), nil)
	wantDecided(t, s, p, true)
	want(t, s.DenyPushedRequest(t.Context(), f.NewDenial(p)), storage.ErrConsumed)

	// A denial is no code, and no later yes goes past it.
	family := NewFamily(denied)
	family.GrantID = f.Grant.ID
	want(t, s.RedeemCode(t.Context(), denied.ID, family), storage.ErrConsumed)
	code, standing, err := s.Code(t.Context(), denied.ID)
	want(t, err, nil)
	if code.GrantID != "" || standing.Scopes != nil || len(code.Scopes) != 0 {
		t.Errorf("a denial is a code of Grant %q with scopes %q, the Grant's are %q", code.GrantID, code.Scopes, standing.Scopes)
	}
	a := f.approvalOf(p)
	a.Code.Scopes, a.Shown = []string{"files:delete"}, []string{"files:delete"}
	want(t, s.Approve(t.Context(), a, Event("grant.approved", "")), storage.ErrConsumed)
	if diff := cmp.Diff(f.Grant, grantOf(t, s, f.User.ID, f.Client.ID, f.Resource.ID)); diff != "" {
		t.Errorf("grant (-before +after):\n%s", diff)
	}
}

func pushedRequestDenialNeeds(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	for name, spoil := range map[string]func(c *storage.AuthorizationCode){
		"user":     func(c *storage.AuthorizationCode) { c.UserID = "usr_none" },
		"client":   func(c *storage.AuthorizationCode) { c.ClientID = "cl_none" },
		"resource": func(c *storage.AuthorizationCode) { c.ResourceID = "res_none" },
	} {
		t.Run(name, func(t *testing.T) {
			p := f.push(t)
			denied := f.NewDenial(p)
			spoil(denied)
			want(t, s.DenyPushedRequest(t.Context(), denied), storage.ErrNotFound)
			wantDecided(t, s, p, false)
		})
	}
}

func pushedRequestRace(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	for range rounds {
		p := f.push(t)
		errs := race(12, func(i int) error {
			switch i % 4 {
			case 0:
				return s.Approve(t.Context(), f.approvalOf(p), Event("grant.approved", ""))
			case 1: // another person, who has the same link
				a := other.approvalOf(p)
				a.Code.ClientID, a.Code.ResourceID = f.Client.ID, f.Resource.ID
				return s.Approve(t.Context(), a, Event("grant.approved", ""))
			case 2:
				c := f.NewCode("files:read")
				c.ID, c.GrantID = p.CodeID(), f.Grant.ID
				return s.CreateCode(t.Context(), c, f.Session.ID)
			default:
				return s.DenyPushedRequest(t.Context(), f.NewDenial(p))
			}
		})
		wantWinners(t, errs, 1, storage.ErrConsumed)
		wantDecided(t, s, p, true)
	}
}

func pushedRequestCapRace(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	const cap = 5
	for _, err := range race(racers, func(int) error {
		return s.CreatePushedRequest(t.Context(), f.NewPushedRequest(), cap)
	}) {
		if err != nil {
			want(t, err, storage.ErrFull)
		}
	}
	want(t, s.CreatePushedRequest(t.Context(), f.NewPushedRequest(), cap), storage.ErrFull)
}
