package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Profile says what has to be known of a server to measure it. grantd's and the
// floor's are made here; any other is a YAML file (see README.md). Scenarios for
// which something is missing are left out.
type Profile struct {
	Name     string `yaml:"name"`
	Metadata string `yaml:"metadata"` // URL of its RFC 8414 or OpenID Connect document

	// Prepare are commands to run first, Command is the server itself. In both and
	// in Env, $DATABASE_URL is a database of its own on the same PostgreSQL.
	Prepare [][]string        `yaml:"prepare"`
	Command []string          `yaml:"command"`
	Env     map[string]string `yaml:"env"`
	// PID is the server's process when it runs already and Command is empty.
	PID int `yaml:"pid"`

	Machine      Confidential `yaml:"machine"`      // a client with client_credentials
	Introspector Confidential `yaml:"introspector"` // one that may introspect
	Installed    Public       `yaml:"installed"`    // a public client with code and refresh
	Users        []User       `yaml:"users"`
	Pages        []Page       `yaml:"pages"`

	// endpoints are what the metadata says.
	endpoints struct {
		Authorization string `json:"authorization_endpoint"`
		Token         string `json:"token_endpoint"`
		Revocation    string `json:"revocation_endpoint"`
		Introspection string `json:"introspection_endpoint"`
		Registration  string `json:"registration_endpoint"`
		JWKS          string `json:"jwks_uri"`
	}
}

// Confidential is a client with a secret.
type Confidential struct {
	ClientID string `yaml:"client_id"`
	Secret   string `yaml:"client_secret"`
	InBody   bool   `yaml:"in_body"` // client_secret_post instead of client_secret_basic
	Scope    string `yaml:"scope"`
	Resource string `yaml:"resource"`
}

// Public is a client without a secret.
type Public struct {
	ClientID    string `yaml:"client_id"`
	RedirectURI string `yaml:"redirect_uri"`
	Scope       string `yaml:"scope"`
	Resource    string `yaml:"resource"`
}

// User is somebody who can sign in.
type User struct {
	Username string `yaml:"username"`
	Password string `yaml:"password"`
}

// Page tells how a person answers a form: the one that has the field Has is sent
// with these fields filled in ($username and $password are the user's).
type Page struct {
	Has  string            `yaml:"has"`
	Fill map[string]string `yaml:"fill"`
}

func readProfile(path string) (*Profile, error) {
	content, err := os.ReadFile(path) //nolint:gosec // named on the command line
	if err != nil {
		return nil, err
	}
	var p Profile
	if err := yaml.UnmarshalWithOptions(content, &p, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s: %s", path, yaml.FormatError(err, false, false))
	}
	if p.Name == "" || p.Metadata == "" {
		return nil, fmt.Errorf("%s: name and metadata are needed", path)
	}
	return &p, nil
}

// withDatabase puts the URL of the server's database into its commands.
func (p *Profile) withDatabase(databaseURL string) {
	insert := func(words []string) {
		for i := range words {
			words[i] = strings.ReplaceAll(words[i], "$DATABASE_URL", databaseURL)
		}
	}
	for _, command := range p.Prepare {
		insert(command)
	}
	insert(p.Command)
	for name, value := range p.Env {
		p.Env[name] = strings.ReplaceAll(value, "$DATABASE_URL", databaseURL)
	}
}

// discover waits until the metadata is served and reads the endpoints from it.
func (p *Profile) discover(patience time.Duration) error {
	at, err := url.Parse(p.Metadata)
	if err != nil {
		return err
	}
	a := newAgent()
	defer a.close()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		got, err := a.send(http.MethodGet, at, "", "")
		if err == nil && got.status == http.StatusOK {
			return json.Unmarshal(got.body, &p.endpoints)
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("%s: no metadata at %s (status %d)", p.Name, p.Metadata, got.status), err)
		}
	}
}

// authorize puts the client's credentials where it sends them.
func (c Confidential) authorize(body url.Values) (headers, string) {
	if c.InBody {
		body.Set("client_id", c.ClientID)
		body.Set("client_secret", c.Secret)
		return formType, body.Encode()
	}
	pair := url.QueryEscape(c.ClientID) + ":" + url.QueryEscape(c.Secret)
	return formType + "Authorization: Basic " + headers(base64.StdEncoding.EncodeToString([]byte(pair))) + "\r\n", body.Encode()
}

func (p *Profile) env() []string {
	env := os.Environ()
	for name, value := range p.Env {
		env = append(env, name+"="+value)
	}
	return env
}
