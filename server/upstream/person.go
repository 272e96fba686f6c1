package upstream

import (
	"net/mail"
	"slices"
	"strings"
	"unicode/utf8"

	"grantd/storage"
)

// The bounds of what a provider says of a person. Names and addresses that are longer
// or have invisible characters are not taken over, nor are such groups.
const (
	maxEmail  = 254
	maxGroup  = 128 // characters
	maxGroups = 500
)

// Person is who somebody is, as a provider says.
type Person struct {
	Issuer, Subject   string
	Name, Email       string
	EmailVerified     bool
	PreferredUsername string
	Groups            []string
}

// refusal is why a person may not sign in: fixed words for the audit, and what they
// are told.
type refusal struct {
	reason               string
	Title, Message, Help string
}

func (r *refusal) Error() string { return "refused: " + r.reason }

const askAdmin = "If you think that you should be able to, ask your administrator."

// person maps the claims of an ID token. info is what the userinfo endpoint added; nil:
// it was not asked. *refusal: too many groups.
func person(p *storage.Provider, t *idToken, info claims) (*Person, error) {
	who := &Person{Issuer: t.issuer, Subject: t.subject}
	who.Name = clean(t.claims.or(info, p.Claims.Name).text(p.Claims.Name), storage.MaxText)
	if who.Email = cleanEmail(t.claims.or(info, p.Claims.Email).text(p.Claims.Email)); who.Email != "" && p.Claims.Email == "email" && p.Preset != storage.PresetEntra {
		who.EmailVerified = t.claims.verifies(who.Email, info)
	}
	who.PreferredUsername = clean(t.claims.or(info, "preferred_username").text("preferred_username"), maxGroup)
	if p.Claims.Groups == "" {
		return who, nil
	}
	if t.claims.overage(p.Claims.Groups) || info.overage(p.Claims.Groups) {
		return nil, tooManyGroups
	}
	said := t.claims.or(info, p.Claims.Groups).texts(p.Claims.Groups)
	if len(said) > maxGroups {
		return nil, tooManyGroups
	}
	for _, group := range said {
		if clean(group, maxGroup) != "" && !slices.Contains(who.Groups, group) {
			who.Groups = append(who.Groups, group)
		}
	}
	slices.Sort(who.Groups)
	return who, nil
}

var tooManyGroups = &refusal{
	reason: "too many groups", Title: "You are in too many groups",
	Message: "Your identity provider cannot name all of your groups, so it is not certain what you may do.",
	Help:    "Your administrator can have it send app roles, or only the groups of this application.",
}

// verifies reports whether the ID token, or if that says nothing of it info, says that
// the address is verified: a source speaks of its own address only.
func (c claims) verifies(email string, info claims) bool {
	for _, source := range []claims{c, info} {
		if said := source["email_verified"]; said != nil && source.text("email") == email {
			return said == true || said == "true"
		}
	}
	return false
}

// missing reports whether the ID token lacks a claim that is mapped, or whether an
// address in it is verified.
func (c claims) missing(names storage.ProviderClaims) bool {
	if names.Email == "email" && c["email_verified"] == nil {
		return true
	}
	return slices.ContainsFunc([]string{names.Name, names.Email, names.Groups}, func(name string) bool { return name != "" && c.value(name) == nil })
}

// or is c, or other if only that has the claim.
func (c claims) or(other claims, name string) claims {
	if c.value(name) == nil && other.value(name) != nil {
		return other
	}
	return c
}

// value is the claim of this name. One that is not there by its whole name may be a
// member of others: realm_access.roles.
func (c claims) value(name string) any {
	if v, ok := c[name]; ok {
		return v
	}
	first, rest, nested := strings.Cut(name, ".")
	inner, ok := c[first].(map[string]any)
	if !nested || !ok {
		return nil
	}
	return claims(inner).value(rest)
}

func (c claims) text(name string) string {
	text, _ := c.value(name).(string)
	return text
}

// texts is a claim that is a list of texts, or one.
func (c claims) texts(name string) []string {
	switch value := c.value(name).(type) {
	case string:
		return []string{value}
	case []any:
		var texts []string
		for _, item := range value {
			if text, ok := item.(string); ok {
				texts = append(texts, text)
			}
		}
		return texts
	}
	return nil
}

// overage reports whether the groups are somewhere else, because they are too many for
// a token (Entra ID, and distributed claims of OpenID Connect Core §5.6.2).
func (c claims) overage(name string) bool {
	if names, ok := c["_claim_names"].(map[string]any); ok && names[name] != nil {
		return true
	}
	return name == "groups" && (c["hasgroups"] == true || c["hasgroups"] == "true")
}

// clean is value, or "" if it is too long or has characters that nobody can see.
func clean(value string, limit int) string {
	value = strings.TrimSpace(value)
	if !utf8.ValidString(value) || utf8.RuneCountInString(value) > limit || strings.ContainsFunc(value, storage.Invisible) {
		return ""
	}
	return value
}

func cleanEmail(value string) string {
	value = clean(value, maxEmail)
	if address, err := mail.ParseAddress(value); err != nil || address.Address != value {
		return ""
	}
	return value
}

// allow checks the person against whom the provider's settings let in. *refusal.
func allow(p *storage.Provider, t *idToken, who *Person) error {
	if len(p.AllowedTenants) > 0 && !containsFold(p.AllowedTenants, t.claims.text("tid")) {
		return notAllowed("tenant", "Your account is not of a tenant that this server lets in.")
	}
	if len(p.AllowedDomains) > 0 {
		domain := t.claims.text("hd") // Google: whose account it is, whatever its address
		if p.Preset != storage.PresetGoogle {
			if domain = ""; who.EmailVerified {
				domain = who.Email[strings.LastIndexByte(who.Email, '@')+1:]
			}
		}
		if !containsFold(p.AllowedDomains, domain) {
			return notAllowed("domain", "Your account is not of a domain that this server lets in.")
		}
	}
	if len(p.AllowedGroups) > 0 && !slices.ContainsFunc(who.Groups, func(group string) bool { return slices.Contains(p.AllowedGroups, group) }) {
		return notAllowed("group", "Your account is not of a group that this server lets in.")
	}
	return nil
}

func notAllowed(by, message string) *refusal {
	return &refusal{reason: "not of an allowed " + by, Title: "You may not sign in here", Message: message, Help: askAdmin}
}

func containsFold(list []string, value string) bool {
	return value != "" && slices.ContainsFunc(list, func(item string) bool { return strings.EqualFold(item, value) })
}
