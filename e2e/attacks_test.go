package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryAttackOnPeopleHasATest finds in the tests a name of each attack on sign-in,
// consent and sessions (docs/attacks.md), so that none is lost when tests move.
func TestEveryAttackOnPeopleHasATest(t *testing.T) {
	rows := map[string]int{"LG": 14, "CS": 24, "SS": 7}
	name := regexp.MustCompile(`\b(?:Test)?(LG|CS|SS)-?(\d\d)`)
	inARow := regexp.MustCompile(`(?:LG|CS|SS)\d\d(?:LG|CS|SS)\d\d`)
	var found []string
	err := fs.WalkDir(os.DirFS(".."), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") || path == "e2e/attacks_test.go" {
			return err
		}
		text, err := fs.ReadFile(os.DirFS(".."), path)
		if err != nil {
			return err
		}
		apart := inARow.ReplaceAllStringFunc(string(text), func(two string) string { return two[:4] + " " + two[4:] })
		for _, match := range name.FindAllStringSubmatch(apart, -1) {
			found = append(found, match[1]+"-"+match[2])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for letters, last := range rows {
		for i := range last {
			if row := fmt.Sprintf("%s-%02d", letters, i+1); !slices.Contains(found, row) {
				t.Errorf("no test is named after %s", row)
			}
		}
	}
}
