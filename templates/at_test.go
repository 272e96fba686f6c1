package templates_test

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"grantd/templates"
)

var links = regexp.MustCompile(`(?:href|src)="([^"]*)"`)

// TestAt: every link of a page to this server is below the issuer's path, on the pages
// of grantd and on an organisation's own.
func TestAt(t *testing.T) {
	own, err := templates.NewWith(templates.Looks{
		Color:  "#1a5fb4", // a style sheet more
		Folder: fstest.MapFS{"error.html": {Data: []byte(`{{define "title"}}Ours{{end}}{{define "main"}}<a href="{{root}}/account">x</a>{{end}}`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string]*templates.Set{"built in": newSet(t), "their own": own} {
		for _, root := range []string{"", "/auth", "/a/b'(c)&d"} {
			at, err := set.At(root)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // going there twice changes nothing
				if at, err = at.At(root); err != nil {
					t.Fatal(err)
				}
			}
			var logout, failed bytes.Buffer
			if err := errors.Join(at.Logout(&logout, templates.LogoutPage{Action: "/x/logout"}), at.Error(&failed, templates.ErrorPage{})); err != nil {
				t.Fatal(err)
			}
			found := links.FindAllStringSubmatch(logout.String()+failed.String(), -1)
			if len(found) < 7 {
				t.Fatalf("%s, %q: only %d links", name, root, len(found))
			}
			for _, link := range found {
				// A browser reads both spellings as the same path.
				path := strings.NewReplacer("&#39;", "'", "%27", "'", "%28", "(", "%29", ")", "&amp;", "&").Replace(link[1])
				if rest, below := strings.CutPrefix(path, root+"/"); !below || !strings.HasPrefix(rest, "assets/") && rest != "account" {
					t.Errorf("%s, %q: a link to %s", name, root, link[1])
				}
			}
		}
	}
	for _, root := range []string{"//evil.example", "https://evil.example", `/\evil.example`} {
		if _, err := newSet(t).At(root); !errors.Is(err, templates.ErrUnsafeURL) {
			t.Errorf("At(%q): %v", root, err)
		}
	}
}
