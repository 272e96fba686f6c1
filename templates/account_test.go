package templates_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"grantd/templates"
)

var (
	morning = time.Date(2026, time.March, 2, 9, 5, 0, 0, time.UTC)
	evening = time.Date(2026, time.March, 14, 21, 40, 0, 0, time.FixedZone("east", 2*60*60))
)

func accountFixtures() []fixture {
	account := func(p templates.AccountPage) func(*templates.Set, io.Writer) error {
		return func(s *templates.Set, w io.Writer) error { return s.Account(w, p) }
	}
	revoke := func(p templates.RevokePage) func(*templates.Set, io.Writer) error {
		return func(s *templates.Set, w io.Writer) error { return s.Revoke(w, p) }
	}
	change := func(p templates.PasswordPage) func(*templates.Set, io.Writer) error {
		return func(s *templates.Set, w io.Writer) error { return s.Password(w, p) }
	}
	activity := func(p templates.ActivityPage) func(*templates.Set, io.Writer) error {
		return func(s *templates.Set, w io.Writer) error { return s.Activity(w, p) }
	}
	link := func(p templates.LinkPage) func(*templates.Set, io.Writer) error {
		return func(s *templates.Set, w io.Writer) error { return s.Link(w, p) }
	}
	enrol := func(p templates.EnrolPage) func(*templates.Set, io.Writer) error {
		p.Enrolment, p.Secret, p.Account = "sealed_enrolment", "ABCD EFGH IJKL MNOP QRST UVWX YZ23 4567", alice
		p.URI = "otpauth://totp/auth.example.com:alice?secret=ABCDEFGHIJKLMNOPQRSTUVWXYZ234567&issuer=auth.example.com"
		p.QR, p.QRSize = "M0 0h7v1h-7zM0 1h1v1h-1z", 33
		return func(s *templates.Set, w io.Writer) error { return s.Enrol(w, p) }
	}
	secondFactor := func(p templates.SecondFactorPage) func(*templates.Set, io.Writer) error {
		return func(s *templates.Set, w io.Writer) error { return s.SecondFactor(w, p) }
	}
	security := func(p templates.SecurityPage) func(*templates.Set, io.Writer) error {
		return func(s *templates.Set, w io.Writer) error { return s.Security(w, p) }
	}
	passkey := func(p templates.PasskeyPage) func(*templates.Set, io.Writer) error {
		p.Action, p.BackURL, p.Page, p.Account, p.Passkey = "/account/security/passkey", "/account/security", "ses_1", alice, makePasskey
		return func(s *templates.Set, w io.Writer) error { return s.Passkey(w, p) }
	}
	problem := "The current password is not right. Nothing was changed."
	return []fixture{
		{"account", account(accountPage())},
		{"account_notice", account(templates.AccountPage{
			Account: templates.Account{Username: "demo"}, LogoutAction: "/auth/logout", ActivityURL: "/auth/account/activity",
			Notice: "The access is removed.",
		})},
		{"account_hostile", account(accountHostile())},
		{"account_provider", account(templates.AccountPage{
			Account: alice, LogoutAction: "/logout", ActivityURL: "/account/activity", Providers: []string{"Example Inc.", "<b>Another</b>\u202e"},
		})},
		{"revoke", revoke(templates.RevokePage{
			Action: "/account/revoke", AccountURL: "/account", Page: "ses_1", Grant: "grt_1", Applications: accountPage().Applications[:1],
		})},
		{"revoke_all", revoke(templates.RevokePage{
			Action: "/account/revoke", AccountURL: "/account", Page: "ses_1", Grant: "all", Applications: accountHostile().Applications,
		})},
		{"password", change(templates.PasswordPage{Action: "/account/password", AccountURL: "/account", Page: "ses_1", Account: alice})},
		{"password_problem", change(templates.PasswordPage{Action: "/account/password", AccountURL: "/account", Page: "ses_1", Account: alice, Problem: problem})},
		{"activity", activity(templates.ActivityPage{
			AccountURL: "/account", OlderURL: "/account/activity?before=evt_1",
			Events: []templates.Activity{
				{At: evening, Text: "You allowed Team Assistant to use Field Notes."},
				{At: evening, Text: "You signed in.", Address: "2001:db8::17"},
				{At: morning, Text: "Somebody tried to sign in as you with a wrong password.", Address: "203.0.113.9"},
			},
		})},
		{"second_factor", secondFactor(templates.SecondFactorPage{Action: authorizeAs("/login"), Step: "sealed_step", Account: alice})},
		{"second_factor_problem", secondFactor(templates.SecondFactorPage{
			Action: "/login", Step: "sealed_step", Account: alice, Problem: "The code is not right, or was used before. Wait for the next one and try again.",
		})},
		{"second_factor_passkey", secondFactor(templates.SecondFactorPage{Action: "/login", Step: "sealed_step", Account: alice, Passkey: askPasskey})},
		{"second_factor_passkey_alone", secondFactor(templates.SecondFactorPage{
			Action: "/login", Step: "sealed_step", Account: alice, Passkey: askPasskey, NoApp: true, Problem: "That passkey was not accepted. Try again, or sign in another way.",
		})},
		{"enrol_required_passkey", enrol(templates.EnrolPage{Action: "/login", Step: "sealed_step", Required: true, Passkey: makePasskey})},
		{"passkey", passkey(templates.PasskeyPage{Name: "Firefox on Linux"})},
		{"passkey_problem", passkey(templates.PasskeyPage{Name: "Firefox on Linux", Problem: "That took too long, or you have signed in again since. Try again."})},
		{"enrol_required", enrol(templates.EnrolPage{Action: authorizeAs("/login"), Step: "sealed_step", Required: true})},
		{"enrol", enrol(templates.EnrolPage{
			Action: "/account/security/totp", Page: "ses_1", BackURL: "/account/security", Problem: "The code is not right. Wait for the next one and try again.",
		})},
		{"recovery_codes", func(s *templates.Set, w io.Writer) error {
			return s.RecoveryCodes(w, templates.RecoveryCodesPage{ContinueURL: "/account", Codes: []string{"0123-4567-89ab-cdef", "ghjk-mnpq-rstv-wxyz"}})
		}},
		{"security", security(templates.SecurityPage{
			Action: "/account/security", Page: "ses_1", AccountURL: "/account", TOTP: true, TOTPSince: morning, TOTPLastUsed: evening, RecoveryCodes: 9,
		})},
		{"security_none", security(templates.SecurityPage{
			Action: "/account/security", Page: "ses_1", AccountURL: "/account", EnrolURL: "/account/security/totp", PasskeyURL: "/account/security/passkey", Notice: "The authenticator app is removed.",
		})},
		{"security_passkeys", security(templates.SecurityPage{
			Action: "/account/security", Page: "ses_1", AccountURL: "/account", EnrolURL: "/account/security/totp", PasskeyURL: "/account/security/passkey", RecoveryCodes: 10,
			Passkeys: []templates.AccountPasskey{
				{ID: "pk_1", Name: "Firefox on Linux", CreatedAt: morning, LastUsed: evening},
				{ID: "pk_2", Name: strings.Repeat("A security key with a long name ", 3) + "<b>\u202e", CreatedAt: morning},
			}, Problem: "This passkey is your only way to sign in. Make another one first.",
		})},
		{"security_address", security(templates.SecurityPage{
			Action: "/account/security", Page: "ses_1", AccountURL: "/account", EnrolURL: "/account/security/totp", NoPasskeys: true,
		})},
		{"link_passkey", link(templates.LinkPage{Action: "/account/link", Token: "ult_token", Account: alice, Passkey: makePasskey})},
		{"link_first_admin_passkey", link(templates.LinkPage{Action: "/account/link", Token: "ult_token", FirstAdmin: true, Passkey: makePasskey, Problem: "Choose a user name."})},
		{"activity_empty", activity(templates.ActivityPage{AccountURL: "/account"})},
		{"link_invitation", link(templates.LinkPage{Action: "/account/link", Token: "ult_token", Account: alice})},
		{"link_reset", link(templates.LinkPage{Action: "/account/link", Token: "ult_token", Reset: true, Account: alice, Problem: "The two new passwords are not the same."})},
		{"link_first_admin", link(templates.LinkPage{Action: "/account/link", Token: "ult_token", FirstAdmin: true})},
	}
}

func accountPage() templates.AccountPage {
	verified, unverified, resource := consentVerified(), consentUnverified(), consentVerified().Resource
	return templates.AccountPage{
		Account: alice, LogoutAction: "/logout", Page: "ses_1", RevokeAllURL: "/account/revoke?grant=all", SessionsAction: "/account/sessions", InstallationsAction: "/account/installations",
		PasswordURL: "/account/password", SecurityURL: "/account/security", ActivityURL: "/account/activity",
		Applications: []templates.Application{
			{
				Client: verified.Client, Resource: resource, Scopes: verified.Scopes[:2], ApprovedAt: morning, LastUsedAt: evening,
				Installations: []templates.Installation{
					{ID: "fam_1", Program: "Visual Studio Code", Address: "192.0.2.7", SignedInAt: morning, LastUsedAt: morning},
					{ID: "fam_2", SignedInAt: morning, LastUsedAt: evening},
				}, RevokeURL: "/account/revoke?grant=grt_1",
			},
			{Client: unverified.Client, Resource: resource, Scopes: unverified.Scopes, ApprovedAt: morning, RevokeURL: "/account/revoke?grant=grt_2"},
		},
		Sessions: []templates.AccountSession{
			{ID: "ses_1", Browser: "Firefox on Linux", Address: "192.0.2.7", SignedInAt: morning, LastSeenAt: evening, Current: true},
			{ID: "ses_2", Browser: "Safari on iPhone", Address: "2001:db8::17", SignedInAt: morning, LastSeenAt: morning},
			{ID: "ses_3", SignedInAt: morning, LastSeenAt: morning},
		},
	}
}

func accountHostile() templates.AccountPage {
	p, hostile, forty := accountPage(), consentHostile(), consentForty()
	p.Account = forty.Account
	p.Applications = []templates.Application{
		{Client: hostile.Client, Resource: hostile.Resource, Scopes: hostile.Scopes, ApprovedAt: morning, RevokeURL: "/account/revoke?grant=grt_1"},
		{Client: forty.Client, Resource: forty.Resource, Scopes: forty.Scopes, ApprovedAt: morning, LastUsedAt: evening, RevokeURL: "/account/revoke?grant=grt_2"},
	}
	p.Sessions[1].Browser, p.Sessions[1].Address = `<img src=x onerror=alert(1)>`+"\u202e", `"><script>`
	return p
}

// A person who is to lose a session, or an application, can tell each button from
// the others without seeing the page.
func TestAccountButtonsAreDistinct(t *testing.T) {
	page := renderFixture(t, "account")
	described := map[string]bool{}
	for _, e := range append(page.find("button", "aria-describedby"), page.find("a", "aria-describedby")...) {
		described[e.attrs["aria-describedby"]] = true
	}
	if len(described) != 6 {
		t.Errorf("%d descriptions of 2 applications, 2 installations of one and 2 other sessions", len(described))
	}
	if forms := page.find("input", "name=installation"); len(forms) != 2 {
		t.Errorf("%d forms end installations", len(forms))
	}
	if forms := page.find("input", "name=session"); len(forms) != 3 {
		t.Errorf("%d forms end sessions, want two and the one for all others: this browser's has none", len(forms))
	}
}
