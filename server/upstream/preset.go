package upstream

import (
	"regexp"
	"strings"

	"grantd/storage"
)

// Presets are the makes of providers that there are.
var Presets = []storage.Preset{storage.PresetNone, storage.PresetOkta, storage.PresetEntra, storage.PresetGoogle, storage.PresetKeycloak}

// Defaults are the scopes and claims of a preset, where an admin does not say.
func Defaults(preset storage.Preset) (scopes []string, claims storage.ProviderClaims) {
	scopes = []string{"profile", "email"}
	claims = storage.ProviderClaims{Name: "name", Email: "email", Groups: "groups"}
	switch preset {
	case storage.PresetOkta:
		scopes = append(scopes, "groups")
	case storage.PresetEntra:
		claims.Groups = "roles" // app roles: names that cannot be too many
	case storage.PresetGoogle:
		claims.Groups = "" // it tells none
	}
	return scopes, claims
}

// googleIssuer is the only issuer of Google accounts.
const googleIssuer = "https://accounts.google.com"

// CheckRules returns what a provider's settings lack to be safe, by the field to mend;
// empty: nothing. The account at some providers is anybody's who has one.
func CheckRules(p *storage.Provider) (field, problem string) {
	switch {
	case p.Preset == storage.PresetGoogle && p.Issuer != googleIssuer:
		return "/issuer", "must be " + googleIssuer + " with the preset google"
	case p.Preset == storage.PresetGoogle && len(p.AllowedDomains) == 0:
		return "/allowed_domains", "must name your organisation's domains: everybody can have a Google account"
	case p.Preset == storage.PresetEntra && manyTenants(p.Issuer) && len(p.AllowedTenants) == 0:
		return "/allowed_tenants", "must name your tenants: the issuer is that of everybody's"
	case p.Preset == storage.PresetEntra && len(p.AllowedDomains) > 0:
		return "/allowed_domains", "cannot be used: Entra ID does not say whether an e-mail address is verified; use allowed_tenants"
	case p.Preset == storage.PresetEntra && p.LinkByEmail:
		return "/link_by_email", "cannot be used: Entra ID does not say whether an e-mail address is verified"
	case p.Preset != storage.PresetEntra && len(p.AllowedTenants) > 0:
		return "/allowed_tenants", "goes with the preset entra only"
	case p.LinkByEmail && p.Claims.Email != "email":
		return "/link_by_email", "goes with the claim email only: email_verified speaks of no other"
	case len(p.AllowedDomains) > 0 && p.Preset != storage.PresetGoogle && p.Claims.Email != "email":
		return "/allowed_domains", "goes with the claim email only: email_verified speaks of no other"
	case len(p.AllowedGroups) > 0 && p.Claims.Groups == "":
		return "/allowed_groups", "needs the claim that the groups are in"
	}
	return "", ""
}

// entraAuthority is where all tenants' issuers are.
const entraAuthority = "https://login.microsoftonline.com/"

// manyTenants reports whether an issuer of Entra ID is that of more than one tenant.
func manyTenants(issuer string) bool {
	tenant, ok := strings.CutPrefix(issuer, entraAuthority)
	return ok && (tenant == "common/v2.0" || tenant == "organizations/v2.0" || tenant == "consumers/v2.0")
}

var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// issuerOf is the issuer that the ID token of a person in this tenant must name.
func issuerOf(p *storage.Provider, tenant string) string {
	if p.Preset == storage.PresetEntra && manyTenants(p.Issuer) && guid.MatchString(tenant) {
		return entraAuthority + tenant + "/v2.0"
	}
	return p.Issuer
}

// metadataIssuer is what the provider's metadata calls the issuer.
func metadataIssuer(p *storage.Provider) string {
	if p.Preset == storage.PresetEntra && manyTenants(p.Issuer) {
		return entraAuthority + "{tenantid}/v2.0"
	}
	return p.Issuer
}
