package notice

import (
	"slices"
	"strings"

	"grantd/storage"
)

// What the acts mean to whose account it is. The mail does not say who did it: perhaps
// it was somebody else.
var sentences = map[string]string{
	"totp.created":           "An authenticator app was set up for your account.",
	"totp.deleted":           "The authenticator app was removed from your account.",
	"passkey.created":        "A passkey was added to your account.",
	"passkey.deleted":        "A passkey was removed from your account.",
	"recovery_codes.created": "New recovery codes were made for your account. Those from before no longer work.",
	"recovery_code.used":     "A recovery code was used to sign in to your account.",
	"user.factors_reset":     "An administrator removed the second factor of your account.",
	"user.password_changed":  "The password of your account was changed.",
	"user_link.used":         "The password of your account was set with a link.",
	"user.linked":            "Your account was joined with that at your identity provider, and its password ended.",
}

// sentenceOf is what a person is told of an event, "" for nothing.
func sentenceOf(e *storage.AuditEvent) string {
	if e.Action == "user.updated" && slices.Contains(strings.Fields(e.Detail["changed"]), "password") {
		return "An administrator set a new password for your account."
	}
	return sentences[e.Action]
}

// about is the id of the User whom such an event is about.
func about(e *storage.AuditEvent) string {
	if id := e.Detail[storage.DetailUser]; id != "" {
		return id
	}
	if _, err := storage.IDBytes(storage.PrefixUser, e.Target); err == nil {
		return e.Target
	}
	id, _ := strings.CutPrefix(e.Actor, "user:")
	return id
}
