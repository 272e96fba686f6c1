package admin_test

import (
	"context"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"grantd/api"
	"grantd/server/admin"
	"grantd/storage"
	"grantd/storage/storagetest"
)

const adminKeysPath = "/admin/v1/admin-keys"

// newKey makes an admin key.
func (s *server) newKey(name, scope string) api.NewAdminKey {
	s.t.Helper()
	return create[api.NewAdminKey](s, adminKeysPath, `{"name":"`+name+`","scope":"`+scope+`"}`)
}

// as sends a request with another credential.
func (s *server) as(credential, method, path, body string) *answer {
	s.t.Helper()
	r := s.request(method, path, body)
	r.Header.Set("Authorization", "Bearer "+credential)
	return s.do(r)
}

func TestAdminKeys(t *testing.T) {
	s := newServer(t)
	made := s.newKey("ci", "write")
	if !regexp.MustCompile(`^ak_[A-Za-z0-9_-]{43}$`).MatchString(made.Key) || made.ExpiresAt.Sub(made.CreatedAt) != 90*24*time.Hour {
		t.Errorf("made %+v", made)
	}
	shown := into[api.AdminKey](s.send(http.MethodGet, adminKeysPath+"/"+made.ID, "").want(http.StatusOK))
	if shown.Name != "ci" || shown.Scope != "write" || shown.LastUsedAt != nil {
		t.Errorf("shown %+v", shown)
	}

	// What it does is its own doing, by name, and by an id that no other key gets.
	s.as(made.Key, http.MethodPost, "/admin/v1/users", `{"username":"alice"}`).want(http.StatusCreated)
	event := s.lastEvent()
	if event.Actor != "admin:ci" || event.Detail["admin_key_id"] != made.ID || event.Action != "user.created" {
		t.Errorf("event = %+v", event)
	}
	who := into[api.Whoami](s.as(made.Key, http.MethodGet, "/admin/v1/whoami", "").want(http.StatusOK))
	if who.Actor != "admin:ci" || who.Scope != "write" || !who.ExpiresAt.Equal(made.ExpiresAt) || who.Username != "" {
		t.Errorf("whoami = %+v", who)
	}

	s.send(http.MethodPost, adminKeysPath, `{"name":"ci","scope":"read"}`).wantProblem(http.StatusConflict, "already-exists")
	// It may delete itself, and then it is nothing.
	s.as(made.Key, http.MethodDelete, adminKeysPath+"/"+made.ID, "").want(http.StatusNoContent)
	s.as(made.Key, http.MethodGet, adminKeysPath, "").wantProblem(http.StatusUnauthorized, "unauthorized")
	s.send(http.MethodDelete, adminKeysPath+"/"+made.ID, "").wantProblem(http.StatusNotFound, "not-found")
	if event := s.lastEvent(); event.Action != "admin_key.deleted" || event.Detail["name"] != "ci" {
		t.Errorf("event = %+v", event)
	}
}

// lastEvent is the newest audit event.
func (s *server) lastEvent() *storage.AuditEvent {
	s.t.Helper()
	all, err := s.store.AuditEvents(s.t.Context(), storage.AuditFilter{}, storage.Page{Limit: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	return all[len(all)-1]
}

func TestAdminKeyFields(t *testing.T) {
	s := newServer(t)
	for body, pointer := range map[string]string{
		`{"name":"","scope":"read"}`:                                      "/name",
		`{"name":"CI","scope":"read"}`:                                    "/name",
		`{"name":"-ci","scope":"read"}`:                                   "/name",
		`{"name":"a b","scope":"read"}`:                                   "/name",
		`{"name":"` + strings.Repeat("a", 65) + `","scope":"read"}`:       "/name",
		`{"name":"9f86d081","scope":"read"}`:                              "/name", // so a key of the settings is named
		`{"name":"ci","scope":"admin"}`:                                   "/scope",
		`{"name":"ci","scope":"read","expires_in":59}`:                    "/expires_in",
		`{"name":"ci","scope":"read","expires_in":31536001}`:              "/expires_in",
		`{"name":"ci","scope":"read","expires_in":-1}`:                    "/expires_in",
		`{"name":"ci","scope":"read","expires_in":999999999999999999999}`: "/expires_in",
		`{"name":"ci","scope":"read","key":"ak_of-my-own"}`:               "/key",
	} {
		problem := into[api.Problem](s.send(http.MethodPost, adminKeysPath, body).want(http.StatusBadRequest))
		if len(problem.Errors) != 1 || problem.Errors[0].Pointer != pointer {
			t.Errorf("%s: errors = %+v, want one at %s", body, problem.Errors, pointer)
		}
	}
	if items := into[api.AdminKeyList](s.send(http.MethodGet, adminKeysPath, "")).Items; len(items) != 0 {
		t.Errorf("keys = %+v", items)
	}
}

// AD-01: an expired key, a wrong one and one that may only read.
func TestAdminKeyLimits(t *testing.T) {
	s := newServer(t)
	made := s.newKey("ci", "write")
	for _, wrong := range []string{made.Key + "x", made.Key[:len(made.Key)-1], strings.ToUpper(made.Key), "ak_", made.ID} {
		s.as(wrong, http.MethodGet, "/admin/v1/clients", "").wantProblem(http.StatusUnauthorized, "unauthorized")
	}
	s.later(90*24*time.Hour - time.Microsecond)
	s.as(made.Key, http.MethodGet, "/admin/v1/clients", "").want(http.StatusOK)
	s.later(time.Microsecond)
	s.as(made.Key, http.MethodGet, "/admin/v1/clients", "").wantProblem(http.StatusUnauthorized, "expired")
	s.as(made.Key, http.MethodPost, "/admin/v1/users", `{"username":"x"}`).wantProblem(http.StatusUnauthorized, "expired")
}

// AD-01: whatever the document has, a key that may only read changes nothing: the
// operations are taken from it, so that a new one is here too.
func TestReadOnlyKeysWriteNothing(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			t.Run(operation.OperationID, func(t *testing.T) {
				t.Parallel()
				readOnly(t, path, method, slices.Concat(item.Parameters, operation.Parameters), operation)
			})
		}
	}
	s := newServer(t)
	reader := s.newKey("dashboard", "read")
	for _, method := range []string{http.MethodPut, "PURGE", "get"} {
		s.as(reader.Key, method, "/admin/v1/clients", "").wantProblem(http.StatusForbidden, "read-only")
		s.as(reader.Key, method, "/admin/v1/tokens/inspect", "").wantProblem(http.StatusForbidden, "read-only")
	}
	for _, path := range []string{"tokens%2Finspect", "tokens/%69nspect", "tokens/inspect/", "tokens/inspect/../revoke", "//tokens/inspect", "users/tokens/inspect"} {
		if a := s.as(reader.Key, http.MethodPost, "/admin/v1/"+path, `{"value":"x"}`); a.status != http.StatusForbidden {
			t.Errorf("POST %s: %d", path, a.status)
		}
	}
}

// readOnly sends an operation, as its example shows it, with a key that may only read.
func readOnly(t *testing.T, path, method string, parameters openapi3.Parameters, operation *openapi3.Operation) {
	s := newServer(t)
	reader := s.newKey("dashboard", "read")
	target := s.fill(path, parameters)
	before := s.lastEvent()
	examples := requestExamples(t, operation)
	example := examples[slices.Min(slices.Collect(maps.Keys(examples)))]
	r := s.request(method, target, example.body)
	r.Header.Set("Authorization", "Bearer "+reader.Key)
	if example.contentType != "" {
		r.Header.Set("Content-Type", example.contentType)
	}
	a := s.do(r)
	if method == http.MethodGet || operation.OperationID == "inspectToken" {
		if a.status != http.StatusOK {
			t.Errorf("it may not be read: %d %s", a.status, a.body)
		}
		return
	}
	a.wantProblem(http.StatusForbidden, "read-only")
	if got := a.header.Get("WWW-Authenticate"); !strings.Contains(got, "insufficient_scope") {
		t.Errorf("WWW-Authenticate = %q", got)
	}
	if after := s.lastEvent(); after.ID != before.ID {
		t.Errorf("it left the event %+v", after)
	}
}

// unreachable is a database that does not find admin keys, and counts the marks of use.
type unreachable struct {
	admin.Store
	down    bool
	touches int
}

func (u *unreachable) AdminKeyByHash(ctx context.Context, hash []byte) (*storage.AdminKey, error) {
	if u.down {
		return nil, storage.ErrUnavailable
	}
	return u.Store.AdminKeyByHash(ctx, hash)
}

func (u *unreachable) TouchAdminKey(ctx context.Context, id string, now time.Time) error {
	u.touches++
	if u.down {
		return storage.ErrUnavailable
	}
	return u.Store.TouchAdminKey(ctx, id, now)
}

// An outage is no refusal: whoever is told that a key is wrong throws it away.
func TestAdminKeyOutage(t *testing.T) {
	var store *unreachable
	s := newServer(t, func(inner admin.Store) admin.Store {
		store = &unreachable{Store: inner}
		return store
	})
	made := s.newKey("ci", "write")
	store.down = true
	s.as(made.Key, http.MethodGet, "/admin/v1/clients", "").wantProblem(http.StatusServiceUnavailable, "unavailable")
	s.send(http.MethodGet, "/admin/v1/clients", "").want(http.StatusOK) // a key of the settings
	store.down = false
	s.as(made.Key, http.MethodGet, "/admin/v1/clients", "").want(http.StatusOK)
}

func TestAdminKeyUseIsNotedNowAndThen(t *testing.T) {
	var store *unreachable
	s := newServer(t, func(inner admin.Store) admin.Store {
		store = &unreachable{Store: inner}
		return store
	})
	made := s.newKey("ci", "read")
	lastUsed := func() *time.Time {
		return into[api.AdminKey](s.send(http.MethodGet, adminKeysPath+"/"+made.ID, "").want(http.StatusOK)).LastUsedAt
	}
	for range 5 {
		s.as(made.Key, http.MethodGet, "/admin/v1/clients", "").want(http.StatusOK)
	}
	first := lastUsed()
	if store.touches != 1 || first == nil {
		t.Errorf("%d marks, last used %v", store.touches, first)
	}
	s.later(storage.AdminKeyTouch)
	s.as(made.Key, http.MethodGet, "/admin/v1/clients", "").want(http.StatusOK)
	if again := lastUsed(); store.touches != 2 || !again.After(*first) {
		t.Errorf("%d marks, last used %v", store.touches, again)
	}
}

// The secret of what is made with an Idempotency-Key is shown in the first answer only.
func TestSecretsAreNotReplayed(t *testing.T) {
	for _, c := range []struct{ path, body, other, secret, id string }{
		{adminKeysPath, `{"name":"ci","scope":"read"}`, `{"name":"ci","scope":"write"}`, "key", "adk_"},
		{"/admin/v1/registration-tokens", `{"name":"Team"}`, `{"name":"Others"}`, "token", "reg_"},
	} {
		t.Run(c.secret, func(t *testing.T) {
			s := newServer(t)
			first := s.repeated(c.path, "k1", c.body).want(http.StatusCreated).wantReplayed("false")
			again := s.repeated(c.path, "k1", c.body).want(http.StatusCreated).wantReplayed("true")
			made, replayed := into[map[string]any](first), into[map[string]any](again)
			if secret, _ := made[c.secret].(string); len(secret) < 40 {
				t.Errorf("the first answer has no %s: %v", c.secret, made)
			}
			if _, shown := replayed[c.secret]; shown {
				t.Errorf("the %s is shown again", c.secret)
			}
			if id, _ := made["id"].(string); !strings.HasPrefix(id, c.id) || replayed["id"] != id {
				t.Errorf("first %v, then %v", made, replayed)
			}
			s.repeated(c.path, "k1", c.other).wantProblem(http.StatusUnprocessableEntity, "idempotency-key-reused")
			if items := into[map[string][]any](s.send(http.MethodGet, c.path, "")); len(items["items"]) != 1 {
				t.Errorf("there are %v, want 1", items)
			}
		})
	}
}

// The resource of the administration is grantd's own, whoever writes it how.
func TestAdminResourceIsReserved(t *testing.T) {
	s := newServer(t)
	create[api.Client](s, clientsPath, `{"redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"none","admin_access":true}`)
	for _, uri := range []string{issuer + "/admin", "https://AUTH.example.com/tenant/admin/"} {
		problem := s.send(http.MethodPost, resourcesPath, `{"uri":"`+uri+`","name":"Mine"}`).wantProblem(http.StatusBadRequest, "invalid")
		if len(problem.Errors) != 1 || problem.Errors[0].Pointer != "/uri" {
			t.Errorf("errors = %+v", problem.Errors)
		}
	}
	if items := into[api.ResourceList](s.send(http.MethodGet, resourcesPath, "")).Items; len(items) != 0 {
		t.Errorf("resources = %+v", items)
	}
	own := resourcesPath + "/" + storage.AdminResourceID
	s.send(http.MethodGet, own, "").wantProblem(http.StatusNotFound, "not-found")
	s.send(http.MethodPatch, own, `{"name":"Mine"}`).wantProblem(http.StatusNotFound, "not-found")
	s.send(http.MethodDelete, own, "").wantProblem(http.StatusNotFound, "not-found")
}

func TestSignInNamesTheClient(t *testing.T) {
	s := newServer(t)
	ask := func() api.SignIn {
		t.Helper()
		r := s.request(http.MethodGet, "/admin/v1/sign-in", "")
		r.Header.Del("Authorization")
		return into[api.SignIn](s.do(r).want(http.StatusOK))
	}
	want := api.SignIn{Issuer: issuer, Resource: issuer + "/admin"}
	unfit := []string{
		`{"redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"none"}`,
		`{"redirect_uris":["http://127.0.0.1/callback"],"admin_access":true}`,
		`{"redirect_uris":["https://a.example/"],"token_endpoint_auth_method":"none","admin_access":true}`,
		`{"redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"none","admin_access":true,"resources":["https://a.example/"]}`,
		`{"redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"none","admin_access":true,"disabled":true}`,
	}
	for _, body := range unfit {
		create[api.Client](s, clientsPath, body)
		if got := ask(); got != want {
			t.Errorf("after %s: %+v", body, got)
		}
	}
	fit := create[api.Client](s, clientsPath, `{"redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"none","admin_access":true,"resources":["`+issuer+`/admin"]}`)
	want.ClientID = fit.ClientID
	if got := ask(); got != want {
		t.Errorf("sign-in = %+v, want %+v", got, want)
	}
	s.send(http.MethodPost, clientsPath, `{"grant_types":["client_credentials"],"admin_access":true}`).wantProblem(http.StatusBadRequest, "invalid")
	f := storagetest.NewFixture(t, s.store)
	s.send(http.MethodPatch, clientsPath+"/"+f.Client.ID, `{"admin_access":true}`).want(http.StatusOK)
	dynamic := storagetest.NewDynamicClient()
	if err := s.store.CreateClient(t.Context(), dynamic, storagetest.Event("client.created", dynamic.ID)); err != nil {
		t.Fatal(err)
	}
	s.send(http.MethodPatch, clientsPath+"/"+dynamic.ID, `{"admin_access":true}`).wantProblem(http.StatusConflict, "not-registered")
}
