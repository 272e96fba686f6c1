package templates_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grantd/templates"
)

func renderConsent(t *testing.T, p templates.ConsentPage) *node {
	t.Helper()
	var b bytes.Buffer
	if err := newSet(t).Consent(&b, p); err != nil {
		t.Fatal(err)
	}
	return parse(t, b.String())
}

func TestConsentForm(t *testing.T) {
	p := consentVerified()
	form := only(t, "form", renderConsent(t, p).find("form", "method=post"))
	var got []string
	for _, e := range form.all() {
		if name, ok := e.attrs["name"]; ok {
			field := name + "=" + e.attrs["value"]
			if _, ok := e.attrs["checked"]; ok {
				field += " checked"
			}
			got = append(got, field)
		}
	}
	// Deny comes first: it is the button that Enter in a checkbox presses.
	want := []string{
		"approval=sealed_AbC-123",
		"scope=notes:read checked", "scope=notes:write checked", "scope=notes:delete",
		"decision=deny", "decision=approve",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	for _, e := range form.all() {
		if _, ok := e.attrs["autofocus"]; ok {
			t.Errorf("<%s> takes the focus", e.tag)
		}
	}
}

// TestDeviceForms: DV-05. The code comes along with the answer, and no page of a
// device is sent by one key or click: the field has the focus, the code is no button.
func TestDeviceForms(t *testing.T) {
	names := func(page *node) []string {
		var names []string
		for _, e := range only(t, "form", page.find("form", "method=post", "action=/device")).all() {
			if name, ok := e.attrs["name"]; ok {
				names = append(names, name+"="+e.attrs["value"])
			}
		}
		return names
	}
	want := []string{
		"approval=sealed_AbC-123", "user_code=WDJB-MJHT", "scope=notes:read", "scope=notes:write", "scope=notes:delete",
		"decision=deny", "decision=approve",
	}
	if diff := cmp.Diff(want, names(renderConsent(t, consentDevice()))); diff != "" {
		t.Errorf("fields of the decision (-want +got):\n%s", diff)
	}
	var b bytes.Buffer
	if err := newSet(t).Device(&b, templates.DevicePage{Action: "/device", UserCode: "WDJB-MJHT"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"user_code=WDJB-MJHT"}, names(parse(t, b.String()))); diff != "" {
		t.Errorf("fields of the code (-want +got):\n%s", diff)
	}
	if n := len(renderConsent(t, consentVerified()).find("input", "name=user_code")); n != 0 {
		t.Errorf("%d user codes on the page of a request", n)
	}
}

// What OAuth 2.1 and the MCP guidance want a person to see before deciding.
func TestConsentSays(t *testing.T) {
	verified, unverified, loopback := consentVerified(), consentUnverified(), consentLoopback()
	again, private := consentAgain(), consentPrivateScheme()
	other := consentUnverified()
	other.Client.RedirectHost = "elsewhere.example:8443"
	cases := []struct {
		name   string
		page   templates.ConsentPage
		says   []string
		silent []string
	}{
		{"verified", verified, []string{
			"Team Assistant asks to use Field Notes", "Registered by your organisation", "assistant.corp.example",
			"https://notes.corp.example/mcp", "Read your notes and search in them", "notes:delete", "search_notes",
			"Up to 90 days.", "Alice", "Not you? Switch account", "Deny", "Allow",
		}, []string{"Not verified", "start this yourself", "Already allowed", "New "}},
		{"unverified", unverified, []string{
			"An unverified app asks to use Field Notes", "Not verified by your organisation", "claude.ai", "Name it gives itself Claude",
		}, []string{"Registered by your organisation", "start this yourself"}},
		{"answer goes elsewhere", other, []string{"App address claude.ai", "Access goes to elsewhere.example:8443"}, nil},
		{"loopback", loopback, []string{
			"127.0.0.1:33418", "any program here could be asking", "Continue only if you started this sign-in yourself", "Once, for some minutes.",
		}, []string{"Up to"}},
		{"private scheme", private, []string{"the app on this device that opens “cursor:” links", "Up to 1 day."}, nil},
		{"device", consentDevice(), []string{
			"You are connecting another device", "Team Assistant asks to use Field Notes", "WDJB-MJHT",
			"Only continue if you started this on your own device just now.", "If somebody sent you this code or a link to this page, deny.",
			"Does your device show this code?", "It must be exactly the same.", "Access goes to the device that shows the code",
			"https://notes.corp.example/mcp", "Read your notes and search in them", "Alice", "Deny", "Allow",
		}, []string{"start this yourself", "on this computer"}},
		{"look-alike", consentLookAlike(), []string{
			"Its name looks like one that you may know.", "Your organisation has registered “Team Assistant”. This is another app.",
			"Nobody here uses this app yet. If you did not expect it to ask, deny.",
		}, nil},
		{"step-up", consentStepUp(), []string{
			"2 of these are new. You allowed the rest before. It loses what you untick.",
			"What can destroy things for good is not ticked.", "Delete notes for good New", "Can destroy things for good", "Only reads",
		}, nil},
		{"again", again, []string{
			"Tick at least one permission, or deny.", "The request has changed", "Read your notes and search in them Already allowed",
			"Delete notes for good New", "Up to 2 years.",
		}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			words := only(t, "main", renderConsent(t, c.page).find("main")).words()
			for _, s := range c.says {
				if !strings.Contains(words, s) {
					t.Errorf("page does not say %q:\n%s", s, words)
				}
			}
			for _, s := range c.silent {
				if strings.Contains(words, s) {
					t.Errorf("page says %q:\n%s", s, words)
				}
			}
		})
	}
}

// An unverified client's name is a claim: it must not be in the heading nor
// set like the hosts.
func TestUnverifiedNameIsSmall(t *testing.T) {
	p := consentUnverified()
	p.Client.Name = "Your Bank"
	page := renderConsent(t, p)
	for _, where := range [][]*node{page.find("title"), page.find("h1"), page.class("host"), page.class("client-name")} {
		for _, e := range where {
			if strings.Contains(e.words(), "Your Bank") {
				t.Errorf("<%s class=%q> shows the name", e.tag, e.attrs["class"])
			}
		}
	}
	loud := only(t, "loud list", page.class("loud"))
	if got := only(t, "host", loud.class("host")).words(); got != "claude.ai" {
		t.Errorf("host = %q", got)
	}
}

func TestProblemsAreAnnounced(t *testing.T) {
	for _, name := range []string{"login_problem", "consent_again", "device_problem"} {
		page := renderFixture(t, name)
		problem := only(t, "alert", page.find("div", "role=alert"))
		if !strings.HasPrefix(only(t, "title", page.find("title")).words(), "Problem: ") {
			t.Errorf("%s: the title does not begin with the problem", name)
		}
		described := func(e *node) bool { return e.attrs["aria-describedby"] == problem.attrs["id"] }
		if !slices.ContainsFunc(page.all(), described) {
			t.Errorf("%s: nothing is described by the problem", name)
		}
	}
}

func TestLoginForm(t *testing.T) {
	form := only(t, "form", renderFixture(t, "login_problem").find("form", "method=post"))
	user := only(t, "user name", form.find("input", "name=username", "autocomplete=username"))
	if got := user.attrs["value"]; got != "alice" {
		t.Errorf("user name = %q", got)
	}
	password := only(t, "password", form.find("input", "name=password", "type=password", "autocomplete=current-password"))
	if _, ok := password.attrs["value"]; ok {
		t.Error("the password field is filled")
	}
	if n := len(form.find("input")); n != 2 {
		t.Errorf("%d inputs, want 2", n)
	}
}

func TestManyToolsFold(t *testing.T) {
	p := consentVerified()
	p.Scopes = p.Scopes[:1]
	for n, folds := range map[int]int{0: 0, 1: 0, 8: 0, 9: 1, 30: 1} {
		p.Scopes[0].Tools = make([]string, n)
		for i := range n {
			p.Scopes[0].Tools[i] = "tool"
		}
		page := renderConsent(t, p)
		if got := len(page.find("details")); got != folds {
			t.Errorf("%d tools: %d folds, want %d", n, got, folds)
		}
		if got := len(page.find("li")); got != n {
			t.Errorf("%d tools: %d shown", n, got)
		}
	}
}
