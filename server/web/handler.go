package web

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"

	"grantd/templates"
)

// Handler is an HTTP handler that may fail. What it returns is shown by whoever
// wraps it, so it must not have written anything by then.
type Handler func(w http.ResponseWriter, r *http.Request) error

// WriteJSON answers with v and the headers of every JSON endpoint: never stored,
// never sniffed.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

// SeeOther sends the browser on with a 303 and no body: http.Redirect would write
// a page without the headers of ours.
func SeeOther(w http.ResponseWriter, target string) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}

// OAuth shows a handler's error as OAuth JSON (RFC 6749 §5.2).
func OAuth(issuer Issuer, h Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			WriteOAuthError(w, r, issuer.String(), err)
		}
	})
}

// Problem shows a handler's error as application/problem+json (RFC 9457).
func Problem(h Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			WriteProblem(w, r, err)
		}
	})
}

// WriteProblem answers with err as application/problem+json. Its type is
// "urn:grantd:problem:" followed by the error's code.
func WriteProblem(w http.ResponseWriter, r *http.Request, err error) {
	e := faceOf(err)
	logError(r, e.Status, err)
	retryAfter(w.Header(), e.RetryAfter)
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(e.Status)
	title := e.Title
	if title == "" {
		title = http.StatusText(e.Status)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "urn:grantd:problem:" + e.Code, "title": title, "status": e.Status, "detail": templates.Fill(e.Message, e.Values),
		"instance": "urn:grantd:request:" + RequestID(r.Context()),
	})
}

// Pages shows people pages, errors included.
type Pages struct {
	Templates *templates.Set
	Issuer    Issuer
	// Pushed reads the pushed request that this raw query refers to, and calls
	// PushedLocales. Nil: nothing is pushed.
	Pushed func(ctx context.Context, rawQuery string)
}

// Handle shows a handler's pages in the language of the request, and its error as a
// page.
func (p *Pages) Handle(h Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = withPushedLocales(r)
		w = speaking{w, r, p.Templates, p.Pushed}
		if err := h(w, r); err != nil {
			p.Error(w, r, err)
		}
	})
}

// Error answers with err as a page.
func (p *Pages) Error(w http.ResponseWriter, r *http.Request, err error) {
	e := faceOf(err)
	page := templates.ErrorPage{Status: e.Status, Title: e.Title, Message: e.Message, Values: e.Values, Help: e.Help, Link: e.Link, LinkText: e.LinkText, Reference: RequestID(r.Context())}
	if page.Title == "" {
		page.Title = http.StatusText(e.Status)
	}
	retryAfter(w.Header(), e.RetryAfter)
	p.ErrorPage(w, r, page, err)
}

// ErrorPage answers with a page that a room filled in itself; err is logged.
func (p *Pages) ErrorPage(w http.ResponseWriter, r *http.Request, page templates.ErrorPage, err error) {
	logError(r, page.Status, err)
	Refused(w, reasonOf(err))
	if page.Reference == "" {
		page.Reference = RequestID(r.Context())
	}
	if err := p.Write(w, page.Status, OwnForms, func(w io.Writer) error { return p.Templates.Error(w, page) }); err != nil {
		logError(r, http.StatusInternalServerError, err)
		http.Error(w, "Something went wrong on the server.", http.StatusInternalServerError)
	}
}

// Write answers with a page and the headers of its form policy. A page comes whole or
// not at all, so a failing template sends nothing.
func (p *Pages) Write(w http.ResponseWriter, status int, forms FormPolicy, render func(io.Writer) error) error {
	page := &pageWriter{ResponseWriter: w, status: status, forms: forms, secure: p.Issuer.Secure()}
	err := render(templates.Writer{Writer: page, Language: languageOf(w)})
	if page.begun {
		return nil //nolint:nilerr // the reader went away; there is nobody to tell
	}
	return err
}

// pageWriter sends the page that is written to it, which package templates does once.
type pageWriter struct {
	http.ResponseWriter
	status int
	forms  FormPolicy
	secure bool
	begun  bool
}

func (p *pageWriter) Write(page []byte) (int, error) {
	p.begun = true
	pageHeaders(p.Header(), p.forms, p.secure)
	p.Header().Set("Content-Length", strconv.Itoa(len(page)))
	p.WriteHeader(p.status)
	return p.ResponseWriter.Write(page)
}
