package account

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"grantd/server/web"
	"grantd/storage"
	"grantd/templates"
)

const eventsPerPage = 30

// Activity tells what happened about the account, newest first (GET and HEAD).
func (h *Handler) Activity() http.Handler { return h.attend(h.activity) }

func (h *Handler) activity(v *visit) error {
	before := v.r.URL.Query().Get("before")
	if _, err := storage.IDBytes(storage.PrefixAuditEvent, before); before != "" && err != nil {
		return &web.Error{Status: http.StatusBadRequest, Code: "malformed", Message: "This page of the activity does not exist.", Err: err}
	}
	events, err := h.Store.UserAuditEvents(v.r.Context(), v.user().ID, before, eventsPerPage+1)
	if err != nil {
		return err
	}
	page := templates.ActivityPage{Base: h.Pages.Base(), AccountURL: h.root + "/account"}
	if len(events) > eventsPerPage {
		events = events[:eventsPerPage]
		page.OlderURL = h.root + "/account/activity?before=" + url.QueryEscape(events[eventsPerPage-1].ID)
	}
	for _, event := range events {
		text, err := h.inWords(v.r.Context(), v.user().ID, event)
		if err != nil {
			return err
		}
		page.Events = append(page.Events, templates.Activity{At: event.At, Text: text, Address: event.Detail["address"]})
	}
	return h.Pages.Write(v.w, http.StatusOK, web.OwnForms, func(out io.Writer) error { return h.Pages.Templates.Activity(out, page) })
}

// What an event means to the person it is about. {app} and {server} are filled in;
// byOthers is for what somebody else did.
var (
	sentences = map[string]string{
		"user.signed_in":               "You signed in.",
		"user.signed_out":              "You signed out.",
		"user.password_changed":        "You changed your password.",
		"user.created":                 "Your account was made.",
		"user.updated":                 "An administrator changed your account.",
		"user.verified":                "Your identity provider confirmed who you are.",
		"user.linked":                  "Your account was joined with that at your identity provider, and its password ended.",
		"user.sign_in_blocked":         "Sign-ins as you were slowed down after many wrong passwords.",
		"user_code.guessing_blocked":   "Too many wrong device codes were entered.",
		"user_link.used":               "A password was set with a link.",
		"user_link.deleted":            "An administrator withdrew your link to set a password.",
		"session.ended":                "You signed out another browser.",
		"session.replaced":             "A new sign-in in the same browser took the place of an older one.",
		"grant.approved":               "You allowed {app} to use {server}.",
		"grant.revoked":                "You removed the access of {app} to {server}.",
		"device_authorization.denied":  "You denied a device access.",
		"registration_request.created": "You asked the administrators to allow an application.",
		"client.registered":            "You were the first to allow an application here.",
		"client.document_changed":      "An application that you allowed had changed its description.",
		"family.ended":                 "One sign-in of an application ended: {reason}.",
	}
	byOthers = map[string]string{
		"grant.revoked": "An administrator removed the access of {app} to {server}.",
	}
	reasons = map[string]string{
		"refresh token revoked": "it signed out",
		"refresh token reused":  "its token was used twice, so somebody may have had a copy",
	}
)

// inWords is an event as a sentence.
func (h *Handler) inWords(ctx context.Context, userID string, event *storage.AuditEvent) (string, error) {
	sentence, ok := byOthers[event.Action]
	if !ok || event.Actor == "user:"+userID {
		sentence, ok = sentences[event.Action]
	}
	switch {
	case event.Action == "user_link.created" && event.Detail["purpose"] == string(storage.LinkInvitation):
		return "An administrator invited you to set a password.", nil
	case event.Action == "user_link.created":
		return "An administrator made a link to reset your password.", nil
	case event.Action == "user.updated" && slices.Contains(strings.Fields(event.Detail["changed"]), "password"):
		return "An administrator set a new password for you.", nil
	case !ok: // said as it is in the log, which is better than nothing
		return strings.ReplaceAll(strings.ReplaceAll(event.Action, "_", " "), ".", ": "), nil
	}
	reason := reasons[event.Detail["reason"]]
	if reason == "" {
		reason = "it was used in a way that is not safe"
	}
	sentence = strings.ReplaceAll(sentence, "{reason}", reason)
	if !strings.Contains(sentence, "{app}") {
		return sentence, nil
	}
	app, server, err := h.names(ctx, event.Detail["client_id"], event.Detail["resource_id"])
	return strings.NewReplacer("{app}", app, "{server}", server).Replace(sentence), err
}

// names are what a person calls a client and an MCP server that may be gone.
func (h *Handler) names(ctx context.Context, clientID, resourceID string) (app, server string, err error) {
	app, server = "an application that is gone", "an MCP server that is gone"
	client, err := h.Catalog.ClientByID(ctx, clientID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
	case err != nil:
		return "", "", err
	default:
		described := h.Describe(client, "")
		switch {
		case described.Verified || described.Host == "":
			app = described.Name
		default:
			app = described.Host
		}
		if !described.Verified && described.Host == "" {
			app = "an unverified application, which calls itself “" + templates.CleanText(app, 64) + "”,"
		}
	}
	resources, err := h.Catalog.Resources(ctx)
	if err != nil {
		return "", "", err
	}
	for _, r := range resources {
		if r.ID == resourceID {
			if server = r.Name; server == "" {
				server = r.URI
			}
		}
	}
	return app, server, nil
}
