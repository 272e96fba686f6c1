package admin

import (
	"context"

	"grantd/api"
	"grantd/storage"
)

func (h *handlers) GetSignInPolicy(ctx context.Context, _ api.GetSignInPolicyRequestObject) (api.GetSignInPolicyResponseObject, error) {
	p, err := h.store.SignInPolicy(ctx)
	if err != nil {
		return nil, err
	}
	return api.GetSignInPolicy200JSONResponse{
		Body: showSignInPolicy(p), Headers: api.GetSignInPolicy200ResponseHeaders{ETag: etag(p.Version)},
	}, nil
}

func (h *handlers) UpdateSignInPolicy(ctx context.Context, request api.UpdateSignInPolicyRequestObject) (api.UpdateSignInPolicyResponseObject, error) {
	body := request.ApplicationMergePatchPlusJSONBody
	if body == nil {
		body = request.JSONBody
	}
	sent, err := fieldsOf(body)
	if err != nil {
		return nil, err
	}
	var p *storage.SignInPolicy
	err = retryConflicts(func() error {
		var err error
		if p, err = h.store.SignInPolicy(ctx); err != nil {
			return err
		}
		if err := checkIfMatch(request.Params.IfMatch, p.Version); err != nil {
			return err
		}
		return h.updateSignInPolicy(ctx, p, sent)
	})
	if err != nil {
		return nil, err
	}
	return api.UpdateSignInPolicy200JSONResponse{
		Body: showSignInPolicy(p), Headers: api.UpdateSignInPolicy200ResponseHeaders{ETag: etag(p.Version)},
	}, nil
}

// updateSignInPolicy changes p by the patch and writes it. A patch that changes nothing
// writes nothing.
func (h *handlers) updateSignInPolicy(ctx context.Context, p *storage.SignInPolicy, sent patch) error {
	before := showSignInPolicy(p)
	merged, err := applyPatch(before, sent)
	if err != nil {
		return err
	}
	var f faults
	set := func(pointer, sent string, allowed ...string) string {
		if sent == "" {
			sent = allowed[0]
		}
		f.oneOf(pointer, sent, allowed...)
		return sent
	}
	p.SecondFactor = storage.SecondFactorRule(set("/second_factor", merged.SecondFactor,
		string(storage.SecondFactorNone), string(storage.SecondFactorRequired), string(storage.SecondFactorPasskeysOnly)))
	if p.SecondFactor == storage.SecondFactorPasskeysOnly && !h.offersPasskeys {
		f.add("/second_factor", "browsers allow no passkeys at an IP address: give grantd an issuer with a host name, such as http://localhost:8080")
	}
	p.DestructiveScopes = storage.DestructiveScopesRule(set("/destructive_scopes", merged.DestructiveScopes,
		string(storage.DestructiveScopesNone), string(storage.DestructiveScopesSecondFactor)))
	if err := f.err(); err != nil {
		return err
	}
	event, changed, err := withChanges(h.event(ctx, "sign_in_policy.updated", "sign-in-policy"), before, showSignInPolicy(p))
	if err != nil || !changed {
		return err
	}
	p.UpdatedAt = event.At
	return h.store.UpdateSignInPolicy(ctx, p, event)
}

func showSignInPolicy(p *storage.SignInPolicy) api.SignInPolicy {
	return api.SignInPolicy{SecondFactor: string(p.SecondFactor), DestructiveScopes: string(p.DestructiveScopes), UpdatedAt: optionalTime(p.UpdatedAt)}
}

func (h *handlers) GetUserFactors(ctx context.Context, request api.GetUserFactorsRequestObject) (api.GetUserFactorsResponseObject, error) {
	if err := checkID(storage.PrefixUser, request.ID); err != nil {
		return nil, err
	}
	if _, err := h.store.User(ctx, request.ID); err != nil {
		return nil, err
	}
	factors, err := h.store.Factors(ctx, request.ID)
	if err != nil {
		return nil, err
	}
	shown := api.GetUserFactors200JSONResponse{Passkeys: []api.Passkey{}, RecoveryCodes: factors.RecoveryCodes}
	if t := factors.TOTP; t != nil {
		shown.Totp = &api.TOTP{CreatedAt: t.CreatedAt, LastUsedAt: t.LastUsedAt}
	}
	for _, p := range factors.Passkeys {
		shown.Passkeys = append(shown.Passkeys, api.Passkey{
			ID: p.ID, Name: p.Name, BackedUp: p.BackedUp, CreatedAt: p.CreatedAt, LastUsedAt: optionalTime(p.LastUsedAt),
		})
	}
	return shown, nil
}

func (h *handlers) ResetUserFactors(ctx context.Context, request api.ResetUserFactorsRequestObject) (api.ResetUserFactorsResponseObject, error) {
	if err := checkID(storage.PrefixUser, request.ID); err != nil {
		return nil, err
	}
	if err := h.store.ResetFactors(ctx, request.ID, h.event(ctx, "user.factors_reset", request.ID)); err != nil {
		return nil, err
	}
	return api.ResetUserFactors204Response{}, nil
}
