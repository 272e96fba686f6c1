package admin_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"grantd/api"
	"grantd/storage/storagetest"
)

// rule is a body and the pointers of its faults; without any it is accepted.
type rule struct {
	body     string
	pointers []string
}

func faultsAt(pointers ...string) []string { return pointers }

func testRules(t *testing.T, path string, rules map[string]rule) {
	s := newServer(t)
	storagetest.NewFixture(t, s.store)
	for name, test := range rules {
		t.Run(name, func(t *testing.T) {
			a := s.send(http.MethodPost, path, test.body)
			if len(test.pointers) == 0 {
				a.want(http.StatusCreated)
				return
			}
			problem := a.wantProblem(http.StatusBadRequest, "invalid")
			var pointers []string
			for _, fault := range problem.Errors {
				pointers = append(pointers, fault.Pointer)
			}
			if !slices.Equal(pointers, test.pointers) {
				t.Errorf("faults = %+v, want them at %q", problem.Errors, test.pointers)
			}
			if bytes.Contains(a.body, []byte("hunter2")) {
				t.Errorf("the answer repeats what was sent: %s", a.body)
			}
		})
	}
}

// quoted is s as JSON.
func quoted(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func TestClientRules(t *testing.T) {
	rules := map[string]rule{
		"a public client":               {body: `{"token_endpoint_auth_method":"none","redirect_uris":["http://127.0.0.1/callback"]}`},
		"a service":                     {body: `{"grant_types":["client_credentials"]}`},
		"a service with response_types": {body: `{"grant_types":["client_credentials"],"response_types":[]}`},
		"all fields": {body: `{"client_name":"Ünïcode 客户 👩‍💻","redirect_uris":["https://app.example/cb?x=y"],"grant_types":["authorization_code","refresh_token","client_credentials"],
			"response_types":["code"],"token_endpoint_auth_method":"client_secret_post","application_type":"native","scope":"openid files:read  files:read",
			"resources":["HTTPS://Files.Example/mcp","http://localhost:9000"],"client_uri":"https://app.example","logo_uri":"https://app.example/logo.png","tos_uri":"https://app.example/#tos",
			"policy_uri":"https://app.example/p","contacts":["a@example.com"],"software_id":"x","software_version":"1.0","disabled":true}`},

		"nothing":                        {`{}`, faultsAt("/redirect_uris")},
		"a service without a credential": {`{"grant_types":["client_credentials"],"token_endpoint_auth_method":"none"}`, faultsAt("/grant_types")},
		"only refresh_token":             {`{"grant_types":["refresh_token"]}`, faultsAt("/grant_types")},
		"an unknown grant type":          {`{"grant_types":["client_credentials","hunter2"]}`, faultsAt("/grant_types/1")},
		"the implicit grant":             {`{"redirect_uris":["https://a.example/"],"grant_types":["authorization_code","implicit"],"response_types":["code","token"]}`, faultsAt("/grant_types/1", "/response_types/1")},
		"a device":                       {body: `{"grant_types":["urn:ietf:params:oauth:grant-type:device_code"],"token_endpoint_auth_method":"none"}`},
		"a device and a browser":         {body: `{"grant_types":["urn:ietf:params:oauth:grant-type:device_code","authorization_code","refresh_token"],"redirect_uris":["https://a.example/"]}`},
		"refresh_token alone":            {`{"grant_types":["refresh_token"]}`, faultsAt("/grant_types")},
		"the password grant":             {`{"grant_types":["client_credentials","password"]}`, faultsAt("/grant_types/1")},
		"an unknown method":              {`{"redirect_uris":["https://a.example/"],"token_endpoint_auth_method":"hunter2"}`, faultsAt("/token_endpoint_auth_method")},
		"an unknown application type":    {`{"redirect_uris":["https://a.example/"],"application_type":"hunter2"}`, faultsAt("/application_type")},
		"a redirect URI twice":           {`{"redirect_uris":["https://a.example/","https://a.example/"]}`, faultsAt("/redirect_uris/1")},
		"too many redirect URIs":         {`{"redirect_uris":` + quoted(manyURIs(11)) + `}`, faultsAt("/redirect_uris")},
		"as many as there may be":        {body: `{"redirect_uris":` + quoted(manyURIs(10)) + `}`},
		"a redirect URI too long":        {`{"redirect_uris":["https://a.example/` + strings.Repeat("x", 2048) + `"]}`, faultsAt("/redirect_uris/0")},
		"a long name":                    {`{"grant_types":["client_credentials"],"client_name":"` + strings.Repeat("é", 201) + `"}`, faultsAt("/client_name")},
		"a name as long as it may be":    {body: `{"grant_types":["client_credentials"],"client_name":"` + strings.Repeat("é", 200) + `"}`},
		"a name with a line":             {`{"grant_types":["client_credentials"],"client_name":"hunter2\nhunter2"}`, faultsAt("/client_name")},
		"a name with a NUL":              {`{"grant_types":["client_credentials"],"client_name":"hunter2\u0000"}`, faultsAt("/client_name")},
		"a name that turns around":       {`{"grant_types":["client_credentials"],"client_name":"hunter2\u202e"}`, faultsAt("/client_name")},
		"a name with invisible spaces":   {`{"grant_types":["client_credentials"],"client_name":"hunter2\u200b"}`, faultsAt("/client_name")},
		"a name in spaces":               {`{"grant_types":["client_credentials"],"client_name":" hunter2"}`, faultsAt("/client_name")},
		"a scope with a quote":           {`{"grant_types":["client_credentials"],"scope":"a \"hunter2"}`, faultsAt("/scope")},
		"a scope with a tab":             {`{"grant_types":["client_credentials"],"scope":"a\thunter2"}`, faultsAt("/scope")},
		"a scope beyond ASCII":           {`{"grant_types":["client_credentials"],"scope":"hunter2é"}`, faultsAt("/scope")},
		"more grant types than exist":    {`{"grant_types":` + quoted(manyNames(11)) + `,"redirect_uris":["https://a.example/"]}`, faultsAt("/grant_types")},
		"too many scopes":                {`{"grant_types":["client_credentials"],"scope":"` + strings.Join(manyNames(65), " ") + `"}`, faultsAt("/scope")},
		"as many scopes as there may be": {body: `{"grant_types":["client_credentials"],"scope":"` + strings.Join(manyNames(64), " ") + `"}`},
		"resources that are none":        {`{"grant_types":["client_credentials"],"resources":["hunter2","https://a.example/mcp","https://a.example/#hunter2"]}`, faultsAt("/resources/0", "/resources/2")},
		"links that are not https":       {`{"grant_types":["client_credentials"],"client_uri":"http://hunter2.example","logo_uri":"javascript:hunter2","tos_uri":"//hunter2.example","policy_uri":"https://user@hunter2.example"}`, faultsAt("/client_uri", "/logo_uri", "/tos_uri", "/policy_uri")},
		"links with odd characters":      {`{"grant_types":["client_credentials"],"client_uri":"https://a.example/hunter2 x","logo_uri":"https://a.example/hunter2\"","tos_uri":"https:///hunter2"}`, faultsAt("/client_uri", "/logo_uri", "/tos_uri")},
		"contacts":                       {`{"grant_types":["client_credentials"],"contacts":["a","","a"]}`, faultsAt("/contacts/1", "/contacts/2")},
		"software with a line":           {`{"grant_types":["client_credentials"],"software_id":"a\rb","software_version":"a\u0085b"}`, faultsAt("/software_id", "/software_version")},
	}
	for _, uri := range []string{
		"http://hunter2.example/cb", "https://a.example/#hunter2", "https://*.hunter2.example/", "/hunter2", "hunter2.example/cb", "javascript:hunter2", "data:text/html,hunter2",
		"https://hunter2@a.example/", "https://a.example/?code=hunter2", "https://a.example/?state=hunter2", "com.hunter2.app:/cb#hunter2", "hunter2://cb?code=hunter2", "vbscript:hunter2", "",
		"https://a.example\\@hunter2.example/", "https://a.example/hunter2 x", "https://a.example/hunter2é", "http://127.0.0.1.hunter2.example/", "http://0x7f.1/hunter2",
	} {
		rules["redirect URI "+uri] = rule{`{"redirect_uris":[` + quoted(uri) + `]}`, faultsAt("/redirect_uris/0")}
	}
	testRules(t, "/admin/v1/clients", rules)
}

// AZ-20: an administrator may register exact redirect URIs of private-use schemes.
func TestPrivateUseSchemes(t *testing.T) {
	s := newServer(t)
	uris := []string{"com.example.app:/cb", "cursor://anysphere.cursor-mcp/oauth/callback", "https://a.example/cb"}
	body := `{"token_endpoint_auth_method":"none","redirect_uris":` + quoted(uris) + `}`
	client := into[api.Client](s.send(http.MethodPost, clientsPath, body).want(http.StatusCreated))
	if !slices.Equal(client.RedirectUris, uris) || client.ApplicationType != "native" {
		t.Errorf("registered as %+v", client)
	}
}

func TestResourceRules(t *testing.T) {
	testRules(t, resourcesPath, map[string]rule{
		"the least":                 {body: `{"uri":"https://least.example/mcp","name":"A"}`},
		"on this machine":           {body: `{"uri":"http://127.0.0.1:9000/mcp","name":"A","access_token_lifetime":60}`},
		"the longest lifetime":      {body: `{"uri":"https://longest.example/mcp","name":"A","access_token_lifetime":900}`},
		"as many scopes as can be":  {body: `{"uri":"https://many.example/mcp","name":"A","scopes":` + quoted(manyScopes(128)) + `}`},
		"nothing":                   {`{}`, faultsAt("/uri", "/name")},
		"empty":                     {`{"uri":"","name":""}`, faultsAt("/uri", "/name")},
		"a fragment":                {`{"uri":"https://a.example/#hunter2","name":"A"}`, faultsAt("/uri")},
		"http elsewhere":            {`{"uri":"http://hunter2.example/mcp","name":"A"}`, faultsAt("/uri")},
		"a user":                    {`{"uri":"https://hunter2@a.example/mcp","name":"A"}`, faultsAt("/uri")},
		"relative":                  {`{"uri":"/hunter2","name":"A"}`, faultsAt("/uri")},
		"a name with a line":        {`{"uri":"https://a.example/mcp","name":"hunter2\n"}`, faultsAt("/name")},
		"a lifetime too short":      {`{"uri":"https://a.example/mcp","name":"A","access_token_lifetime":59}`, faultsAt("/access_token_lifetime")},
		"a lifetime too long":       {`{"uri":"https://a.example/mcp","name":"A","access_token_lifetime":901}`, faultsAt("/access_token_lifetime")},
		"a lifetime that overflows": {`{"uri":"https://a.example/mcp","name":"A","access_token_lifetime":9223372036854775807}`, faultsAt("/access_token_lifetime")},
		"no lifetime":               {`{"uri":"https://a.example/mcp","name":"A","access_token_lifetime":0}`, faultsAt("/access_token_lifetime")},
		"scopes of grantd":          {`{"uri":"https://a.example/mcp","name":"A","scopes":[{"name":"openid"},{"name":"offline_access"},{"name":"profile"},{"name":"email"},{"name":"emails"}]}`, faultsAt("/scopes/0/name", "/scopes/1/name", "/scopes/2/name", "/scopes/3/name")},
		"a scope twice":             {`{"uri":"https://a.example/mcp","name":"A","scopes":[{"name":"a"},{"name":"A"},{"name":"a"}]}`, faultsAt("/scopes/2/name")},
		"scopes that are none":      {`{"uri":"https://a.example/mcp","name":"A","scopes":[{"name":"a b"},{},{"name":"é"},{"name":"a\\b"},{"name":"` + strings.Repeat("a", 129) + `"}]}`, faultsAt("/scopes/0/name", "/scopes/1/name", "/scopes/2/name", "/scopes/3/name", "/scopes/4/name")},
		"too many scopes":           {`{"uri":"https://a.example/mcp","name":"A","scopes":` + quoted(manyScopes(129)) + `}`, faultsAt("/scopes")},
		"a long description":        {`{"uri":"https://a.example/mcp","name":"A","scopes":[{"name":"a","description":"` + strings.Repeat("x", 501) + `"}]}`, faultsAt("/scopes/0/description")},
		"tools":                     {`{"uri":"https://a.example/mcp","name":"A","scopes":[{"name":"a","tools":["a","","a","hunter2\n"]}]}`, faultsAt("/scopes/0/tools/1", "/scopes/0/tools/3", "/scopes/0/tools/2")},
		"an unknown client":         {`{"uri":"https://a.example/mcp","name":"A","introspection_clients":["hunter2"]}`, faultsAt("/introspection_clients/0")},
	})
}

func TestUserRules(t *testing.T) {
	testRules(t, "/admin/v1/users", map[string]rule{
		"the least":                  {body: `{"username":"a"}`},
		"a name of another language": {body: `{"username":"ünïcode","name":"客户","email":"ü@example.com"}`},
		"the shortest password":      {body: `{"username":"b","password":"12345678"}`},
		"the longest password":       {body: `{"username":"c","password":"` + strings.Repeat("x", 1024) + `"}`},
		"a password of anything":     {body: `{"username":"d","password":"\u0000\n\t 🔑"}`},
		"groups":                     {body: `{"username":"e","groups":["staff","On call"]}`},
		"nothing":                    {`{}`, faultsAt("/username")},
		"an empty name":              {`{"username":""}`, faultsAt("/username")},
		"a name with a control":      {`{"username":"hunter2\u0007"}`, faultsAt("/username")},
		"a name in spaces":           {`{"username":"hunter2 "}`, faultsAt("/username")},
		"a long name":                {`{"username":"` + strings.Repeat("x", 129) + `"}`, faultsAt("/username")},
		"a short password":           {`{"username":"x","password":"hunter2"}`, faultsAt("/password")},
		"an empty password":          {`{"username":"x","password":""}`, faultsAt("/password")},
		"a long password":            {`{"username":"x","password":"hunter2` + strings.Repeat("x", 1018) + `"}`, faultsAt("/password")},
		"no address":                 {`{"username":"x","email":"hunter2"}`, faultsAt("/email")},
		"an address with a name":     {`{"username":"x","email":"Hunter2 <hunter2@example.com>"}`, faultsAt("/email")},
		"two addresses":              {`{"username":"x","email":"a@example.com, hunter2@example.com"}`, faultsAt("/email")},
		"an address with a line":     {`{"username":"x","email":"hunter2@example.com\r\nBcc: a@example.com"}`, faultsAt("/email")},
		"groups that are none":       {`{"username":"x","groups":["staff","","staff","hunter2\n"]}`, faultsAt("/groups/1", "/groups/3", "/groups/2")},
		"several at once":            {`{"email":"hunter2","password":"hunter2"}`, faultsAt("/username", "/email", "/password")},
	})
}

func TestTaken(t *testing.T) {
	s := newServer(t)
	create[api.User](s, "/admin/v1/users", `{"username":"alice"}`)
	s.send(http.MethodPost, "/admin/v1/users", `{"username":"ALICE"}`).wantProblem(http.StatusConflict, "already-exists")
	other := create[api.User](s, "/admin/v1/users", `{"username":"other"}`)
	s.send(http.MethodPatch, "/admin/v1/users/"+other.ID, `{"username":"Alice"}`).wantProblem(http.StatusConflict, "already-exists")

	create[api.Resource](s, resourcesPath, `{"uri":"https://A.example/mcp","name":"A"}`)
	s.send(http.MethodPost, resourcesPath, `{"uri":"https://a.example/mcp/","name":"B"}`).wantProblem(http.StatusConflict, "already-exists")
}

func manyNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("scope-%d", i)
	}
	return names
}

func manyURIs(n int) []string {
	uris := make([]string, n)
	for i := range uris {
		uris[i] = fmt.Sprintf("https://a.example/%d", i)
	}
	return uris
}

func manyScopes(n int) []api.Scope {
	scopes := make([]api.Scope, n)
	for i, name := range manyNames(n) {
		scopes[i].Name = name
	}
	return scopes
}
