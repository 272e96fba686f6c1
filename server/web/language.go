package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"grantd/templates"
)

// speaking is the answer to a request in the language of whoever reads it.
type speaking struct {
	http.ResponseWriter
	r         *http.Request
	templates *templates.Set
	// pushed finds what a pushed request says of the language, if nobody has yet.
	pushed func(ctx context.Context, rawQuery string)
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
	if p, ok := s.r.Context().Value(pushedLocalesKey{}).(*pushedLocales); ok {
		if !p.read && s.pushed != nil {
			s.pushed(s.r.Context(), s.r.URL.RawQuery)
		}
		uiLocales = p.uiLocales // what the URL says beside a pushed request does not count (RFC 9126 §4)
	}
	return s.templates.MatchLanguage(uiLocales, s.r.Header.Get("Accept-Language"))
}

type pushedLocalesKey struct{}

// pushedLocales are the ui_locales of the pushed request that the URL refers to.
type pushedLocales struct {
	uiLocales string
	read      bool
}

// withPushedLocales makes room for what is pushed, where the URL refers to something.
func withPushedLocales(r *http.Request) *http.Request {
	if !strings.Contains(r.URL.RawQuery, "request_uri=") {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), pushedLocalesKey{}, new(pushedLocales)))
}

// PushedLocales notes the ui_locales of the pushed request that is answered, "" when
// it has none or cannot be read.
func PushedLocales(ctx context.Context, uiLocales string) {
	if p, ok := ctx.Value(pushedLocalesKey{}).(*pushedLocales); ok {
		p.uiLocales, p.read = uiLocales, true
	}
}

// languageOf is the language in which a page is written to w, "" for that of whoever
// reads none.
func languageOf(w http.ResponseWriter) string {
	for {
		if s, ok := w.(speaking); ok {
			return s.language()
		}
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return ""
		}
		w = wrapper.Unwrap()
	}
}
