package templates_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"grantd/templates"
)

func TestMatchLanguage(t *testing.T) {
	for _, c := range []struct{ name, uiLocales, accept, want string }{
		{"nothing said", "", "", "en"},
		{"the browser's", "", "de-AT,de;q=0.9,en;q=0.5", "de"},
		{"by weight", "", "en;q=0.2, ja;q=0.8", "ja"},
		{"the next that is there", "", "sv, fr;q=0.5", "fr"},
		{"none that is there", "", "sv", "en"},
		{"ui_locales first", "es fr", "de", "es"},
		{"ui_locales in order", "sv fr-CA de", "ja", "fr"},
		{"ui_locales that is not there", "sv", "de", "de"},
		{"ui_locales that is none", `"><script> --`, "de", "de"},
		{"Chinese as browsers say it", "", "zh-CN,zh;q=0.9", "zh-Hans"},
		{"malformed", "", ";;q=,,", "en"},
		{"enormous", strings.Repeat("de ", 1000), strings.Repeat("de,", 1000), "en"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := newSet(t).MatchLanguage(c.uiLocales, c.accept); got != c.want {
				t.Errorf("MatchLanguage(%q, %q) = %q, want %q", c.uiLocales, c.accept, got, c.want)
			}
		})
	}
}

// An organisation's language is for whoever states none that is there, and changes
// nothing for others.
func TestLanguageOfTheOrganisation(t *testing.T) {
	french, err := templates.NewWith(templates.Looks{Language: "fr"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ accept, want string }{{"", "fr"}, {"sv", "fr"}, {"de", "de"}, {"en", "en"}, {";;q=,,", "fr"}} {
		if got := french.MatchLanguage("", c.accept); got != c.want {
			t.Errorf("for %q it is %q, want %q", c.accept, got, c.want)
		}
	}
	if got := newSet(t).MatchLanguage("", ""); got != "en" {
		t.Errorf("another organisation's became %q", got)
	}
	first := time.Date(2026, 8, 1, 9, 5, 0, 0, time.UTC)
	if got := french.Say("Sign in", nil) + ", " + french.Moment(first); got != "Se connecter, 1er août 2026, 09:05 UTC" {
		t.Errorf("it says %q", got)
	}
	if _, err := templates.NewWith(templates.Looks{Language: "zh"}); !errors.Is(err, templates.ErrLanguage) {
		t.Errorf("a language that is not there: %v", err)
	}
}

// Every page in every language keeps what TestEveryPage proves of the English one:
// hostile names too, which no translation may let through.
func TestEveryPageInEveryLanguage(t *testing.T) {
	set := newSet(t)
	for _, language := range templates.Languages {
		for _, f := range fixtures() {
			t.Run(language+"/"+f.name, func(t *testing.T) {
				var b bytes.Buffer
				if err := f.render(set, templates.Writer{Writer: &b, Language: language}); err != nil {
					t.Fatal(err)
				}
				page := parse(t, b.String())
				if got := only(t, "html", page.find("html")).attrs["lang"]; got != language {
					t.Errorf("lang = %q", got)
				}
				checkElements(t, page)
				if text := page.words(); argument.MatchString(text) && f.name != "account_hostile" {
					t.Errorf("an argument is not filled in: %s", argument.FindString(text))
				}
			})
		}
	}
}

var pagesFolder = flag.String("pages", "", "folder to write every page in every language into, as LANGUAGE/NAME.html")

// TestWritePages writes the pages for the tests that look at them in a browser.
func TestWritePages(t *testing.T) {
	folder := *pagesFolder
	if folder == "" {
		folder = t.TempDir() // that all can be written is checked
	}
	set := newSet(t)
	for _, language := range templates.Languages {
		if err := os.MkdirAll(filepath.Join(folder, language), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, f := range fixtures() {
			var b bytes.Buffer
			if err := f.render(set, templates.Writer{Writer: &b, Language: language}); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, language, f.name+".html"), b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTimesAndNumbers(t *testing.T) {
	set := newSet(t)
	for language, want := range map[string][]string{
		"en":      {"2 March 2026, 09:05 UTC", "Up to 90 days.", "Signed in 2 times"},
		"de":      {"2. März 2026, 09:05 UTC", "Bis zu 90 Tage.", "2-mal angemeldet"},
		"fr":      {"2 mars 2026, 09:05 UTC", "Jusqu’à 90 jours.", "Connectée 2 fois"},
		"es":      {"2 de marzo de 2026, 09:05 UTC", "Hasta 90 días.", "2 sesiones iniciadas"},
		"ja":      {"2026年3月2日 09:05 UTC", "最長 90 日間。", "サインイン 2 件"},
		"zh-Hans": {"2026年3月2日 09:05 UTC", "最长 90 天。", "2 次登录"},
	} {
		var b bytes.Buffer
		w := templates.Writer{Writer: &b, Language: language}
		if err := set.Account(w, accountPage()); err != nil {
			t.Fatal(err)
		}
		if err := set.Consent(w, consentVerified()); err != nil {
			t.Fatal(err)
		}
		for _, text := range want {
			if !strings.Contains(b.String(), text) {
				t.Errorf("%s: the pages do not say %q", language, text)
			}
		}
	}
}

func TestActivityInEveryLanguage(t *testing.T) {
	set := newSet(t)
	page := templates.ActivityPage{Events: []templates.Activity{
		{Text: "You allowed {app} to use {server}.", App: "{server}", Server: "Notes"},
		{Text: "You removed the access of {app} to {server}.", App: "Evil <b>", Unverified: true},
	}}
	for language, want := range map[string][]string{
		"en": {"You allowed {server} to use Notes.", "You removed the access of an unverified application, which calls itself “Evil &lt;b&gt;”, to an MCP server that is gone."},
		"de": {"Sie haben {server} erlaubt, Notes zu verwenden.", "Sie haben den Zugriff von einer nicht überprüften Anwendung, die sich „Evil &lt;b&gt;“ nennt, auf einen MCP-Server, den es nicht mehr gibt, entfernt."},
	} {
		var b bytes.Buffer
		if err := set.Activity(templates.Writer{Writer: &b, Language: language}, page); err != nil {
			t.Fatal(err)
		}
		for _, text := range want {
			if !strings.Contains(b.String(), text) {
				t.Errorf("%s: the page does not say %q: %s", language, text, b.String())
			}
		}
	}
}
