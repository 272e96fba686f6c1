package admin_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"grantd/storage"
	"grantd/storage/storagetest"
)

func TestDocumentIsValid(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
}

// Every example of a request in openapi.yaml works against a running server, as
// the answer that the operation promises.
func TestExamples(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			parameters := slices.Concat(item.Parameters, operation.Parameters)
			for name, request := range requestExamples(t, operation) {
				t.Run(operation.OperationID+"/"+name, func(t *testing.T) {
					t.Parallel()
					s := newServer(t)
					r := s.request(method, s.fill(path, parameters), request.body)
					if request.contentType != "" {
						r.Header.Set("Content-Type", request.contentType)
					}
					a := s.do(r)
					if operation.Responses.Status(a.status) == nil || a.status >= 300 {
						t.Errorf("status = %d: %s", a.status, a.body)
					}
					if !a.documented {
						t.Error("the answer was not compared with openapi.yaml")
					}
					if location := a.header.Get("Location"); a.status == http.StatusCreated && !strings.HasPrefix(location, "/admin/v1/") {
						t.Errorf("Location = %q", location)
					}
				})
			}
		}
	}
}

// Every successful answer in openapi.yaml shows what it looks like.
func TestEveryOperationHasExamples(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range doc.Paths.Map() {
		for _, operation := range item.Operations() {
			if body := operation.RequestBody; body != nil {
				for contentType, media := range body.Value.Content {
					if len(media.Examples) == 0 {
						t.Errorf("%s: no example of a request in %s", operation.OperationID, contentType)
					}
				}
			}
			for status, response := range operation.Responses.Map() {
				for contentType, media := range response.Value.Content {
					if len(media.Examples) == 0 {
						t.Errorf("%s: no example of a %s in %s", operation.OperationID, status, contentType)
					}
				}
			}
		}
	}
}

type exampleRequest struct{ contentType, body string }

// requestExamples returns the operation's examples of requests by name; one
// without a body when it takes none.
func requestExamples(t *testing.T, operation *openapi3.Operation) map[string]exampleRequest {
	t.Helper()
	if operation.RequestBody == nil {
		return map[string]exampleRequest{"plain": {}}
	}
	examples := make(map[string]exampleRequest)
	for contentType, media := range operation.RequestBody.Value.Content {
		for name, example := range media.Examples {
			body, err := json.Marshal(example.Value.Value)
			if err != nil {
				t.Fatal(err)
			}
			examples[name] = exampleRequest{contentType: contentType, body: string(body)}
		}
	}
	return examples
}

// fill stores one of everything and returns the path with the ids of these.
func (s *server) fill(path string, parameters openapi3.Parameters) string {
	s.t.Helper()
	f := storagetest.NewFixture(s.t, s.store)
	secret := storagetest.NewClientSecret()
	if err := s.store.AddClientSecret(s.t.Context(), f.Client.ID, secret, storagetest.Event("client.secret_created", f.Client.ID)); err != nil {
		s.t.Fatal(err)
	}
	token := storagetest.NewInitialAccessToken()
	if err := s.store.CreateInitialAccessToken(s.t.Context(), token, storagetest.Event("registration_token.created", token.ID)); err != nil {
		s.t.Fatal(err)
	}
	rule := storagetest.NewPolicy()
	if err := s.store.CreatePolicy(s.t.Context(), rule, storagetest.Event("policy.created", rule.ID)); err != nil {
		s.t.Fatal(err)
	}
	s.makePayroll()
	adminKey := storagetest.NewAdminKey()
	if err := s.store.CreateAdminKey(s.t.Context(), adminKey, storagetest.Event("admin_key.created", adminKey.ID)); err != nil {
		s.t.Fatal(err)
	}
	keys := s.makeKeys()
	s.later(storage.KeyPublication)
	asked := storagetest.NewRegistrationRequest()
	if err := s.store.AskRegistration(s.t.Context(), asked, f.User.ID, storagetest.RequestLimits, storagetest.Event("registration_request.created", asked.ClientID)); err != nil {
		s.t.Fatal(err)
	}
	group, err := s.store.GroupByName(s.t.Context(), f.User.Groups[0])
	if err != nil {
		s.t.Fatal(err)
	}
	provider := storagetest.NewProvider()
	if err := s.store.CreateProvider(s.t.Context(), provider, storagetest.Event("provider.created", provider.ID)); err != nil {
		s.t.Fatal(err)
	}
	ids := map[string]string{
		"providers": provider.ID, "groups": group.ID, "name": group.Name,
		"admin-keys": adminKey.ID, "registration-tokens": token.ID, "registration-requests": asked.ID,
		"policies": rule.ID, "clients": f.Client.ID, "resources": f.Resource.ID, "users": f.User.ID, "grants": f.Grant.ID,
		"secret_id": secret.ID, "client_id": f.Client.ClientID, "user_id": f.User.ID, "resource_id": f.Resource.ID,
		"username": f.User.Username, "uri": f.Resource.URI, "group": f.User.Groups[0],
	}
	collection := strings.Split(path, "/")[3]
	path = strings.NewReplacer("{id}", ids[collection], "{secret_id}", secret.ID, "{user_id}", f.User.ID, "{kid}", keys[0].KID).Replace(path)

	query := url.Values{}
	for _, p := range parameters {
		if p.Value.In != "query" || p.Value.Example == nil {
			continue
		}
		value, ok := ids[p.Value.Name]
		if !ok {
			value = fmt.Sprint(p.Value.Example)
		}
		query.Set(p.Value.Name, value)
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

// makePayroll stores what the examples of policies name.
func (s *server) makePayroll() {
	s.t.Helper()
	r, c := storagetest.NewResource(), storagetest.NewClient()
	r.URI, c.ClientID = "https://payroll.example.com/mcp", "intranet-portal"
	r.Scopes = []storage.Scope{{Name: "payroll:read", Risk: storage.RiskRead}, {Name: "payroll:erase", Risk: storage.RiskDestructive}}
	if err := s.store.CreateResource(s.t.Context(), r, storagetest.Event("resource.created", r.ID)); err != nil {
		s.t.Fatal(err)
	}
	if err := s.store.CreateClient(s.t.Context(), c, storagetest.Event("client.created", c.ID)); err != nil {
		s.t.Fatal(err)
	}
}

// A field that the document does not have is refused by every operation.
func TestEveryBodyIsReadStrictly(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		operations := item.Operations()
		for _, method := range slices.Sorted(maps.Keys(operations)) {
			if method != http.MethodPost && method != http.MethodPatch {
				continue
			}
			s := newServer(t)
			problem := s.send(method, s.fill(path, item.Parameters), `{"is_admin":"hunter2"}`).wantProblem(http.StatusBadRequest, "malformed")
			if len(problem.Errors) != 1 || problem.Errors[0].Pointer != "/is_admin" {
				t.Errorf("%s %s: errors = %+v", method, path, problem.Errors)
			}
		}
	}
}
