// Package profiles knows the MCP clients that people use most: by which URL each
// names itself, where its answers go, and what its metadata document said on a
// day. Each is a file under files/ with its source and date, so an update is a
// file. It knows no HTTP.
//
// A profile is no approval. It makes a client's own address count like a host
// that an administrator has allowed, opens the exact private-use redirect URIs
// that the client needs (RFC 8252 §7.1), and stands in for a document that cannot
// be fetched. Each can be switched off.
package profiles

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"grantd/storage"
)

// Profile is what is known of one client.
type Profile struct {
	Name        string `json:"name"` // also the file's; what RegistrationPolicy.DisabledProfiles has
	Title       string `json:"title"`
	Description string `json:"description"`
	Source      string `json:"source"` // where it says so, public
	Date        string `json:"date"`   // when it was last looked at, as 2006-01-02
	// ClientIDs are the URLs of its metadata documents, and RedirectURIs where its
	// answers go, with the port of loopback left out. In an https one "*" stands
	// for one segment of the path: letters, digits, "-" and "_".
	ClientIDs    []string `json:"client_ids"`
	RedirectURIs []string `json:"redirect_uris"`
	// Documents are its metadata documents as they were on Date.
	Documents []json.RawMessage `json:"documents"`
}

// Set is several profiles, ordered by name.
type Set []*Profile

//go:embed files
var files embed.FS

// Load reads the profiles that grantd ships with. check judges a document by the
// rules of a fetched one. An error says which file is wrong.
func Load(check func(document []byte) error) (Set, error) {
	sub, err := fs.Sub(files, "files")
	if err != nil {
		return nil, fmt.Errorf("read the client profiles: %w", err)
	}
	return load(sub, check)
}

func load(files fs.FS, check func(document []byte) error) (Set, error) {
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		return nil, fmt.Errorf("read the client profiles: %w", err)
	}
	var set Set
	for _, name := range names {
		raw, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read the client profile %s: %w", name, err)
		}
		p := new(Profile)
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(p); err != nil {
			return nil, fmt.Errorf("read the client profile %s: %w", name, err)
		}
		if p.Name != strings.TrimSuffix(path.Base(name), ".json") {
			return nil, fmt.Errorf("client profile %s: the name is not the file's", name)
		}
		if err := p.validate(check); err != nil {
			return nil, fmt.Errorf("client profile %s: %w", name, err)
		}
		set = append(set, p)
	}
	slices.SortFunc(set, func(a, b *Profile) int { return strings.Compare(a.Name, b.Name) })
	return set, nil
}

func (p *Profile) validate(check func([]byte) error) error {
	if p.Title == "" || p.Description == "" || !strings.HasPrefix(p.Source, "https://") {
		return errors.New("needs a title, a description and an https source")
	}
	if _, err := time.Parse(time.DateOnly, p.Date); err != nil {
		return errors.New("needs a date")
	}
	for _, id := range p.ClientIDs {
		if u, err := url.Parse(id); err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Port() != "" || len(u.Path) < 2 || badWildcard(id) {
			return errors.New("a client_id is not the https URL of a document")
		}
	}
	for _, uri := range p.RedirectURIs {
		plain := strings.Replace(uri, "*", "x", 1)
		if badWildcard(uri) || storage.ValidateRedirectURI(plain) != nil && !storage.PrivateUseRedirect(uri) {
			return errors.New("a redirect_uri could not be registered")
		}
	}
	for _, document := range p.Documents {
		d, err := readDocument(document)
		if err != nil {
			return err
		}
		if !slices.Contains(p.ClientIDs, d.ClientID) {
			return errors.New("a document has a client_id that is not the profile's")
		}
		if slices.ContainsFunc(d.RedirectURIs, func(uri string) bool { return !p.returnsTo(uri) }) {
			return errors.New("a document has a redirect_uri that is not the profile's")
		}
		if err := check(document); err != nil {
			return fmt.Errorf("the document of %s: %w", d.ClientID, err)
		}
	}
	return nil
}

// badWildcard reports a "*" that is not one whole segment of an https URL's path.
func badWildcard(uri string) bool {
	if !strings.Contains(uri, "*") {
		return false
	}
	u, err := url.Parse(uri)
	return err != nil || u.Scheme != "https" || strings.Count(uri, "*") != 1 || !slices.Contains(strings.Split(u.Path, "/"), "*")
}

// Pinned returns the URLs of the profile's documents.
func (p *Profile) Pinned() []string {
	var urls []string
	for _, raw := range p.Documents {
		if d, err := readDocument(raw); err == nil {
			urls = append(urls, d.ClientID)
		}
	}
	return urls
}

type document struct {
	ClientID     string   `json:"client_id"`
	RedirectURIs []string `json:"redirect_uris"`
}

func readDocument(raw json.RawMessage) (d document, err error) {
	err = json.Unmarshal(raw, &d)
	return d, err
}

// Without returns the set without the profiles of these names.
func (s Set) Without(names ...string) Set {
	if len(names) == 0 {
		return s
	}
	return slices.DeleteFunc(slices.Clone(s), func(p *Profile) bool { return slices.Contains(names, p.Name) })
}

// Has reports whether a profile of that name is in the set.
func (s Set) Has(name string) bool {
	return slices.ContainsFunc(s, func(p *Profile) bool { return p.Name == name })
}

// Of returns the profile whose client names itself by this URL; one that has it
// without "*" goes first.
func (s Set) Of(clientID string) (*Profile, bool) {
	if p, ok := s.first(func(p *Profile) bool {
		return slices.Contains(p.ClientIDs, clientID) && !strings.Contains(clientID, "*")
	}); ok {
		return p, true
	}
	return s.first(func(p *Profile) bool {
		return slices.ContainsFunc(p.ClientIDs, func(pattern string) bool { return matches(pattern, clientID) })
	})
}

// ReturningTo returns the profile to whose own websites all of the redirect URIs
// lead. Loopback and private-use URIs lead to whatever program is there, so they
// say nothing of who asks.
func (s Set) ReturningTo(redirectURIs []string) (*Profile, bool) {
	return s.first(func(p *Profile) bool {
		return len(redirectURIs) > 0 && !slices.ContainsFunc(redirectURIs, func(uri string) bool {
			return !strings.HasPrefix(uri, "https://") || !p.returnsTo(uri)
		})
	})
}

// PrivateUse reports whether a profile's client needs this exact redirect URI of a
// private-use scheme.
func (s Set) PrivateUse(uri string) bool {
	_, ok := s.first(func(p *Profile) bool { return storage.PrivateUseRedirect(uri) && slices.Contains(p.RedirectURIs, uri) })
	return ok
}

// Pinned returns the metadata document of that URL as it was when the profile was
// written.
func (s Set) Pinned(clientID string) ([]byte, bool) {
	for _, p := range s {
		for _, raw := range p.Documents {
			if d, err := readDocument(raw); err == nil && d.ClientID == clientID {
				return raw, true
			}
		}
	}
	return nil, false
}

func (s Set) first(is func(*Profile) bool) (*Profile, bool) {
	if i := slices.IndexFunc(s, is); i >= 0 {
		return s[i], true
	}
	return nil, false
}

// Fits reports whether a client may be the profile's, whether or not that can be
// known: a dynamic one on loopback may be anybody.
func (p *Profile) Fits(c *storage.Client) bool {
	if c.Source != storage.SourceDynamic {
		return slices.ContainsFunc(p.ClientIDs, func(pattern string) bool { return matches(pattern, c.ClientID) })
	}
	return len(c.RedirectURIs) > 0 && !slices.ContainsFunc(c.RedirectURIs, func(uri string) bool { return !p.returnsTo(uri) })
}

// returnsTo reports whether uri is one of the profile's redirect URIs, whatever
// the port of loopback.
func (p *Profile) returnsTo(uri string) bool {
	if slices.ContainsFunc(p.RedirectURIs, func(pattern string) bool { return matches(pattern, uri) }) {
		return true
	}
	c := storage.Client{RedirectURIs: p.RedirectURIs}
	return storage.LoopbackRedirect(uri) && c.MatchRedirectURI(uri)
}

// matches compares by byte, but for one "*".
func matches(pattern, uri string) bool {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == uri
	}
	if len(uri) <= len(before)+len(after) || !strings.HasPrefix(uri, before) || !strings.HasSuffix(uri, after) {
		return false
	}
	return !strings.ContainsFunc(uri[len(before):len(uri)-len(after)], func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
}
