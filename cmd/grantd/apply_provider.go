package main

import (
	"errors"

	"grantd/cmd/grantd/internal/manifest"
	"grantd/server/upstream"
	"grantd/storage"
)

// secretField is that of a provider's secret: of the API the text, of a file where it is.
const secretField = "client_secret"

// providerSecret is where a provider's secret is, or that there is none.
type providerSecret struct {
	File string `json:"file"`
	Env  string `json:"env"`
	None bool   `json:"none"`
}

const providerSecretWays = "must have one of file, env and none: true"

// providerSecret completes the body of a provider's create or change with its secret.
// A provider that is there keeps the one it has where the file says nothing.
func (p *planner) providerSecret(k *kept, o *manifest.Object, c *change) {
	if k.List != providersList {
		return
	}
	reference, said := o.Fields[secretField].(object)
	switch none, _ := reference["none"].(bool); {
	case !said && c.Action == actCreate:
		p.fault(o, "", "needs %s: {file: PATH} or {env: NAME}, or {none: true} for a public client", secretField)
	case !said:
	case len(reference) != 1:
		p.fault(o, "/"+secretField, providerSecretWays)
	case none && c.Action == actUpdate:
		c.body[secretField] = nil
	case none:
	default:
		text, err := p.secretText(o, reference)
		if errors.Is(err, errWays) {
			err = errors.New(providerSecretWays)
		}
		if err != nil {
			p.fault(o, "/"+secretField, "%v", err)
			return
		}
		c.body[secretField] = text
		if c.Action == actCreate {
			c.Fields = append(c.Fields, fieldChange{Field: secretField, New: "set"})
		}
	}
}

// secretDifference is what becomes of a provider's secret, of which the server tells
// since when it is the one.
func secretDifference(before, after object) []fieldChange {
	const setAt = "client_secret_set_at"
	was, is := before["has_client_secret"] == true, after["has_client_secret"] == true
	switch {
	case was && is && before[setAt] != after[setAt]:
		return []fieldChange{{Field: secretField, Old: "set", New: "set anew"}}
	case was && !is:
		return []fieldChange{{Field: secretField, Old: "set"}}
	case is && !was:
		return []fieldChange{{Field: secretField, New: "set"}}
	}
	return nil
}

// completeClaims adds to a provider's claims those that its file leaves out, which are
// the defaults of its preset: a change of some would leave the others as they are.
func completeClaims(k *kept, o *manifest.Object) {
	if k.List != providersList {
		return
	}
	claims, said := o.Fields["claims"].(object)
	if !said {
		claims = object{}
		o.Fields["claims"] = claims
	}
	_, defaults := upstream.Defaults(storage.Preset(word(o.Fields, "preset")))
	for name, value := range map[string]string{"name": defaults.Name, "email": defaults.Email, "groups": defaults.Groups} {
		if _, said := claims[name]; !said {
			claims[name] = value
		}
	}
}
