package admin_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"grantd/api"
	"grantd/storage"
)

func TestUserLinks(t *testing.T) {
	s := newServer(t)
	id := create[api.User](s, "/admin/v1/users", `{"username":"bob","email":"bob@example.com"}`).ID
	path := "/admin/v1/users/" + id + "/links"
	invitation := create[api.UserLink](s, path, `{"purpose":"invitation"}`)
	reset := create[api.UserLink](s, path, `{"purpose":"password_reset"}`)
	short := create[api.UserLink](s, path, `{"purpose":"password_reset","expires_in":60}`)
	for _, c := range []struct {
		link     api.UserLink
		lifetime time.Duration
		lives    bool // until another one was made
	}{{invitation, 7 * 24 * time.Hour, false}, {reset, 24 * time.Hour, false}, {short, time.Minute, true}} {
		if c.link.UserID != id || c.link.MailedTo != "" || !c.link.CreatedAt.Equal(start) || !c.link.ExpiresAt.Equal(start.Add(c.lifetime)) {
			t.Errorf("made %+v", c.link)
		}
		token := tokenOf(t, c.link.URL)
		link, user, err := s.store.UserLink(t.Context(), storage.HashSecret(token), start)
		switch {
		case c.lives && (err != nil || link.ID != c.link.ID || user.ID != id):
			t.Errorf("%s: %v", c.link.ID, err)
		case !c.lives && !errors.Is(err, storage.ErrNotFound):
			t.Errorf("%s lives beside a newer one: %v", c.link.ID, err)
		}
		for _, event := range into[page](s.send(http.MethodGet, "/admin/v1/audit-events", "").want(http.StatusOK)).Items {
			if strings.Contains(strings.Join(textsOf(event), " "), token) {
				t.Errorf("the token is in the audit: %v", event)
			}
		}
	}
	s.send(http.MethodDelete, path, "").want(http.StatusNoContent)
	if _, _, err := s.store.UserLink(t.Context(), storage.HashSecret(tokenOf(t, short.URL)), start); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("it lives on: %v", err)
	}
	s.send(http.MethodDelete, path, "").want(http.StatusNoContent)
	for _, unknown := range []string{"usr_x", storage.NewID(storage.PrefixUser)} {
		s.send(http.MethodPost, "/admin/v1/users/"+unknown+"/links", `{"purpose":"invitation"}`).wantProblem(http.StatusNotFound, "not-found")
		s.send(http.MethodDelete, "/admin/v1/users/"+unknown+"/links", "").wantProblem(http.StatusNotFound, "not-found")
	}
}

func TestUserLinksByMail(t *testing.T) {
	s := newServer(t)
	id := create[api.User](s, "/admin/v1/users", `{"username":"bob","email":"bob@example.com"}`).ID
	path := "/admin/v1/users/" + id + "/links"
	sent := create[api.UserLink](s, path, `{"purpose":"invitation","mail":true}`)
	if sent.URL != "" || sent.MailedTo != "bob@example.com" || len(s.mailed) != 1 || !strings.HasPrefix(s.mailed[0], "bob@example.com https://auth.example.com/account/link?token=ult_") {
		t.Errorf("made %+v, mailed %q", sent, s.mailed)
	}
	s.mailFails = errors.New("550 hunter2 refuses")
	a := s.send(http.MethodPost, path, `{"purpose":"invitation","mail":true}`)
	a.wantProblem(http.StatusBadGateway, "mail-not-sent")
	if containsAny(string(a.body), "ult_", "hunter2") {
		t.Errorf("the answer tells too much: %s", a.body)
	}
}

func TestUserLinksRefused(t *testing.T) {
	s := newServer(t)
	id := create[api.User](s, "/admin/v1/users", `{"username":"bob"}`).ID
	path := "/admin/v1/users/" + id + "/links"
	for body, pointer := range map[string]string{
		`{"purpose":"first_admin"}`:                       "/purpose",
		`{"purpose":""}`:                                  "/purpose",
		`{"purpose":"invitation","expires_in":59}`:        "/expires_in",
		`{"purpose":"invitation","expires_in":2592001}`:   "/expires_in",
		`{"purpose":"password_reset","mail":true}`:        "/mail",
		`{"purpose":"password_reset","expires_in":-1}`:    "/expires_in",
		`{"purpose":"password_reset","expires_in":1<<62}`: "",
	} {
		code := "invalid"
		if pointer == "" {
			code = "malformed"
		}
		problem := s.send(http.MethodPost, path, body).wantProblem(http.StatusBadRequest, code)
		if len(problem.Errors) != 1 || problem.Errors[0].Pointer != pointer {
			t.Errorf("%s: %+v", body, problem.Errors)
		}
	}
	s.send(http.MethodPatch, "/admin/v1/users/"+id, `{"disabled":true}`).want(http.StatusOK)
	s.send(http.MethodPost, path, `{"purpose":"invitation"}`).wantProblem(http.StatusConflict, "user-disabled")
}

func tokenOf(t *testing.T, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil || !strings.HasPrefix(u.Query().Get("token"), "ult_") {
		t.Fatalf("link %q: %v", link, err)
	}
	return u.Query().Get("token")
}
