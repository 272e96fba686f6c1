package consent

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"grantd/storage"
	"grantd/templates"
)

// Known is a name that means something to people here, and what has it.
type Known struct {
	Name string
	Of   string // templates.NameOfClient, NameOfResource or NameOfProfile
}

// Names collects the names of clients that an admin registered, of Resources, and of
// the clients that profiles know.
func Names(clients []*storage.Client, resources []*storage.Resource, profiles []string) []Known {
	var known []Known
	for _, c := range clients {
		known = append(known, Known{c.ClientName, templates.NameOfClient})
	}
	for _, title := range profiles {
		known = append(known, Known{title, templates.NameOfProfile})
	}
	for _, r := range resources {
		known = append(known, Known{r.Name, templates.NameOfResource})
	}
	return known
}

// LooksLike returns the first of the known names that people may take a name for:
// the same one, or one that differs only in case, spaces, punctuation, accents, or
// letters that look alike.
func LooksLike(name string, known []Known) (Known, bool) {
	seen := skeleton(name)
	if seen == "" {
		return Known{}, false
	}
	for _, k := range known {
		if skeleton(k.Name) == seen {
			return k, true
		}
	}
	return Known{}, false
}

// skeleton is the same for names that look alike, in the manner of UTS 39 section 4,
// and coarser: a warning too many costs less than one too few.
func skeleton(name string) string {
	var b strings.Builder
	for _, r := range name {
		if like, ok := confusable[r]; ok {
			b.WriteString(like)
			continue
		}
		for _, r := range norm.NFKD.String(string(r)) {
			if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
				continue // spaces, punctuation, accents, and what cannot be seen
			}
			like, ok := confusable[r]
			if !ok {
				r = unicode.ToLower(r)
				like, ok = confusable[r]
			}
			if !ok {
				like = string(r)
			}
			b.WriteString(like)
		}
	}
	return several.Replace(b.String())
}

// Pairs of letters that look like one.
var several = strings.NewReplacer("rn", "m", "vv", "w")

// confusable are the letters of other scripts, and of odd corners of our own, that
// people take for a Latin one. Capital I and small L are one letter here.
var confusable = func() map[rune]string {
	letters := make(map[rune]string)
	for latin, others := range map[string]string{
		"a": "аАαΑɑᴀᎪ", "b": "ƅЬьвВβΒʙᏴ", "c": "сСςϲϹᴄᏟⲥ", "d": "ԁđᴅᎠ", "e": "еЕεΕєЄᴇᎬҽ", "f": "ƒϝ", "g": "ɡցɢᏀ",
		"h": "һНнΗհħʜᎻҺ", "j": "јЈյᴊᎫϳ", "k": "кКκΚᴋᏦ", "l": "i1|IıіІιΙӏӀłɪʟᏞɩ׀∣ǀ", "m": "мМΜᴍᎷ", "n": "пПηΝոɴ",
		"o": "0оОοΟσօøØᴏᎾ", "p": "рРρΡᴘᏢ", "q": "ԛզ", "r": "гГʀᎡ", "s": "ѕЅꜱᏚƽ", "t": "тТτΤᴛᎢŧ", "u": "υսμᴜ",
		"v": "νѵѴᴠᏙ", "w": "ԝԜωաᴡᎳ", "x": "хХχΧ", "y": "уУγΥүҮʏᎩ", "z": "ᴢΖζᏃ", "ae": "æÆ", "oe": "œŒ", "ss": "ß",
	} {
		for _, other := range others {
			letters[other] = latin
		}
	}
	return letters
}()
