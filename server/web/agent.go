package web

import (
	"net/http"
	"strings"
	"unicode"
)

// maxUserAgent bounds what is kept of a program's description of itself, in bytes.
const maxUserAgent = 512

// UserAgent is what the browser or program calls itself, as a line of text that every
// database takes.
func UserAgent(r *http.Request) string {
	sent := r.UserAgent()
	if len(sent) > maxUserAgent {
		sent = sent[:maxUserAgent]
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return -1
		}
		return c
	}, strings.ToValidUTF8(sent, ""))
}
