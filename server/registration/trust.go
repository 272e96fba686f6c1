package registration

import (
	"context"
	"net/url"
	"slices"

	"grantd/server/profiles"
	"grantd/storage"
)

// CheckDocument judges a metadata document by the rules of one that was fetched,
// but for its keys, which are looked at when they are used.
func CheckDocument(document []byte) error {
	m, err := ParseMetadata(document)
	if err != nil {
		return err
	}
	_, err = Rules{
		AuthMethods:       []string{storage.AuthMethodNone, storage.AuthMethodPrivateKeyJWT},
		DefaultAuthMethod: storage.AuthMethodNone,
		CheckKeys:         func(*Metadata) error { return nil },
	}.Client(m)
	return err
}

// Policies answers what administrators have decided, usually from memory.
type Policies interface {
	RegistrationPolicy(ctx context.Context) (*storage.RegistrationPolicy, error)
	// RegistrationDecision returns the decision on one client, by its OAuth
	// client_id, or nil.
	RegistrationDecision(ctx context.Context, clientID string) (*storage.RegistrationRequest, error)
}

// Trust judges clients that introduce themselves by the RegistrationPolicy, the
// decisions on single clients, and the client profiles that are on. What was
// turned away, by client or by host, stays away whatever else allows it.
//
// Its errors are outages.
type Trust struct {
	Policies Policies
	Profiles profiles.Set
}

// Dynamic returns the mode of /register.
func (t *Trust) Dynamic(ctx context.Context) (storage.RegistrationMode, error) {
	p, err := t.Policies.RegistrationPolicy(ctx)
	if err != nil {
		return "", err
	}
	return p.Dynamic, nil
}

// Document judges a client that names itself by the URL of its metadata document,
// from the URL alone: before its host is looked up. RegistrationAllow: the
// document may be fetched. RegistrationAskAdmin: it may be fetched when a
// signed-in person is there to ask for it, and Client judges what it says.
// RegistrationOff: nothing is fetched.
func (t *Trust) Document(ctx context.Context, clientID string) (storage.RegistrationMode, error) {
	p, err := t.Policies.RegistrationPolicy(ctx)
	if err != nil {
		return "", err
	}
	return t.document(ctx, p, clientID)
}

func (t *Trust) document(ctx context.Context, p *storage.RegistrationPolicy, clientID string) (storage.RegistrationMode, error) {
	decision, err := t.Policies.RegistrationDecision(ctx, clientID)
	if err != nil {
		return "", err
	}
	host, ok := hostOf(clientID)
	if !ok || decision != nil && decision.State == storage.RequestRefused {
		return storage.RegistrationOff, nil
	}
	mode, decided := p.Host(host)
	if !decided {
		mode = p.MetadataDocuments
		if _, known := t.enabled(p).Of(clientID); known && mode != storage.RegistrationOff {
			mode = storage.RegistrationAllow
		}
	}
	if mode == storage.RegistrationAskAdmin && decision != nil && decision.State == storage.RequestAllowed {
		mode = storage.RegistrationAllow
	}
	return mode, nil
}

// Client judges a client that stands at /authorize: RegistrationAllow, and a
// person may approve it; RegistrationAskAdmin, and they may ask for it;
// RegistrationOff. A registered client is always allowed.
func (t *Trust) Client(ctx context.Context, c *storage.Client) (storage.RegistrationMode, error) {
	if !c.SelfAsserted() {
		return storage.RegistrationAllow, nil
	}
	p, err := t.Policies.RegistrationPolicy(ctx)
	if err != nil {
		return "", err
	}
	return t.client(ctx, p, c)
}

// Level says how far a client is known, for policies and for people. Trusted is one
// that describes itself and that an administrator allowed (its host, itself, or by
// handing out an initial access token) or a client profile knows. That the policy
// lets in anybody makes nobody trusted.
func (t *Trust) Level(ctx context.Context, c *storage.Client) (storage.ClientTrust, error) {
	if !c.SelfAsserted() {
		return storage.TrustRegistered, nil
	}
	p, err := t.Policies.RegistrationPolicy(ctx)
	if err != nil {
		return "", err
	}
	// Who is allowed would be so too if strangers had to ask.
	strict := *p
	strict.Dynamic, strict.MetadataDocuments = storage.RegistrationAskAdmin, storage.RegistrationAskAdmin
	for _, policy := range []*storage.RegistrationPolicy{p, &strict} {
		mode, err := t.client(ctx, policy, c)
		if err != nil {
			return "", err
		}
		if mode != storage.RegistrationAllow {
			return storage.TrustUnverified, nil
		}
	}
	return storage.TrustTrusted, nil
}

// client judges a client that introduced itself.
func (t *Trust) client(ctx context.Context, p *storage.RegistrationPolicy, c *storage.Client) (storage.RegistrationMode, error) {
	// Nothing goes to a host that was turned away, whoever asks for it.
	if slices.ContainsFunc(c.RedirectURIs, func(uri string) bool {
		host, _ := hostOf(uri)
		decision, _ := p.Host(host)
		return decision == storage.RegistrationOff
	}) {
		return storage.RegistrationOff, nil
	}
	if c.Source == storage.SourceMetadataDocument {
		return t.document(ctx, p, c.ClientID)
	}
	decision, err := t.Policies.RegistrationDecision(ctx, c.ClientID)
	switch {
	case err != nil:
		return "", err
	case decision != nil && decision.State == storage.RequestRefused:
		return storage.RegistrationOff, nil
	}
	mode := t.dynamic(p, c)
	if mode == storage.RegistrationAskAdmin && decision != nil && decision.State == storage.RequestAllowed && decision.Covers(c) {
		mode = storage.RegistrationAllow
	}
	return mode, nil
}

// dynamic judges a dynamic client by where its answers go, which is all that is
// certain of it: it is as good as the hosts of its redirect URIs, if all of them
// have been decided.
func (t *Trust) dynamic(p *storage.RegistrationPolicy, c *storage.Client) storage.RegistrationMode {
	allowed, asked := len(c.RedirectURIs) > 0, false
	for _, uri := range c.RedirectURIs {
		host, https := hostOf(uri)
		decision, _ := p.Host(host)
		allowed = allowed && https && decision == storage.RegistrationAllow
		asked = asked || decision == storage.RegistrationAskAdmin
	}
	switch {
	case allowed:
		return storage.RegistrationAllow
	case p.Dynamic == storage.RegistrationOff:
		return storage.RegistrationOff
	case c.Vouched: // an administrator gave away the initial access token
		return storage.RegistrationAllow
	case asked:
		return storage.RegistrationAskAdmin
	case p.Dynamic == storage.RegistrationAllow:
		return storage.RegistrationAllow
	}
	if _, known := t.enabled(p).ReturningTo(c.RedirectURIs); known {
		return storage.RegistrationAllow
	}
	return storage.RegistrationAskAdmin
}

// PrivateUse returns which redirect URIs of private-use schemes a dynamic client
// may register: exactly those that a profile needs.
func (t *Trust) PrivateUse(ctx context.Context) (func(uri string) bool, error) {
	p, err := t.Policies.RegistrationPolicy(ctx)
	if err != nil {
		return nil, err
	}
	return t.enabled(p).PrivateUse, nil
}

// Pinned returns a copy of the metadata document of that URL which ships with
// grantd, for when it cannot be fetched.
func (t *Trust) Pinned(ctx context.Context, clientID string) (document []byte, ok bool, err error) {
	p, err := t.Policies.RegistrationPolicy(ctx)
	if err != nil {
		return nil, false, err
	}
	document, ok = t.enabled(p).Pinned(clientID)
	return document, ok, nil
}

// Known returns the title of the profile that knows the address a client comes
// from, and "" if none does.
func (t *Trust) Known(ctx context.Context, c *storage.Client) (string, error) {
	if !c.SelfAsserted() {
		return "", nil
	}
	p, err := t.Policies.RegistrationPolicy(ctx)
	if err != nil {
		return "", err
	}
	profile, ok := t.enabled(p).Of(c.ClientID)
	if c.Source == storage.SourceDynamic {
		profile, ok = t.enabled(p).ReturningTo(c.RedirectURIs)
	}
	if !ok {
		return "", nil
	}
	return profile.Title, nil
}

// Strange returns the titles of the profiles, those that are switched off too, that a
// client has nothing to do with: they know neither its client_id nor, for one that
// registered itself, all the places where its answers go. On loopback that is no more
// than what the page says of any program there.
func (t *Trust) Strange(c *storage.Client) []string {
	var titles []string
	for _, p := range t.Profiles {
		if !p.Fits(c) {
			titles = append(titles, p.Title)
		}
	}
	return titles
}

func (t *Trust) enabled(p *storage.RegistrationPolicy) profiles.Set {
	return t.Profiles.Without(p.DisabledProfiles...)
}

// hostOf returns the host of an https URI without port, or of any other kind of
// URI too, but then not ok.
func hostOf(uri string) (host string, ok bool) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", false
	}
	return u.Hostname(), u.Scheme == "https" && u.Hostname() != ""
}
