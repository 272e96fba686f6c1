package servertest

import (
	"bytes"
	"encoding/json"
	"net/http"
)

// Object is a JSON object.
type Object map[string]any

// String returns a member that must be a string.
func (o Object) String(name string) string {
	s, _ := o[name].(string)
	return s
}

// Call calls the admin API and returns the status and the decoded body.
func (s *Server) Call(method, path string, body Object) (int, Object) {
	s.t.Helper()
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			s.t.Fatal(err)
		}
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.Admin+"/admin/v1"+path, bytes.NewReader(encoded))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+AdminKey)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
		if method == http.MethodPatch {
			r.Header.Set("Content-Type", "application/merge-patch+json")
		}
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var decoded Object
	if response.StatusCode != http.StatusNoContent {
		if err := json.NewDecoder(response.Body).Decode(&decoded); err != nil {
			s.t.Fatalf("%s %s: the answer is no JSON: %v", method, path, err)
		}
	}
	return response.StatusCode, decoded
}

// Must calls the admin API and fails the test unless it succeeds.
func (s *Server) Must(method, path string, body Object) Object {
	s.t.Helper()
	status, answer := s.Call(method, path, body)
	if status >= 300 {
		s.t.Fatalf("%s %s: %d %v", method, path, status, answer)
	}
	return answer
}

// Resource registers an MCP server with these scopes.
func (s *Server) Resource(uri string, introspectionClients []string, scopes ...string) Object {
	s.t.Helper()
	list := make([]Object, len(scopes))
	for i, name := range scopes {
		list[i] = Object{"name": name, "description": "Use " + name + ".", "tools": []string{"tool_" + name}}
	}
	body := Object{"uri": uri, "name": "Resource " + uri, "scopes": list}
	if len(introspectionClients) > 0 {
		body["introspection_clients"] = introspectionClients
	}
	return s.Must(http.MethodPost, "/resources", body)
}

// User registers a person with Password.
func (s *Server) User(username string) Object {
	s.t.Helper()
	return s.Must(http.MethodPost, "/users", Object{"username": username, "email": username + "@example.com", "name": "Person " + username, "password": Password})
}

// PublicClient registers a client without a secret.
func (s *Server) PublicClient(redirectURIs ...string) Object {
	s.t.Helper()
	return s.Must(http.MethodPost, "/clients", Object{"client_name": "Public", "redirect_uris": redirectURIs, "token_endpoint_auth_method": "none"})
}

// SecretClient registers a client with a secret for the code flow.
func (s *Server) SecretClient(redirectURIs ...string) Object {
	s.t.Helper()
	return s.Must(http.MethodPost, "/clients", Object{"client_name": "Secret", "redirect_uris": redirectURIs, "token_endpoint_auth_method": "client_secret_basic"})
}

// MachineClient registers a client for client_credentials.
func (s *Server) MachineClient() Object {
	s.t.Helper()
	return s.Must(http.MethodPost, "/clients", Object{"client_name": "Machine", "grant_types": []string{"client_credentials"}, "token_endpoint_auth_method": "client_secret_basic"})
}

// DeviceClient registers a client without a secret for devices without a browser.
func (s *Server) DeviceClient() Object {
	s.t.Helper()
	return s.Must(http.MethodPost, "/clients", Object{"client_name": "Device", "grant_types": []string{DeviceGrantType, "refresh_token"}, "token_endpoint_auth_method": "none"})
}
