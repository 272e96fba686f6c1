package oauth

import (
	"strings"
	"testing"
)

// FuzzReadUserCode: DV-07. Whatever is typed, what is read is a code of the
// alphabet, and reading what is shown of it gives the same.
func FuzzReadUserCode(f *testing.F) {
	for _, typed := range []string{
		"", "WDJB-MJHT", "wdjbmjht", " wdjb mjht\t", "WDJB\u2011MJHT", "WDJB-MJH", "WDJB-MJHTB", "AEIO-UAEI", "WDJB-MJH\u017f", "W\x00DJB-MJHT",
		"<script>", "\xff\xfeWDJBMJHT", strings.Repeat("-", 80), "1234-5678", "\u212a",
	} {
		f.Add(typed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := readUserCode(typed)
		if !ok {
			return
		}
		if len(code) != userCodeLength || strings.Trim(code, userCodeAlphabet) != "" {
			t.Errorf("%q was read as %q", typed, code)
		}
		for _, way := range []string{showUserCode(code), strings.ToLower(code), knownShape(typed)} {
			if again, ok := readUserCode(way); !ok || again != code {
				t.Errorf("%q was read as %q, and %q as %q", typed, code, way, again)
			}
		}
	})
}

// TestNewUserCode: DV-01. Codes use the whole alphabet in every place, none more
// than others by much.
func TestNewUserCode(t *testing.T) {
	const n = 20_000
	var seen [userCodeLength]map[rune]int
	for i := range seen {
		seen[i] = map[rune]int{}
	}
	codes := map[string]bool{}
	for range n {
		code := newUserCode()
		codes[code] = true
		for i, letter := range code {
			seen[i][letter]++
		}
	}
	if len(codes) < n-5 {
		t.Errorf("%d of %d codes are different", len(codes), n)
	}
	for i, letters := range seen {
		if len(letters) != len(userCodeAlphabet) {
			t.Errorf("place %d has %d letters", i, len(letters))
		}
		for letter, count := range letters {
			if expected := n / len(userCodeAlphabet); count < expected*3/4 || count > expected*5/4 {
				t.Errorf("%c is %d times in place %d, of about %d", letter, count, i, expected)
			}
		}
	}
}
