package templates_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"grantd/templates"
)

func TestCleanText(t *testing.T) {
	cases := []struct {
		name, in string
		max      int
		want     string
	}{
		{"plain", "Claude Code", 64, "Claude Code"},
		{"empty", "", 64, ""},
		{"nothing left", "\u200b\u202e\x00 \n", 64, ""},
		{"no room", "Claude", 0, ""},
		{"negative room", "Claude", -1, ""},
		{"white space", "  a \t\r\n\v b\u00a0\u2028\u3000c  ", 64, "a b c"},
		{"blank letters", "a\u2800b\u3164c\u115fd", 64, "a bcd"},
		{"controls", "a\x00b\x1bc\x7fd\u009be", 64, "abcde"},
		{"bidi", "a\u202eb\u2066c\u2069d\u200fe\u061cf", 64, "abcdef"},
		{"zero width", "a\u200bb\u200cc\u200dd\u2060e\ufefff\u00adg\u034fh", 64, "abcdefgh"},
		{"tags", "a\U000e0041\U000e007fb", 64, "ab"},
		{"private use", "\uf8ffpple", 64, "pple"},
		{"noncharacters and invalid", "a\ufffeb\xff\xc3c\ufffd", 64, "abc"},
		{"right to left stays", "שלום עולם", 64, "שלום עולם"},
		{"accents", "cafe\u0301", 64, "cafe\u0301"},
		{"mark without a letter", "\u0301a \u0301b", 64, "a b"},
		{"zalgo", "z" + strings.Repeat("\u0301", 50) + "a", 64, "z\u0301\u0301\u0301\u0301a"},
		{"family", "👨\u200d👩\u200d👧\u200d👦 Apps", 64, "👨\u200d👩\u200d👧\u200d👦 Apps"},
		{"skin tone and selector", "👩🏽\u200d💻 ❤\ufe0f\u200d🔥", 64, "👩🏽\u200d💻 ❤\ufe0f\u200d🔥"},
		{"keycap", "1\ufe0f\u20e3", 64, "1\ufe0f\u20e3"},
		{"selector on a letter", "a\ufe0fb\ufe00c", 64, "abc"},
		{"joiner that joins nothing", "👩\u200d a\u200d👩 👩\u200d", 64, "👩 a👩 👩"},
		{"flag", "🇸🇪🇳🇴", 2, "🇸🇪🇳🇴"},
		{"exactly", "abcde", 5, "abcde"},
		{"cut", "abcdef", 5, "abcd…"},
		{"cut after a space", "abc def", 5, "abc…"},
		{"cut between emoji", "👨\u200d👩\u200d👧👩🏽\u200d💻👩🏽\u200d💻", 2, "👨\u200d👩\u200d👧…"},
		{"cut flags whole", "🇸🇪🇳🇴🇩🇰", 2, "🇸🇪…"},
		{"cut counts letters with marks once", "e\u0301e\u0301e\u0301", 2, "e\u0301…"},
		{"cut counts syllables", "\u1112\u1161\u11ab\u1100\u1173\u11af", 2, "\u1112\u1161\u11ab\u1100\u1173\u11af"},
		{"only an ellipsis", "ab", 1, "…"},
		{"trailing space is not cut", "abcde   ", 5, "abcde"},
		{"10 kB", strings.Repeat("x", 10_000), 64, strings.Repeat("x", 63) + "…"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := templates.CleanText(c.in, c.max); got != c.want {
				t.Errorf("CleanText(%q, %d) = %q, want %q", c.in, c.max, got, c.want)
			}
		})
	}
}

func FuzzCleanText(f *testing.F) {
	for _, s := range []string{hostile, "👩🏽\u200d💻 ❤\ufe0f", "z\u0301\u0301\u0301", "🇸🇪🇳", "\u0903\u0903", "1\ufe0f\u20e3"} {
		f.Add(s, 8)
	}
	f.Fuzz(func(t *testing.T, s string, max int) {
		max %= 100
		got := templates.CleanText(s, max)
		if !utf8.ValidString(got) {
			t.Errorf("%q is not UTF-8", got)
		}
		if n := utf8.RuneCountInString(got); n > 16*max && got != "" {
			t.Errorf("%d runes for %d characters", n, max)
		}
		if strings.TrimSpace(got) != got || strings.Contains(got, "  ") {
			t.Errorf("%q has loose white space", got)
		}
		for _, r := range got {
			if unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("%q holds %U", got, r)
			}
		}
		if again := templates.CleanText(got, max); again != got {
			t.Errorf("cleaning %q again gives %q", got, again)
		}
	})
}
