package templates_test

import (
	"fmt"
	"io"
	"strings"

	"grantd/templates"
)

// A fixture is one page as people meet it. Golden files are named after it.
type fixture struct {
	name   string
	render func(*templates.Set, io.Writer) error
}

func fixtures() []fixture {
	login := func(p templates.LoginPage) func(*templates.Set, io.Writer) error {
		return func(s *templates.Set, w io.Writer) error { return s.Login(w, p) }
	}
	consent := func(p templates.ConsentPage) func(*templates.Set, io.Writer) error {
		return func(s *templates.Set, w io.Writer) error { return s.Consent(w, p) }
	}
	continues := func(p templates.ContinuePage) func(*templates.Set, io.Writer) error {
		return func(s *templates.Set, w io.Writer) error { return s.Continue(w, p) }
	}
	failed := func(p templates.ErrorPage) func(*templates.Set, io.Writer) error {
		return func(s *templates.Set, w io.Writer) error { return s.Error(w, p) }
	}
	device := func(p templates.DevicePage) func(*templates.Set, io.Writer) error {
		return func(s *templates.Set, w io.Writer) error { return s.Device(w, p) }
	}
	done := func(p templates.DeviceDonePage) func(*templates.Set, io.Writer) error {
		return func(s *templates.Set, w io.Writer) error { return s.DeviceDone(w, p) }
	}
	ask := func(p templates.AskPage) func(*templates.Set, io.Writer) error {
		return func(s *templates.Set, w io.Writer) error { return s.Ask(w, p) }
	}
	return append(accountFixtures(), []fixture{
		{"login", login(templates.LoginPage{Action: authorizeAs("/login")})},
		{"login_for_client", login(templates.LoginPage{
			Action:     authorizeAs("/auth/login"),
			ClientName: "Claude", ClientHost: "claude.ai", ResourceName: "Field Notes",
		})},
		{"login_for_document", login(templates.LoginPage{
			Action: authorizeAs("/login"), ClientName: "Claude Code", ClientHost: "claude.ai", RedirectHost: "localhost:51004", ResourceName: "Field Notes",
		})},
		{"login_problem", login(templates.LoginPage{
			Action: authorizeAs("/login"), Username: "alice",
			Problem:    "The user name or the password is not right.",
			ClientName: "Cursor", ResourceName: "Field Notes",
		})},
		{"login_providers", login(templates.LoginPage{
			Action: authorizeAs("/login"), ClientName: "Cursor", ResourceName: "Field Notes",
			Providers: []templates.LoginProvider{{Label: "Example", URL: "/login/upstream/idp_1?a=b"}, {Label: "Another <b>", URL: "/login/upstream/idp_2"}},
		})},
		{"login_passkey", login(templates.LoginPage{Action: authorizeAs("/login"), Passkey: askPasskey})},
		{"login_passkeys_only", login(templates.LoginPage{Action: authorizeAs("/login"), ResourceName: "Field Notes", Passkey: askPasskey, PasskeysOnly: true})},
		{"login_passkeys_only_problem", login(templates.LoginPage{
			Action: "/login", Passkey: askPasskey, PasskeysOnly: true, Problem: "That passkey was not accepted. Try again, or sign in another way.",
			Providers: []templates.LoginProvider{{Label: "Example", URL: "/login/upstream/idp_1"}},
		})},
		{"login_passkeys_only_address", login(templates.LoginPage{Action: "/login", PasskeysOnly: true})},
		{"consent_verified", consent(consentVerified())},
		{"consent_unverified", consent(consentUnverified())},
		{"consent_identity", consent(func() templates.ConsentPage {
			p := consentVerified()
			p.Resource = templates.ConsentResource{Identity: true}
			p.Scopes = []templates.ConsentScope{
				{Name: "openid", Description: "Know that it is you who signs in", Checked: true},
				{Name: "profile", Description: "See your name and user name", Told: "Alice Ngẫu Doe (alice)", Checked: true},
				{Name: "email", Description: "See your e-mail address", Told: "alice.with.a.long.name@engineering.example.com", Checked: true},
			}
			return p
		}())},
		{"consent_known", consent(consentKnown())},
		{"consent_look_alike", consent(consentLookAlike())},
		{"consent_step_up", consent(consentStepUp())},
		{"consent_policy", consent(func() templates.ConsentPage {
			p := consentUnverified()
			p.Client.Trusted = true
			p.Policies = []string{"Everyone may approve every MCP server", `Interns “read”, & <b>write</b>`}
			p.Withheld = []string{"notes:purge", "notes:<script>"}
			for i, risk := range []string{"read", "write", "destructive"} {
				p.Scopes[i].Risk = risk
			}
			return p
		}())},
		{"consent_known_loopback", consent(func() templates.ConsentPage {
			p := consentLoopback()
			p.Client.Host, p.Client.Known, p.Client.Source = "claude.ai", "Claude Code", "metadata_document"
			return p
		}())},
		{"consent_loopback", consent(consentLoopback())},
		{"consent_document_loopback", consent(consentDocumentLoopback())},
		{"consent_private_scheme", consent(consentPrivateScheme())},
		{"consent_again", consent(consentAgain())},
		{"consent_forty_scopes", consent(consentForty())},
		{"consent_hostile", consent(consentHostile())},
		{"consent_bare", consent(templates.ConsentPage{Client: templates.ConsentClient{RedirectHost: "app.example"}})},
		{"consent_device", consent(consentDevice())},
		{"device", device(templates.DevicePage{Action: "/device", Account: alice, SwitchAccountURL: "/login?user_code="})},
		{"device_problem", device(templates.DevicePage{
			Action: "/auth/device", UserCode: `<script>alert("wdjb")`, Account: alice,
			Problem: "A code has eight letters, like WDJB-MJHT. Look at your device and enter it again.",
		})},
		{"device_connected", done(templates.DeviceDonePage{Connected: true, AccountURL: "/account"})},
		{"device_denied", done(templates.DeviceDonePage{})},
		{"ask", ask(askPage())},
		{"ask_asked", ask(func() templates.AskPage {
			p := askPage()
			p.Asked, p.Reference, p.Client.Known = true, "req_06h0q8zexdy39fwxc4qda8n39g", "Claude"
			return p
		}())},
		{"ask_hostile", ask(askHostile())},
		{"continue", continues(templates.ContinuePage{
			Title: "You said no", Message: "Nothing was shared. You can go back and tell the app.",
			URL: "https://claude.ai/api/mcp/auth_callback?error=access_denied&state=a%2Bb", Host: "claude.ai",
		})},
		{"continue_automatic", continues(templates.ContinuePage{
			Title: "Access allowed", Message: "You can close this page when the app has opened.",
			URL: "cursor://anysphere.cursor-mcp/oauth/callback?code=ac_1&state=x&iss=https%3A%2F%2Fauth.example", Host: "cursor:", Automatic: true,
		})},
		{"error", failed(templates.ErrorPage{
			Status: 400, Title: "This sign-in link is not valid",
			Message:   "The app that sent you here asked in a way that cannot be answered safely.",
			Help:      "Go back to the app and start again. If it happens twice, tell whoever runs the app, with the reference below.",
			Reference: "01j9z6k3t1q4m8",
		})},
		{"error_with_return", failed(templates.ErrorPage{
			Status: 403, Title: "You may not use this server", Message: "Your organisation has not given you access to it.",
			Help: "Ask an administrator for access.", ReturnURL: "https://claude.ai/callback?error=access_denied", ReturnHost: "claude.ai",
		})},
		{"error_provider", failed(templates.ErrorPage{
			Status: 502, Title: "Your identity provider does not answer", Message: "It reports a problem of its own. Try again in a few minutes.",
			Help: "Tell your administrator, with the reference below. “grantd provider test” looks for the cause.",
			Link: "/login/local?a=b", LinkText: "Sign in with a local account", Reference: "01j9z6k3t1q4m8",
		})},
		{"logout", func(s *templates.Set, w io.Writer) error {
			return s.Logout(w, templates.LogoutPage{Action: "/auth/logout", Account: alice})
		}},
	}...)
}

var (
	askPasskey  = templates.PasskeyForm{Options: `{"challenge":"AAAA","rpId":"auth.example.com","userVerification":"required"}`, Challenge: "sealed_challenge"}
	makePasskey = templates.PasskeyForm{Options: `{"challenge":"AAAA","rp":{"name":"auth.example.com","id":"auth.example.com"},"user":{"name":"alice","displayName":"Alice","id":"AAAA"}}`, Challenge: "sealed_challenge"}
)

var alice = templates.Account{Name: "Alice", Username: "alice"}

func authorizeAs(path string) string {
	return path + "?response_type=code&client_id=https%3A%2F%2Fclaude.ai%2Foauth%2Fclient&scope=notes%3Aread+notes%3Awrite&state=a:b"
}

func consentVerified() templates.ConsentPage {
	return templates.ConsentPage{
		Action: authorizeAs("/authorize"), Approval: "sealed_AbC-123",
		Client:   templates.ConsentClient{Name: "Team Assistant", RedirectHost: "assistant.corp.example", Verified: true, Source: "registered"},
		Resource: templates.ConsentResource{Name: "Field Notes", URI: "https://notes.corp.example/mcp", Host: "notes.corp.example"},
		Scopes: []templates.ConsentScope{
			{Name: "notes:read", Description: "Read your notes and search in them", Tools: []string{"list_notes", "read_note", "search_notes"}, Checked: true},
			{Name: "notes:write", Description: "Write new notes and change those you have", Tools: []string{"create_note", "update_note"}, Checked: true},
			{Name: "notes:delete", Description: "Delete notes for good", Tools: []string{"delete_note"}},
		},
		Account: alice, RefreshLifetimeDays: 90, SwitchAccountURL: "/login?switch=1&client_id=https%3A%2F%2Fclaude.ai",
	}
}

func consentUnverified() templates.ConsentPage {
	p := consentVerified()
	p.Client = templates.ConsentClient{Name: "Claude", Host: "claude.ai", RedirectHost: "claude.ai", Source: "metadata_document"}
	return p
}

func consentLookAlike() templates.ConsentPage {
	p := consentUnverified()
	p.Client.Name, p.Client.Host, p.Client.RedirectHost, p.Client.Source = "Tearn Assistant", "", "assistant-login.example", "dynamic"
	p.Client.New, p.Client.LooksLike, p.Client.LooksLikeOf = true, "Team Assistant", templates.NameOfClient
	return p
}

func consentStepUp() templates.ConsentPage {
	p := consentVerified()
	p.Scopes = []templates.ConsentScope{
		{Name: "notes:read", Description: "Read your notes and search in them", Tools: []string{"list_notes"}, Risk: "read", Approved: true, Checked: true},
		{Name: "notes:write", Description: "Write new notes and change those you have", Tools: []string{"create_note"}, Risk: "write", Checked: true},
		{Name: "notes:delete", Description: "Delete notes for good", Tools: []string{"delete_note"}, Risk: "destructive"},
	}
	return p
}

func consentKnown() templates.ConsentPage {
	p := consentUnverified()
	p.Client.Known = "Claude"
	return p
}

func askPage() templates.AskPage {
	p := consentUnverified()
	return templates.AskPage{
		Action: authorizeAs("/authorize/ask"), Request: "sealed_AbC-123", Client: p.Client, Resource: p.Resource, Account: p.Account, SwitchAccountURL: p.SwitchAccountURL,
	}
}

func askHostile() templates.AskPage {
	p := consentHostile()
	return templates.AskPage{
		Request: p.Approval, Client: p.Client, Resource: p.Resource, Account: p.Account,
		Problem: "<script>alert(1)</script>", Reference: `"><img src=x onerror=alert(1)>`,
	}
}

func consentLoopback() templates.ConsentPage {
	p := consentVerified()
	p.Client = templates.ConsentClient{Name: "Claude Code", RedirectHost: "127.0.0.1:33418", Loopback: true, Source: "dynamic"}
	p.RefreshLifetimeDays = 0
	return p
}

func consentDocumentLoopback() templates.ConsentPage {
	p := consentVerified()
	p.Client = templates.ConsentClient{Name: "Claude Code", Host: "claude.ai", RedirectHost: "localhost:51004", Loopback: true, Source: "metadata_document"}
	return p
}

func consentPrivateScheme() templates.ConsentPage {
	p := consentVerified()
	p.Client = templates.ConsentClient{Name: "Cursor", Host: "cursor.com", RedirectHost: "cursor:", Source: "metadata_document"}
	p.RefreshLifetimeDays = 1
	return p
}

func consentDevice() templates.ConsentPage {
	p := consentVerified()
	p.Action, p.UserCode, p.SwitchAccountURL = "/device", "WDJB-MJHT", "/login?user_code=WDJB-MJHT"
	p.Client = templates.ConsentClient{Name: "Team Assistant", Device: true, Verified: true, Source: "registered"}
	return p
}

func consentAgain() templates.ConsentPage {
	p := consentVerified()
	p.Notice = "The request has changed since this page was shown. Please look again."
	p.Problem = "Tick at least one permission, or deny."
	p.Scopes[0].Approved = true
	p.RefreshLifetimeDays = 730
	return p
}

func consentForty() templates.ConsentPage {
	p := consentUnverified()
	p.Client.Host = "integrations.eu-west.a-company-with-a-very-long-registered-name.example"
	p.Client.RedirectHost = "accounts.google.com.oauth-callback-handler.login-session-verification.attacker.example"
	p.Client.Name = strings.Repeat("An unreasonably long name for an app ", 20)
	p.Resource.Name = "The Consolidated Warehouse, Logistics and Fulfilment Operations Server (EU)"
	p.Resource.URI = "https://mcp.logistics.corp.example/tenants/0f3b8c1e-7a55-4c0d-9d1e-2f6f8f0f4b11/regions/eu-west/servers/warehouse-operations-and-fulfilment/mcp"
	p.Scopes = nil
	for i := range 40 {
		s := templates.ConsentScope{Name: fmt.Sprintf("warehouse:area_%02d:manage", i+1), Checked: true}
		s.Description = fmt.Sprintf("See and move goods in area %d", i+1)
		if i%7 == 3 {
			s.Description += ", including goods that other teams have set aside, and change what the labels on their shelves say"
		}
		s.Approved = i < 3
		for j := range i%4 + i/30*9 {
			s.Tools = append(s.Tools, fmt.Sprintf("area_%d_tool_%d", i+1, j+1))
		}
		p.Scopes = append(p.Scopes, s)
	}
	p.Account = templates.Account{Name: "Alice with a name that goes on for quite some time", Username: "alice.with.a.very.long.user.name@subsidiary.corp.example"}
	return p
}

func consentHostile() templates.ConsentPage {
	p := consentUnverified()
	p.Client.Name = "\u202egpj.tnuocca\u202c \u2067עברית\u2069 <script>alert(1)</script>\"><img src=x onerror=alert(1)>{{7*7}}\u200b\n\x00"
	p.Client.Host = "xn--pple-43d.com"
	p.Client.RedirectHost = "xn--pple-43d.com:8443"
	p.Resource = templates.ConsentResource{Name: `Notes" onmouseover="alert(1)`, URI: `https://notes.example/mcp?x="><script>alert(1)</script>`}
	p.Scopes = []templates.ConsentScope{
		{Name: `a"><script>`, Description: "</label><script>alert(1)</script>", Tools: []string{"<b>tool</b>", "{{.}}"}, Checked: true},
		{Name: "notes:read", Description: "قراءة ملاحظاتك والبحث فيها", Tools: []string{"list_notes"}, Checked: true},
	}
	p.Account = templates.Account{Name: "<i>Alice</i>", Username: "alice\u202e"}
	p.Approval = `"><script>alert(1)</script>`
	return p
}
