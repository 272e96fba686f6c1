package admin_test

import (
	"crypto/sha256"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grantd/api"
	"grantd/storage"
)

const tokensPath = "/admin/v1/registration-tokens"

func TestRegistrationTokens(t *testing.T) {
	s := newServer(t)
	once := create[api.NewRegistrationToken](s, tokensPath, `{"name":"Build server"}`)
	if !strings.HasPrefix(once.Token, "iat_") || len(once.Token) != len("iat_")+43 {
		t.Errorf("token = %q", once.Token)
	}
	want := api.NewRegistrationToken{
		ID: once.ID, Token: once.Token, Name: "Build server", MaxUses: 1, CreatedAt: start, ExpiresAt: start.Add(30 * 24 * time.Hour),
	}
	if diff := cmp.Diff(want, once); diff != "" {
		t.Error(diff)
	}
	team := create[api.NewRegistrationToken](s, tokensPath, `{"name":"Team","max_uses":10000,"expires_in":60}`)
	if team.MaxUses != 10_000 || !team.ExpiresAt.Equal(start.Add(time.Minute)) {
		t.Errorf("%+v", team)
	}
	stored, err := s.store.InitialAccessTokens(t.Context(), storage.Page{Limit: 10})
	if err != nil || len(stored) != 2 {
		t.Fatalf("%v, %v", stored, err)
	}
	if hash := sha256.Sum256([]byte(once.Token)); string(stored[0].Hash) != string(hash[:]) {
		t.Error("what is kept is not the hash of the token")
	}

	listing := s.send(http.MethodGet, tokensPath, "").want(http.StatusOK)
	for _, secret := range []string{once.Token, team.Token, once.Token[4:]} {
		if strings.Contains(string(listing.body), secret) {
			t.Error("the token is shown again")
		}
		for _, event := range into[page](s.send(http.MethodGet, "/admin/v1/audit-events", "").want(http.StatusOK)).Items {
			if strings.Contains(strings.Join(textsOf(event), " "), secret) {
				t.Errorf("the token is in the audit: %v", event)
			}
		}
	}
	s.send(http.MethodDelete, tokensPath+"/"+once.ID, "").want(http.StatusNoContent)
	for _, id := range []string{once.ID, once.Token, "reg_x", team.ID + "x"} {
		s.send(http.MethodDelete, tokensPath+"/"+id, "").wantProblem(http.StatusNotFound, "not-found")
	}
	left := into[page](s.send(http.MethodGet, tokensPath, "").want(http.StatusOK))
	if len(left.Items) != 1 || left.Items[0]["id"] != team.ID {
		t.Errorf("left: %v", left.Items)
	}
}

// textsOf are the strings in an event and its detail.
func textsOf(event fields) []string {
	var texts []string
	for _, value := range event {
		switch v := value.(type) {
		case string:
			texts = append(texts, v)
		case map[string]any:
			texts = append(texts, textsOf(v)...)
		}
	}
	return texts
}

func TestRegistrationTokenFaults(t *testing.T) {
	s := newServer(t)
	for body, pointer := range map[string]string{
		`{}`:          "/name",
		`{"name":""}`: "/name",
		`{"name":"` + strings.Repeat("x", 201) + `"}`:    "/name",
		`{"name":"a\u202eb"}`:                            "/name",
		`{"name":"x","max_uses":0}`:                      "/max_uses",
		`{"name":"x","max_uses":10001}`:                  "/max_uses",
		`{"name":"x","expires_in":59}`:                   "/expires_in",
		`{"name":"x","expires_in":31536001}`:             "/expires_in",
		`{"name":"x","expires_in":-9223372036854775808}`: "/expires_in",
		`{"name":"x","expires_in":9223372036854775807}`:  "/expires_in",
	} {
		problem := s.send(http.MethodPost, tokensPath, body).wantProblem(http.StatusBadRequest, "invalid")
		if len(problem.Errors) != 1 || problem.Errors[0].Pointer != pointer {
			t.Errorf("%s: errors = %+v, want one at %s", body, problem.Errors, pointer)
		}
	}
}
