package web

import (
	"net/http"
	"net/url"
	"strings"

	"grantd/templates"
)

// speaking is the answer to a request in the language of whoever reads it.
type speaking struct {
	http.ResponseWriter
	r *http.Request
}

// Unwrap lets others find the writer below.
func (s speaking) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// language is found out only for a page: most requests end in a redirect.
func (s speaking) language() string {
	uiLocales := ""
	if strings.Contains(s.r.URL.RawQuery, "ui_locales=") {
		query, _ := url.ParseQuery(s.r.URL.RawQuery)
		uiLocales = query.Get("ui_locales")
	}
	return templates.MatchLanguage(uiLocales, s.r.Header.Get("Accept-Language"))
}

// languageOf is the language in which a page is written to w.
func languageOf(w http.ResponseWriter) string {
	for {
		if s, ok := w.(speaking); ok {
			return s.language()
		}
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return templates.English
		}
		w = wrapper.Unwrap()
	}
}
