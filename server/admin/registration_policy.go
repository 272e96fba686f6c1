package admin

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"grantd/api"
	"grantd/server/profiles"
	"grantd/storage"
)

const (
	maxHost             = 253
	maxDisabledProfiles = 100
)

func (h *handlers) GetRegistrationPolicy(ctx context.Context, _ api.GetRegistrationPolicyRequestObject) (api.GetRegistrationPolicyResponseObject, error) {
	p, err := h.store.RegistrationPolicy(ctx)
	if err != nil {
		return nil, err
	}
	return api.GetRegistrationPolicy200JSONResponse{
		Body: showRegistrationPolicy(p), Headers: api.GetRegistrationPolicy200ResponseHeaders{ETag: etag(p.Version)},
	}, nil
}

func (h *handlers) UpdateRegistrationPolicy(ctx context.Context, request api.UpdateRegistrationPolicyRequestObject) (api.UpdateRegistrationPolicyResponseObject, error) {
	body := request.ApplicationMergePatchPlusJSONBody
	if body == nil {
		body = request.JSONBody
	}
	sent, err := fieldsOf(body)
	if err != nil {
		return nil, err
	}
	var p *storage.RegistrationPolicy
	err = retryConflicts(func() error {
		var err error
		if p, err = h.store.RegistrationPolicy(ctx); err != nil {
			return err
		}
		if err := checkIfMatch(request.Params.IfMatch, p.Version); err != nil {
			return err
		}
		return h.updateRegistrationPolicy(ctx, p, sent)
	})
	if err != nil {
		return nil, err
	}
	return api.UpdateRegistrationPolicy200JSONResponse{
		Body: showRegistrationPolicy(p), Headers: api.UpdateRegistrationPolicy200ResponseHeaders{ETag: etag(p.Version)},
	}, nil
}

// updateRegistrationPolicy changes p by the patch and writes it. A patch that changes nothing
// writes nothing.
func (h *handlers) updateRegistrationPolicy(ctx context.Context, p *storage.RegistrationPolicy, sent patch) error {
	before := showRegistrationPolicy(p)
	merged, err := applyPatch(before, sent)
	if err != nil {
		return err
	}
	if err := h.setRegistrationPolicy(p, merged).err(); err != nil {
		return err
	}
	event, changed, err := withChanges(h.event(ctx, "registration_policy.updated", "registration-policy"), before, showRegistrationPolicy(p))
	if err != nil || !changed {
		return err
	}
	p.UpdatedAt = event.At
	return h.store.UpdateRegistrationPolicy(ctx, p, event)
}

// setRegistrationPolicy sets every field of p, applying the defaults, and returns all that is
// wrong with them.
func (h *handlers) setRegistrationPolicy(p *storage.RegistrationPolicy, fields api.RegistrationPolicy) faults {
	var f faults
	modes := []string{string(storage.RegistrationAllow), string(storage.RegistrationAskAdmin), string(storage.RegistrationOff)}
	set := func(pointer string, into *storage.RegistrationMode, sent string, allowed ...string) {
		if sent == "" {
			sent = string(storage.RegistrationAskAdmin)
		}
		f.oneOf(pointer, sent, allowed...)
		*into = storage.RegistrationMode(sent)
	}
	set("/dynamic", &p.Dynamic, fields.Dynamic, append(slices.Clone(modes), string(storage.RegistrationToken))...)
	set("/metadata_documents", &p.MetadataDocuments, fields.MetadataDocuments, modes...)

	p.Hosts = make([]storage.HostDecision, 0, len(fields.Hosts))
	if f.count("/hosts", len(fields.Hosts), storage.MaxHostDecisions) {
		seen := make(map[string]bool, len(fields.Hosts))
		for i, d := range fields.Hosts {
			pointer := at("/hosts", i)
			switch {
			case !validHost(d.Host):
				f.add(pointer+"/host", `must be a host name in lower case (punycode), an address, or "*." and a domain of two parts or more; without port`)
			case seen[d.Host]:
				f.add(pointer+"/host", "is there more than once")
			}
			f.oneOf(pointer+"/decision", d.Decision, modes...)
			seen[d.Host] = true
			p.Hosts = append(p.Hosts, storage.HostDecision{Host: d.Host, Decision: storage.RegistrationMode(d.Decision)})
		}
	}
	slices.SortFunc(p.Hosts, func(a, b storage.HostDecision) int { return strings.Compare(a.Host, b.Host) })

	if f.count("/disabled_profiles", len(fields.DisabledProfiles), maxDisabledProfiles) {
		f.unique("/disabled_profiles", fields.DisabledProfiles)
		for i, name := range fields.DisabledProfiles {
			// One that came with another version of grantd may stay.
			if !h.profiles.Has(name) && !slices.Contains(p.DisabledProfiles, name) {
				f.add(at("/disabled_profiles", i), "is not the name of a client profile")
			}
		}
	}
	p.DisabledProfiles = slices.Sorted(slices.Values(fields.DisabledProfiles))
	return f
}

// validHost reports whether a decision may be on host: a name or an address as a
// URL has it once it is parsed, or "*." and a domain.
func validHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.String() == host && addr.Zone() == "" && !addr.Is4In6()
	}
	domain, wild := strings.CutPrefix(host, "*.")
	labels := strings.Split(domain, ".")
	if len(host) > maxHost || wild && len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	// What ends in a number is an address to some, and no name to anyone.
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

func showRegistrationPolicy(p *storage.RegistrationPolicy) api.RegistrationPolicy {
	hosts := make([]api.HostDecision, len(p.Hosts))
	for i, d := range p.Hosts {
		hosts[i] = api.HostDecision{Host: d.Host, Decision: string(d.Decision)}
	}
	return api.RegistrationPolicy{
		Dynamic: string(p.Dynamic), MetadataDocuments: string(p.MetadataDocuments), Hosts: hosts,
		DisabledProfiles: list(p.DisabledProfiles), UpdatedAt: optionalTime(p.UpdatedAt),
	}
}

// ListClientProfiles pages in memory: there are never more than a few.
func (h *handlers) ListClientProfiles(ctx context.Context, request api.ListClientProfilesRequestObject) (api.ListClientProfilesResponseObject, error) {
	page, err := pageOf(request.Params.Cursor, request.Params.Limit, "")
	if err != nil {
		return nil, err
	}
	policy, err := h.store.RegistrationPolicy(ctx)
	if err != nil {
		return nil, err
	}
	all := h.profiles
	if page.After != "" {
		last := slices.IndexFunc(all, func(p *profiles.Profile) bool { return p.Name == page.After })
		if last < 0 {
			return nil, faults{{Pointer: "?cursor", Detail: "is not the next_cursor of a page of this list"}}.err()
		}
		all = all[last+1:]
	}
	items, next := cut(all[:min(len(all), page.Limit)], page, func(p *profiles.Profile) string { return p.Name }, func(p *profiles.Profile) api.ClientProfile {
		return api.ClientProfile{
			Name: p.Name, Title: p.Title, Description: p.Description, Source: p.Source, Date: p.Date,
			Enabled: !slices.Contains(policy.DisabledProfiles, p.Name), ClientIds: list(p.ClientIDs), RedirectUris: list(p.RedirectURIs), Pinned: list(p.Pinned()),
		}
	})
	return api.ListClientProfiles200JSONResponse{Items: items, NextCursor: next}, nil
}
