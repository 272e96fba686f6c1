package templates

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	zeroWidthJoiner = '\u200d'
	textStyle       = '\ufe0e' // variation selectors that choose text or emoji style
	emojiStyle      = '\ufe0f'

	// Honest writing stacks few marks on a letter; "zalgo" stacks many, to
	// paint over the lines around it.
	maxMarks = 4
	// No emoji in use is longer; without a bound one "character" could be the
	// whole input.
	maxClusterRunes = 16
)

// CleanText makes a string that someone else chose fit to be shown in a line of
// text: no control, bidirectional, zero-width, private-use or tag
// characters, white space collapsed to single spaces, at most max user-perceived
// characters (an approximation of the grapheme clusters of UAX #29), the last of
// which is an ellipsis when something was cut. Emoji keep the joiners,
// skin tones and selectors they are made of; flags that are spelled with tag
// characters become plain flags. Invalid UTF-8 is dropped.
func CleanText(s string, max int) string {
	if max <= 0 {
		return ""
	}
	c := cleaner{max: max}
	for _, r := range s {
		if !c.add(r) {
			return strings.TrimRight(c.out.String()[:c.cut], " ") + "…"
		}
	}
	return c.out.String()
}

// firstCluster is the first user-perceived character of s, cleaned.
func firstCluster(s string) string {
	c := cleaner{max: 1}
	for _, r := range s {
		if !c.add(r) {
			break
		}
	}
	return c.out.String()
}

type cleaner struct {
	out      strings.Builder
	max      int // clusters allowed
	clusters int // clusters written
	cut      int // where the last allowed cluster begins

	space   bool // white space seen since the last cluster
	joiner  bool // a joiner seen that counts only if an emoji follows
	emoji   bool // the open cluster is an emoji
	keycap  bool // the open cluster is one digit, # or *
	halfway bool // the open cluster is the first half of a flag
	jamo    bool // the open cluster is Hangul
	runes   int  // in the open cluster
	marks   int  // in the open cluster
}

// add takes the next rune. It returns false when a cluster too many begins.
func (c *cleaner) add(r rune) bool {
	joined := c.joiner
	c.joiner = false
	open := c.runes > 0 && !c.space
	switch {
	case r == utf8.RuneError:
		return true
	case unicode.Is(unicode.White_Space, r) || r == '\u2800': // the empty Braille cell looks like a space
		c.space = c.clusters > 0
		return true
	case r == zeroWidthJoiner:
		c.joiner = open && c.emoji
		return true
	case r == emojiStyle || r == textStyle:
		if open && (c.emoji || c.keycap) {
			return c.extend(r)
		}
		return true
	case invisible(r):
		return true
	case unicode.In(r, unicode.Mn, unicode.Me):
		c.marks++
		if open && c.marks <= maxMarks {
			return c.extend(r)
		}
		return true
	case unicode.Is(unicode.Mc, r) && open:
		return c.extend(r)
	case isSkinTone(r) && open && c.emoji:
		return c.extend(r)
	case unicode.Is(unicode.Regional_Indicator, r):
		if open && c.halfway {
			c.halfway = false
			return c.extend(r)
		}
		ok := c.begin(r)
		c.halfway, c.emoji = true, false
		return ok
	case isJamoTail(r) && open && c.jamo:
		return c.extend(r)
	case joined && isEmoji(r) && c.runes < maxClusterRunes-1:
		c.out.WriteRune(zeroWidthJoiner)
		c.runes++
		return c.extend(r)
	}
	return c.begin(r)
}

func (c *cleaner) extend(r rune) bool {
	if c.runes >= maxClusterRunes {
		return c.begin(r)
	}
	c.out.WriteRune(r)
	c.runes++
	return true
}

func (c *cleaner) begin(r rune) bool {
	if c.space {
		c.space = false
		if !c.begin(' ') {
			return false
		}
	}
	if c.clusters == c.max {
		return false
	}
	c.clusters++
	if c.clusters == c.max {
		c.cut = c.out.Len()
	}
	c.out.WriteRune(r)
	c.runes, c.marks = 1, 0
	c.emoji = isEmoji(r)
	c.keycap = r == '#' || r == '*' || (r >= '0' && r <= '9')
	c.halfway = false
	c.jamo = unicode.Is(unicode.Hangul, r)
	return true
}

// invisible reports whether a rune has no glyph of its own, reorders its
// neighbours, or means what each font likes (private use includes the logo of
// one well-known company).
func invisible(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Co, unicode.Cs,
		unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point, unicode.Noncharacter_Code_Point) ||
		unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}

// isEmoji is wider than Extended_Pictographic, which the standard library
// lacks: an ordinary symbol that keeps a selector does no harm.
func isEmoji(r rune) bool {
	switch r {
	case '\u203c', '\u2049', '\u2139', '\u2194', '\u25fb', '\u25fc', '\u25fd', '\u25fe', '\u3030':
		return true
	}
	return unicode.Is(unicode.So, r) || (r >= 0x1f000 && r <= 0x1faff)
}

func isSkinTone(r rune) bool { return r >= 0x1f3fb && r <= 0x1f3ff }

// isJamoTail reports whether a Hangul vowel or final consonant joins the
// syllable before it.
func isJamoTail(r rune) bool {
	return (r >= 0x1161 && r <= 0x11ff) || (r >= 0xd7b0 && r <= 0xd7fb)
}
