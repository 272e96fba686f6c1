package storagetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var registrationRequestContracts = []contract{
	{"a request comes back with who asked", requestRoundTrip},
	{"asking twice folds", requestFolds},
	{"forty people ask for one client at once", requestRace},
	{"one person's requests are bounded, in a race too", requestBoundOfUser},
	{"the queue is bounded", requestBound},
	{"a request that is not there is not found", requestNotFound},
	{"a decision stands until the next", requestDecided},
	{"a decision on a host is the policy's", requestDecidedForHost},
	{"a dynamic client that moved is asked for again", requestReopened},
	{"lists go by id, by state, a page at a time", requestPages},
	{"a deleted user has asked for nothing", requestOfDeletedUser},
	{"the sweep keeps what waits and what was allowed", requestSweep},
}

func asking(t testing.TB, s storage.Store, r *storage.RegistrationRequest, userID string) error {
	t.Helper()
	return s.AskRegistration(t.Context(), r, userID, RequestLimits, Event("registration_request.created", r.ClientID))
}

func newUser(t testing.TB, s storage.Store) *storage.User {
	t.Helper()
	u := NewUser()
	want(t, s.CreateUser(t.Context(), u, Event("user.created", u.ID)), nil)
	return u
}

func readRequest(t testing.TB, s storage.Store, id string) *storage.RegistrationRequest {
	t.Helper()
	r, err := s.RegistrationRequest(t.Context(), id)
	want(t, err, nil)
	return r
}

func requestRoundTrip(t *testing.T, s storage.Store) {
	u := newUser(t, s)
	r := NewRegistrationRequest()
	r.ClientName = "T\u00f6\u00f6l <b>"
	want(t, asking(t, s, r, u.ID), nil)
	r.Asked = 1
	r.AskedBy = []storage.Asker{{UserID: u.ID, Username: u.Username, At: Now}}
	if diff := cmp.Diff(r, readRequest(t, s, r.ID)); diff != "" {
		t.Errorf("request (-stored +read):\n%s", diff)
	}
	got, asked, err := s.RegistrationRequestOf(t.Context(), r.ClientID, u.ID)
	want(t, err, nil)
	if got.ID != r.ID || got.Asked != 1 || !asked || got.State != storage.RequestPending {
		t.Errorf("by its client_id it is %+v, asked by its asker: %t", got, asked)
	}
	if _, asked, err = s.RegistrationRequestOf(t.Context(), r.ClientID, "usr_other"); err != nil || asked {
		t.Errorf("another has asked: %t, %v", asked, err)
	}
}

func requestFolds(t *testing.T, s storage.Store) {
	u, v := newUser(t, s), newUser(t, s)
	r := NewRegistrationRequest()
	want(t, asking(t, s, r, u.ID), nil)
	before := len(events(t, s))
	again := *r
	again.ID, again.ClientName = storage.NewID(storage.PrefixRegistrationRequest), "Another claim"
	want(t, asking(t, s, &again, u.ID), nil)
	if again.ID != r.ID || len(events(t, s)) != before {
		t.Errorf("asking twice made request %s beside %s, or an event", again.ID, r.ID)
	}
	again.CreatedAt = Now.Add(time.Minute)
	want(t, asking(t, s, &again, v.ID), nil)
	if len(events(t, s)) != before+1 {
		t.Error("a second person asks without an event")
	}
	got := readRequest(t, s, r.ID)
	askers := []storage.Asker{{UserID: u.ID, Username: u.Username, At: Now}, {UserID: v.ID, Username: v.Username, At: Now.Add(time.Minute)}}
	if diff := cmp.Diff(askers, got.AskedBy); diff != "" {
		t.Errorf("who asked (-want +got):\n%s", diff)
	}
	// What waits for a decision does not change under the eyes of who decides.
	if got.ClientName != r.ClientName || got.Asked != 2 {
		t.Errorf("the request became %+v", got)
	}
}

func requestRace(t *testing.T, s storage.Store) {
	r := NewRegistrationRequest()
	users := make([]*storage.User, racers)
	for i := range users {
		users[i] = newUser(t, s)
	}
	errs := race(racers, func(i int) error {
		mine := *r
		mine.ID = storage.NewID(storage.PrefixRegistrationRequest)
		return asking(t, s, &mine, users[i].ID)
	})
	wantWinners(t, errs, racers, nil)
	all, err := s.RegistrationRequests(t.Context(), "", storage.Page{Limit: 10})
	want(t, err, nil)
	if len(all) != 1 || all[0].Asked != racers || len(all[0].AskedBy) != storage.MaxAskedBy {
		t.Errorf("%d requests for one client, the first %+v", len(all), all[0])
	}
}

func requestBoundOfUser(t *testing.T, s storage.Store) {
	u := newUser(t, s)
	errs := race(racers, func(int) error { return asking(t, s, NewRegistrationRequest(), u.ID) })
	wantWinners(t, errs, RequestLimits.OfUser, storage.ErrFull)
	// What others asked for counts as well.
	r := NewRegistrationRequest()
	want(t, asking(t, s, r, newUser(t, s).ID), nil)
	want(t, asking(t, s, r, u.ID), storage.ErrFull)
	// What is decided no longer does.
	waiting, err := s.RegistrationRequests(t.Context(), storage.RequestPending, storage.Page{Limit: 1})
	want(t, err, nil)
	want(t, s.DecideRegistration(t.Context(), waiting[0].ID, storage.RegistrationDecision{At: Now}, Event("registration_request.refused", "")), nil)
	want(t, asking(t, s, r, u.ID), nil)
}

func requestBound(t *testing.T, s storage.Store) {
	first := NewRegistrationRequest()
	var u *storage.User
	for i := range RequestLimits.Pending {
		if i%RequestLimits.OfUser == 0 {
			u = newUser(t, s)
		}
		r := first
		if i > 0 {
			r = NewRegistrationRequest()
		}
		want(t, asking(t, s, r, u.ID), nil)
	}
	u = newUser(t, s)
	want(t, asking(t, s, NewRegistrationRequest(), u.ID), storage.ErrFull)
	want(t, asking(t, s, first, u.ID), nil) // it takes no more room
}

func requestNotFound(t *testing.T, s storage.Store) {
	_, err := s.RegistrationRequest(t.Context(), "req_none")
	want(t, err, storage.ErrNotFound)
	_, _, err = s.RegistrationRequestOf(t.Context(), "none", "usr_none")
	want(t, err, storage.ErrNotFound)
	want(t, asking(t, s, NewRegistrationRequest(), "usr_none"), storage.ErrNotFound)
	want(t, s.DecideRegistration(t.Context(), "req_none", storage.RegistrationDecision{At: Now, Host: "a.example"}, Event("e", "")), storage.ErrNotFound)
	want(t, s.DeleteRegistrationRequest(t.Context(), "req_none", Event("e", "")), storage.ErrNotFound)
	p, err := s.RegistrationPolicy(t.Context())
	want(t, err, nil)
	if len(p.Hosts) != 0 || p.Version != 1 {
		t.Errorf("a decision that failed left %+v", p)
	}
}

func requestDecided(t *testing.T, s storage.Store) {
	u := newUser(t, s)
	r := NewRegistrationRequest()
	want(t, asking(t, s, r, u.ID), nil)
	for i, allowed := range []bool{true, false, true} {
		at := Now.Add(time.Duration(i+1) * time.Minute)
		want(t, s.DecideRegistration(t.Context(), r.ID, storage.RegistrationDecision{Allowed: allowed, At: at}, Event("registration_request.decided", r.ID)), nil)
		got := readRequest(t, s, r.ID)
		state := storage.RequestRefused
		if allowed {
			state = storage.RequestAllowed
		}
		if got.State != state || !got.DecidedAt.Equal(at) {
			t.Errorf("decided %t at %s, it is %s since %s", allowed, at, got.State, got.DecidedAt)
		}
		want(t, asking(t, s, r, newUser(t, s).ID), storage.ErrConflict)
	}
	want(t, s.DeleteRegistrationRequest(t.Context(), r.ID, Event("registration_request.deleted", r.ID)), nil)
	want(t, asking(t, s, r, u.ID), nil)
}

func requestDecidedForHost(t *testing.T, s storage.Store) {
	u := newUser(t, s)
	r, same, decided, other := NewRegistrationRequest(), NewRegistrationRequest(), NewRegistrationRequest(), NewRegistrationRequest()
	for _, r := range []*storage.RegistrationRequest{r, same, decided, other} {
		want(t, asking(t, s, r, u.ID), nil)
	}
	want(t, s.DecideRegistration(t.Context(), decided.ID, storage.RegistrationDecision{At: Now}, Event("registration_request.refused", "")), nil)
	for _, test := range []struct {
		allowed  bool
		decision storage.RegistrationMode
	}{{true, storage.RegistrationAllow}, {false, storage.RegistrationOff}} {
		d := storage.RegistrationDecision{Allowed: test.allowed, At: Now, Host: "tool.example", Others: []string{same.ID, decided.ID, "req_none"}}
		want(t, s.DecideRegistration(t.Context(), r.ID, d, Event("registration_request.decided", r.ID)), nil)
		p, err := s.RegistrationPolicy(t.Context())
		want(t, err, nil)
		if diff := cmp.Diff([]storage.HostDecision{{Host: "tool.example", Decision: test.decision}}, p.Hosts); diff != "" || p.Version < 2 {
			t.Errorf("version %d, hosts (-want +got):\n%s", p.Version, diff)
		}
	}
	for id, state := range map[string]storage.RegistrationRequestState{
		r.ID: storage.RequestRefused, same.ID: storage.RequestAllowed, decided.ID: storage.RequestRefused, other.ID: storage.RequestPending,
	} {
		if got := readRequest(t, s, id); got.State != state {
			t.Errorf("request for %s is %s, want %s", got.ClientID, got.State, state)
		}
	}
}

func requestReopened(t *testing.T, s storage.Store) {
	u, v := newUser(t, s), newUser(t, s)
	r := NewRegistrationRequest()
	r.Source, r.ClientID = storage.SourceDynamic, "cl_dynamic"
	want(t, asking(t, s, r, u.ID), nil)
	allow := func() {
		t.Helper()
		want(t, s.DecideRegistration(t.Context(), r.ID, storage.RegistrationDecision{Allowed: true, At: Now}, Event("registration_request.allowed", r.ID)), nil)
	}
	allow()
	moved := *r
	moved.ID = storage.NewID(storage.PrefixRegistrationRequest)
	moved.RedirectURIs, moved.CreatedAt = []string{"https://elsewhere.example/"}, Now.Add(time.Hour)
	want(t, asking(t, s, &moved, v.ID), nil)
	got := readRequest(t, s, r.ID)
	moved.Asked, moved.AskedBy = 1, []storage.Asker{{UserID: v.ID, Username: v.Username, At: moved.CreatedAt}}
	if diff := cmp.Diff(&moved, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	// Neither a refused one nor one known by its document comes back.
	want(t, s.DecideRegistration(t.Context(), r.ID, storage.RegistrationDecision{At: Now}, Event("registration_request.refused", r.ID)), nil)
	want(t, asking(t, s, r, u.ID), storage.ErrConflict)
	document := NewRegistrationRequest()
	want(t, asking(t, s, document, u.ID), nil)
	want(t, s.DecideRegistration(t.Context(), document.ID, storage.RegistrationDecision{Allowed: true, At: Now}, Event("registration_request.allowed", "")), nil)
	document.RedirectURIs = []string{"https://elsewhere.example/"}
	want(t, asking(t, s, document, u.ID), storage.ErrConflict)
}

func requestPages(t *testing.T, s storage.Store) {
	u := newUser(t, s)
	var all []string
	for i := range 6 {
		r := NewRegistrationRequest()
		r.ID = fmt.Sprintf("req_%d", i)
		want(t, asking(t, s, r, u.ID), nil)
		all = append(all, r.ID)
	}
	want(t, s.DecideRegistration(t.Context(), all[1], storage.RegistrationDecision{At: Now}, Event("registration_request.refused", "")), nil)
	for state, expected := range map[storage.RegistrationRequestState][]string{
		"":                     all,
		storage.RequestPending: {all[0], all[2], all[3], all[4], all[5]},
		storage.RequestRefused: {all[1]},
		storage.RequestAllowed: nil,
	} {
		var got []string
		for after := ""; ; {
			page, err := s.RegistrationRequests(t.Context(), state, storage.Page{After: after, Limit: 2})
			want(t, err, nil)
			if len(page) == 0 {
				break
			}
			for _, r := range page {
				got = append(got, r.ID)
			}
			after = got[len(got)-1]
		}
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Errorf("requests in state %q (-want +got):\n%s", state, diff)
		}
	}
}

func requestOfDeletedUser(t *testing.T, s storage.Store) {
	u := newUser(t, s)
	r := NewRegistrationRequest()
	want(t, asking(t, s, r, u.ID), nil)
	want(t, s.DeleteUser(t.Context(), u.ID, storage.AnyVersion, Event("user.deleted", u.ID)), nil)
	if got := readRequest(t, s, r.ID); got.Asked != 0 || len(got.AskedBy) != 0 {
		t.Errorf("asked for by somebody who is gone: %+v", got)
	}
}

func requestSweep(t *testing.T, s storage.Store) {
	u := newUser(t, s)
	request := func(source storage.ClientSource, asked time.Time, state storage.RegistrationRequestState, decided time.Time) *storage.RegistrationRequest {
		t.Helper()
		r := NewRegistrationRequest()
		r.CreatedAt, r.Source = asked, source
		if source == storage.SourceDynamic {
			c := NewDynamicClient()
			want(t, s.CreateClient(t.Context(), c, Event("client.created", c.ID)), nil)
			r.ClientID = c.ClientID
		}
		want(t, asking(t, s, r, u.ID), nil)
		if state != storage.RequestPending {
			d := storage.RegistrationDecision{Allowed: state == storage.RequestAllowed, At: decided}
			want(t, s.DecideRegistration(t.Context(), r.ID, d, Event("registration_request.decided", r.ID)), nil)
		}
		return r
	}
	now := Now.Add(2 * storage.RequestLifetime)
	past, recent := now.Add(-storage.RequestLifetime), now.Add(-storage.RequestLifetime+step)
	const dynamic, document = storage.SourceDynamic, storage.SourceMetadataDocument
	kept := []*storage.RegistrationRequest{
		request(dynamic, recent, storage.RequestPending, now),
		request(dynamic, Now, storage.RequestAllowed, recent),
		request(document, recent, storage.RequestPending, now),
		request(document, Now, storage.RequestAllowed, Now),
		request(document, Now, storage.RequestRefused, Now),
	}
	gone := []*storage.RegistrationRequest{
		request(dynamic, Now, storage.RequestAllowed, past), // never used since, so the client goes and its request with it
		request(dynamic, Now, storage.RequestRefused, recent),
		request(document, past, storage.RequestPending, now),
	}
	for {
		n, err := s.Sweep(t.Context(), now, unused, 100)
		want(t, err, nil)
		if n == 0 {
			break
		}
	}
	for _, r := range kept {
		readRequest(t, s, r.ID)
		if r.Source == dynamic {
			if _, err := s.ClientByClientID(t.Context(), r.ClientID); err != nil {
				t.Errorf("the client that is asked for: %v", err)
			}
		}
	}
	for _, r := range gone {
		if _, err := s.RegistrationRequest(t.Context(), r.ID); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("a %s request, asked at %s, is still there: %v", r.Source, r.CreatedAt, err)
		}
	}
}
