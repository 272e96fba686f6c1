// Package setup says what the owner of an MCP server has to set so that it takes
// grantd's tokens: the metadata by which clients find grantd, the challenge that
// points to it, and code that verifies tokens.
package setup

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"text/template"

	"grantd/cmd/grantd/internal/discover"
)

// Languages are those there is a verifier for.
var Languages = []string{"go", "typescript", "python"}

// Resource is what is known of the MCP server and of grantd.
type Resource struct {
	Issuer string
	URI    string // canonical
	Name   string
	Scopes []string
	// FirstScope is what clients ask for at first; "": the server's choice.
	FirstScope string
	// ClientID may introspect the Resource's tokens; "": nobody may.
	ClientID string
}

// Metadata is protected-resource metadata (RFC 9728 §2).
type Metadata struct {
	Resource               string   `json:"resource"`
	ResourceName           string   `json:"resource_name,omitempty"`
	AuthorizationServers   []string `json:"authorization_servers"`
	ScopesSupported        []string `json:"scopes_supported,omitempty"`
	BearerMethodsSupported []string `json:"bearer_methods_supported"`
}

// MetadataURL is where the metadata has to be served (RFC 9728 §3.1).
func (r Resource) MetadataURL() string { return discover.WellKnown(r.URI) }

// MetadataPath is its path.
func (r Resource) MetadataPath() string {
	if u, err := url.Parse(r.MetadataURL()); err == nil {
		return u.EscapedPath()
	}
	return ""
}

// Metadata is the document.
func (r Resource) Metadata() Metadata {
	return Metadata{
		Resource: r.URI, ResourceName: r.Name, AuthorizationServers: []string{r.Issuer},
		ScopesSupported: r.Scopes, BearerMethodsSupported: []string{"header"},
	}
}

// MetadataJSON is the document as it is served.
func (r Resource) MetadataJSON() string {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // the "&" of a query stays readable
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(r.Metadata()) // strings only
	return strings.TrimSpace(text.String())
}

// Challenge is the WWW-Authenticate header of a 401 (RFC 9728 §5.1).
func (r Resource) Challenge() string {
	challenge := fmt.Sprintf("Bearer resource_metadata=%q", r.MetadataURL())
	if r.FirstScope != "" {
		challenge += fmt.Sprintf(", scope=%q", r.FirstScope)
	}
	return challenge
}

//go:embed verifier
var files embed.FS

// Only quoted text comes into the code: JSON strings are string literals of all
// three languages.
var templates = template.Must(template.New("").Funcs(template.FuncMap{"quote": quote}).ParseFS(files, "verifier/*"))

func quote(value any) (string, error) {
	text, err := json.Marshal(value)
	return string(text), err
}

// Verifier returns the source of a file that verifies tokens in one of Languages.
func (r Resource) Verifier(language string) (string, error) {
	var text bytes.Buffer
	err := templates.ExecuteTemplate(&text, language+".tmpl", r)
	return text.String(), err
}
