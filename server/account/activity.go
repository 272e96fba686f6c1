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
	page := templates.ActivityPage{AccountURL: h.root + "/account"}
	if len(events) > eventsPerPage {
		events = events[:eventsPerPage]
		page.OlderURL = h.root + "/account/activity?before=" + url.QueryEscape(events[eventsPerPage-1].ID)
	}
	for _, event := range events {
		words, err := h.inWords(v.r.Context(), v.user().ID, event)
		if err != nil {
			return err
		}
		page.Events = append(page.Events, words)
	}
	return h.Pages.Write(v.w, http.StatusOK, web.OwnForms, func(out io.Writer) error { return h.Pages.Templates.Activity(out, page) })
}

// What an event means to the person it is about. The page fills {app} and {server}
// in; byOthers is for what somebody else did.
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
		"passkey.created":              "You made a passkey.",
		"passkey.renamed":              "You renamed a passkey.",
		"passkey.deleted":              "You removed a passkey.",
		"passkey.cloned":               "A passkey of yours was refused: there may be a copy of it. Remove it.",
		"totp.created":                 "You set up an authenticator app.",
		"totp.deleted":                 "You removed your authenticator app.",
		"recovery_codes.created":       "You made new recovery codes.",
		"recovery_code.used":           "You signed in with a recovery code.",
		"user.factors_reset":           "An administrator removed your second factor.",
		"session.ended":                "You signed out another browser.",
		"session.replaced":             "A new sign-in in the same browser took the place of an older one.",
		"grant.approved":               "You allowed {app} to use {server}.",
		"grant.revoked":                "You removed the access of {app} to {server}.",
		"device_authorization.denied":  "You denied a device access.",
		"registration_request.created": "You asked the administrators to allow an application.",
		"client.registered":            "You were the first to allow an application here.",
		"client.document_changed":      "An application that you allowed had changed its description.",
	}
	byOthers = map[string]string{
		"grant.revoked": "An administrator removed the access of {app} to {server}.",
	}
	endings = map[string]string{ // of a family, by the reason
		"refresh token revoked": "One sign-in of an application ended: it signed out.",
		"refresh token reused":  "One sign-in of an application ended: its token was used twice, so somebody may have had a copy.",
		"":                      "One sign-in of an application ended: it was used in a way that is not safe.",
	}
)

// inWords is an event as the page tells it.
func (h *Handler) inWords(ctx context.Context, userID string, event *storage.AuditEvent) (templates.Activity, error) {
	told := templates.Activity{At: event.At, Text: sentenceOf(userID, event), Address: event.Detail["address"]}
	if !strings.Contains(told.Text, "{app}") {
		return told, nil
	}
	return told, h.name(ctx, &told, event.Detail["client_id"], event.Detail["resource_id"])
}

func sentenceOf(userID string, event *storage.AuditEvent) string {
	sentence, ok := byOthers[event.Action]
	mine := event.Actor == "user:"+userID
	if mine || !ok {
		sentence, ok = sentences[event.Action]
	}
	switch {
	case event.Action == "user_link.used" && event.Detail["passkey_id"] != "":
		return "A passkey was made with a link."
	case event.Action == "user_link.created" && event.Detail["purpose"] == string(storage.LinkInvitation):
		return "An administrator invited you to set a password."
	case event.Action == "user_link.created":
		return "An administrator made a link to reset your password."
	case event.Action == "user.updated" && slices.Contains(strings.Fields(event.Detail["changed"]), "password"):
		return "An administrator set a new password for you."
	case event.Action == "family.ended" && mine:
		return "You ended one sign-in of {app} to {server}."
	case event.Action == "family.ended":
		if ending, known := endings[event.Detail["reason"]]; known {
			return ending
		}
		return endings[""]
	case !ok: // said as it is in the log, which is better than nothing
		return strings.ReplaceAll(strings.ReplaceAll(event.Action, "_", " "), ".", ": ")
	}
	return sentence
}

// name tells what a person calls a client and an MCP server, where they are not
// gone.
func (h *Handler) name(ctx context.Context, told *templates.Activity, clientID, resourceID string) error {
	client, err := h.Catalog.ClientByID(ctx, clientID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
	case err != nil:
		return err
	default:
		described := h.Describe(client, "")
		told.App, told.Unverified = described.Name, !described.Verified && described.Host == ""
		if !described.Verified && described.Host != "" {
			told.App = described.Host
		}
	}
	switch resource, err := h.resource(ctx, resourceID); {
	case errors.Is(err, storage.ErrNotFound):
	case err != nil:
		return err
	default:
		told.Identity, told.Administration = resource.Identity(), resource.BuiltIn()
		if told.Server = resource.Name; told.Server == "" {
			told.Server = resource.URI
		}
	}
	return nil
}
