package admin_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"grantd/api"
	"grantd/storage/storagetest"
)

// Many grants are revoked by filter, each with its event.
func TestRevokeGrants(t *testing.T) {
	s := newServer(t)
	f, other := storagetest.NewFixture(t, s.store), storagetest.NewFixture(t, s.store)
	at := storagetest.Now
	revoke := func(body string) api.RevokedGrants {
		t.Helper()
		return into[api.RevokedGrants](s.send(http.MethodPost, "/admin/v1/grants/revoke", body).want(http.StatusOK))
	}
	for _, body := range []string{
		fmt.Sprintf(`{"user_id":%q,"until":%q}`, f.User.ID, at.Format(time.RFC3339Nano)),
		fmt.Sprintf(`{"since":%q}`, at.Add(time.Second).Format(time.RFC3339Nano)),
		fmt.Sprintf(`{"user_id":%q,"client_id":%q}`, f.User.ID, other.Client.ID),
		`{"client_id":"https://unknown.example/client.json"}`,
	} {
		if got := revoke(body); len(got.Revoked) != 0 || got.More {
			t.Errorf("%s revoked %+v", body, got)
		}
	}
	got := revoke(fmt.Sprintf(`{"user_id":%q,"since":%q}`, f.User.ID, at.Format(time.RFC3339Nano)))
	if len(got.Revoked) != 1 || got.Revoked[0] != f.Grant.ID || got.More {
		t.Errorf("revoked %+v, want %s", got, f.Grant.ID)
	}
	left := into[api.GrantList](s.send(http.MethodGet, "/admin/v1/grants", "").want(http.StatusOK))
	if len(left.Items) != 1 || left.Items[0].ID != other.Grant.ID {
		t.Errorf("left %+v", left.Items)
	}
	for body, pointer := range map[string]string{
		`{}`:                    "",
		`{"user_id":"alice"}`:   "/user_id",
		`{"resource_id":"x"}`:   "/resource_id",
		`{"client_id":"a\nb"}`:  "/client_id",
		`{"since":"yesterday"}`: "/since",
		`{"since":1}`:           "/since",
		`{"since":"2026-01-02T00:00:00Z","until":"2026-01-02T00:00:00Z"}`: "/until",
	} {
		problem := into[api.Problem](s.send(http.MethodPost, "/admin/v1/grants/revoke", body).want(http.StatusBadRequest))
		if len(problem.Errors) != 1 || problem.Errors[0].Pointer != pointer {
			t.Errorf("%s: %+v", body, problem.Errors)
		}
	}
}

// More than a batch is revoked batch by batch.
func TestRevokeGrantsInBatches(t *testing.T) {
	s := newServer(t)
	const grants = 201
	for range grants {
		storagetest.NewFixture(t, s.store)
	}
	body := `{"since":"2000-01-01T00:00:00Z"}`
	first := into[api.RevokedGrants](s.send(http.MethodPost, "/admin/v1/grants/revoke", body).want(http.StatusOK))
	second := into[api.RevokedGrants](s.send(http.MethodPost, "/admin/v1/grants/revoke", body).want(http.StatusOK))
	if len(first.Revoked) != 200 || !first.More || len(second.Revoked) != 1 || second.More {
		t.Errorf("%d and %t, then %d and %t", len(first.Revoked), first.More, len(second.Revoked), second.More)
	}
}
