package server_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"grantd/server/servertest"
	"grantd/templates"
)

// An organisation's logo and colour come from grantd itself, and a logo that somebody
// opens by itself runs nothing.
func TestLooksAreServed(t *testing.T) {
	const logo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><script>alert(1)</script></svg>`
	set, err := templates.NewWith(templates.Looks{Name: "Example Ltd", Logo: []byte(logo), Color: "#1a5fb4"})
	if err != nil {
		t.Fatal(err)
	}
	s := servertest.New(t, servertest.WithTemplates(set))
	page := s.Browser().Get(s.URL + "/login")
	if !strings.Contains(page.Body, "<span>Example Ltd</span>") {
		t.Errorf("the page does not name the organisation:\n%s", page.Body)
	}
	for pattern, kind := range map[string]string{
		`src="([^"]*/assets/brand\.[0-9a-f]+\.svg)"`:  "image/svg+xml",
		`href="([^"]*/assets/brand\.[0-9a-f]+\.css)"`: "text/css; charset=utf-8",
	} {
		found := regexp.MustCompile(pattern).FindStringSubmatch(page.Body)
		if found == nil {
			t.Errorf("the page has no %s", pattern)
			continue
		}
		answer := s.Browser().Send(http.MethodGet, s.Origin+found[1], "", nil)
		if answer.Status != http.StatusOK || answer.Header.Get("Content-Type") != kind || answer.Header.Get("X-Content-Type-Options") != "nosniff" ||
			!strings.HasPrefix(answer.Header.Get("Content-Security-Policy"), "default-src 'none';") || !strings.HasSuffix(answer.Header.Get("Content-Security-Policy"), "; sandbox") {
			t.Errorf("%s: %d %v", found[1], answer.Status, answer.Header)
		}
	}
}
