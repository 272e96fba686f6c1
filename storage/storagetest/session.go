package storagetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/storage"
)

var sessionContracts = []contract{
	{"a sign-in tells session, user and grant", sessionSignIn},
	{"a sign-in without client or resource tells no grant", sessionSignInWithoutGrant},
	{"a session needs an enabled user", sessionUser},
	{"a session needs the password that was checked", sessionPassword},
	{"a user's live sessions are listed", sessionList},
	{"an id or token is taken once", sessionExists},
	{"a session ends when idle", sessionIdle},
	{"being seen is written once in a while", sessionTouch},
	{"a session ends for good after its lifetime", sessionLifetime},
	{"a deleted session is gone", sessionDeleted},
}

func sessionSignIn(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	all := storage.SignIn{Session: *f.Session, User: *f.User, Grant: f.Grant, ClientKnown: true}
	all.User.PasswordHash = ""
	for name, spare := range map[string]func(*storage.Look, *storage.SignIn){
		"all of it":               func(*storage.Look, *storage.SignIn) {},
		"without groups":          func(l *storage.Look, in *storage.SignIn) { l.Groups, in.User.Groups = false, nil },
		"without other approvals": func(l *storage.Look, in *storage.SignIn) { l.ClientKnown, in.ClientKnown = false, false },
		"without approvals": func(l *storage.Look, in *storage.SignIn) {
			*l, in.Grant, in.ClientKnown = storage.Look{Groups: true}, nil, false
		},
		"nothing": func(l *storage.Look, in *storage.SignIn) {
			*l, in.Grant, in.ClientKnown, in.User.Groups = storage.Look{}, nil, false, nil
		},
	} {
		look, expected := f.Look(), all
		spare(&look, &expected)
		expected.Look = look
		got, err := s.SignIn(t.Context(), f.Session.TokenHash, look, Now)
		want(t, err, nil)
		if diff := cmp.Diff(&expected, got, emptyIsNil); diff != "" {
			t.Errorf("SignIn, %s (-want +got):\n%s", name, diff)
		}
	}
	_, err := s.SignIn(t.Context(), []byte("no such hash"), f.Look(), Now)
	want(t, err, storage.ErrNotFound)
}

func sessionSignInWithoutGrant(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	for name, ask := range map[string]struct{ client, resource string }{
		"neither asked about":    {"", ""},
		"only the client":        {f.Client.ID, ""},
		"only the resource":      {"", f.Resource.ID},
		"another client":         {other.Client.ID, f.Resource.ID},
		"another resource":       {f.Client.ID, other.Resource.ID},
		"another user's":         {other.Client.ID, other.Resource.ID},
		"neither of them exists": {"cl_none", "res_none"},
	} {
		got, err := s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{ClientID: ask.client, ResourceID: ask.resource, ClientKnown: true}, Now)
		want(t, err, nil)
		if got.Grant != nil {
			t.Errorf("%s: grant %+v", name, got.Grant)
		}
		if known := ask.client == f.Client.ID || ask.client == other.Client.ID; got.ClientKnown != known {
			t.Errorf("%s: the client is known is %v", name, got.ClientKnown)
		}
	}
}

func sessionUser(t *testing.T, s storage.Store) {
	u := NewUser()
	want(t, s.CreateSession(t.Context(), NewSession(u.ID), Event("session.created", "")), storage.ErrNotFound)
	u.Disabled = true
	want(t, s.CreateUser(t.Context(), u, Event("user.created", u.ID)), nil)
	want(t, s.CreateSession(t.Context(), NewSession(u.ID), Event("session.created", "")), storage.ErrNotFound)
}

func sessionPassword(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	session := NewSession(f.User.ID)
	session.PasswordHash = f.User.PasswordHash
	want(t, s.CreateSession(t.Context(), session, Event("session.created", session.ID)), nil)
	f.User.PasswordHash = "$argon2id$changed-since"
	want(t, s.UpdateUser(t.Context(), f.User, Event("user.updated", f.User.ID)), nil)
	late := NewSession(f.User.ID)
	late.PasswordHash = session.PasswordHash
	want(t, s.CreateSession(t.Context(), late, Event("session.created", late.ID)), storage.ErrNotFound)
	_, err := s.SignIn(t.Context(), late.TokenHash, storage.Look{}, Now)
	want(t, err, storage.ErrNotFound)
}

func sessionList(t *testing.T, s storage.Store) {
	f, other := NewFixture(t, s), NewFixture(t, s)
	var stored []*storage.Session
	add := func(created, seen time.Time) *storage.Session {
		session := NewSession(f.User.ID)
		session.CreatedAt, session.LastSeenAt = created, seen
		session.UserAgent, session.Address = "Mozilla/5.0 (Täst)", "2001:db8::1"
		want(t, s.CreateSession(t.Context(), session, Event("session.created", session.ID)), nil)
		return session
	}
	want(t, s.DeleteSession(t.Context(), f.Session.ID, Event("session.deleted", f.Session.ID)), nil)
	for range 5 {
		stored = append(stored, add(Now, Now))
	}
	add(Now.Add(-storage.SessionLifetime), Now)
	add(Now.Add(-storage.SessionIdle), Now.Add(-storage.SessionIdle))
	signIn, err := s.SignIn(t.Context(), stored[0].TokenHash, storage.Look{}, Now)
	want(t, err, nil)
	if diff := cmp.Diff(stored[0], &signIn.Session); diff != "" {
		t.Errorf("SignIn (-want +got):\n%s", diff)
	}
	for _, session := range stored {
		session.TokenHash = nil
	}
	wantPages(t, stored, func(page storage.Page) ([]*storage.Session, error) {
		return s.UserSessions(t.Context(), f.User.ID, Now, page)
	}, func(s *storage.Session) string { return s.ID })
	others, err := s.UserSessions(t.Context(), other.User.ID, Now, storage.Page{Limit: 10})
	want(t, err, nil)
	if len(others) != 1 || others[0].ID != other.Session.ID {
		t.Errorf("another user's sessions: %v", others)
	}
}

func sessionExists(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	sameID, sameToken := NewSession(f.User.ID), NewSession(f.User.ID)
	sameID.ID = f.Session.ID
	sameToken.TokenHash = f.Session.TokenHash
	want(t, s.CreateSession(t.Context(), sameID, Event("session.created", "")), storage.ErrExists)
	want(t, s.CreateSession(t.Context(), sameToken, Event("session.created", "")), storage.ErrExists)
}

func sessionIdle(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	end := Now.Add(storage.SessionIdle)
	_, err := s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, end)
	want(t, err, storage.ErrNotFound)
	_, err = s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, end.Add(-step))
	want(t, err, nil)
	// That was being seen, so idleness counts anew.
	_, err = s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, end)
	want(t, err, nil)
}

func sessionTouch(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	seen := func(now time.Time) time.Time {
		t.Helper()
		// Asked a second time at once, nothing has to be written any more and the
		// row is told as it is.
		_, err := s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, now)
		want(t, err, nil)
		got, err := s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, now)
		want(t, err, nil)
		return got.Session.LastSeenAt
	}
	soon, due := Now.Add(storage.SessionTouch-step), Now.Add(storage.SessionTouch)
	if got := seen(soon); !got.Equal(Now) {
		t.Errorf("last seen %s, want it unwritten as %s", got, Now)
	}
	if got := seen(due); !got.Equal(due) {
		t.Errorf("last seen %s, want %s", got, due)
	}
	// A clock behind does not move it back.
	if got := seen(Now); !got.Equal(due) {
		t.Errorf("last seen %s by a clock behind, want %s", got, due)
	}
}

func sessionLifetime(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	end := Now.Add(storage.SessionLifetime)
	for now := Now; now.Before(end); now = now.Add(storage.SessionIdle / 2) {
		_, err := s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, now)
		want(t, err, nil)
	}
	_, err := s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, end.Add(-step))
	want(t, err, nil)
	_, err = s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, end)
	want(t, err, storage.ErrNotFound)
}

func sessionDeleted(t *testing.T, s storage.Store) {
	f := NewFixture(t, s)
	family := f.Redeem(t, f.Code)
	want(t, s.DeleteSession(t.Context(), f.Session.ID, Event("session.deleted", f.Session.ID)), nil)
	_, err := s.SignIn(t.Context(), f.Session.TokenHash, storage.Look{}, Now)
	want(t, err, storage.ErrNotFound)
	want(t, s.DeleteSession(t.Context(), f.Session.ID, Event("session.deleted", f.Session.ID)), storage.ErrNotFound)
	// Signing out of the browser signs no installation out.
	_, _, err = s.Family(t.Context(), family.ID)
	want(t, err, nil)
}
