package account

import (
	"strings"

	"grantd/templates"
)

// What browsers and systems are told by, in the order in which one counts that
// comes with another: Edge calls itself Chrome too, and Chrome Safari.
var (
	browsers = [][2]string{
		{"Edg", "Edge"},
		{"OPR/", "Opera"},
		{"SamsungBrowser", "Samsung Internet"},
		{"Firefox/", "Firefox"},
		{"FxiOS/", "Firefox"},
		{"CriOS/", "Chrome"},
		{"Chromium/", "Chromium"},
		{"Chrome/", "Chrome"},
		{"Safari/", "Safari"},
	}
	systems = [][2]string{
		{"iPhone", "iPhone"},
		{"iPad", "iPad"},
		{"Android", "Android"},
		{"CrOS", "ChromeOS"},
		{"Windows", "Windows"},
		{"Macintosh", "macOS"},
		{"Linux", "Linux"},
	}
)

// Browser says in words what a User-Agent means, as "Firefox on Linux"; "" when it
// is none that people use. It is the browser's own claim.
func Browser(userAgent string) string { return templates.Fill(browserOf(userAgent)) }

// browserOf is Browser for the pages, which say it in their language: a sentence,
// and what stands for its {names}.
func browserOf(userAgent string) (sentence string, values map[string]string) {
	name, system := firstIn(userAgent, browsers), firstIn(userAgent, systems)
	switch {
	case name == "" && system == "":
		return "", nil
	case name == "":
		return "A program on {system}", map[string]string{"system": system}
	case system == "":
		return name, nil
	}
	return "{browser} on {system}", map[string]string{"browser": name, "system": system}
}

// program says in words what the User-Agent of an application means: a browser's, or
// the name that stands first in it; "" when there is none. It is the program's own claim.
func program(userAgent string) string {
	if known := Browser(userAgent); known != "" {
		return known
	}
	name, _, _ := strings.Cut(userAgent, " ")
	name, _, _ = strings.Cut(name, "/")
	return name
}

func firstIn(text string, marks [][2]string) string {
	for _, mark := range marks {
		if strings.Contains(text, mark[0]) {
			return mark[1]
		}
	}
	return ""
}
