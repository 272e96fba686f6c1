package web_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"grantd/server/web"
	"grantd/templates"
)

func newPages(t *testing.T) *web.Pages {
	t.Helper()
	set, err := templates.New()
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := web.ParseIssuer("https://auth.example.com")
	if err != nil {
		t.Fatal(err)
	}
	return &web.Pages{Templates: set, Issuer: issuer}
}

// TestPageComesWhole: a page says how long it is, also one that net/http would send in
// pieces, and of one that cannot be made nothing is sent but that.
func TestPageComesWhole(t *testing.T) {
	pages, broken := newPages(t), errors.New("broken")
	server := httptest.NewServer(pages.Handle(func(w http.ResponseWriter, r *http.Request) error {
		return pages.Write(w, http.StatusTeapot, web.OwnForms, func(out io.Writer) error {
			if r.URL.Path == "/broken" {
				return broken
			}
			return pages.Templates.RecoveryCodes(out, templates.RecoveryCodesPage{Codes: slices.Repeat([]string{"a-code"}, 500)})
		})
	}))
	defer server.Close()
	for path, status := range map[string]int{"/": http.StatusTeapot, "/broken": http.StatusInternalServerError} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			request, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := server.Client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(answer.Body)
			if err := errors.Join(err, answer.Body.Close()); err != nil {
				t.Fatal(err)
			}
			length := answer.Header.Get("Content-Length")
			if answer.StatusCode != status || len(answer.TransferEncoding) > 0 || method == http.MethodGet && length != strconv.Itoa(len(body)) || length < "1" {
				t.Errorf("%s %s: %d, Content-Length %s of %d bytes, %v", method, path, answer.StatusCode, length, len(body), answer.TransferEncoding)
			}
			if answer.Header.Get("Content-Security-Policy") == "" || method == http.MethodGet && !strings.HasSuffix(strings.TrimSpace(string(body)), "</html>") {
				t.Errorf("%s %s: %v\n%s", method, path, answer.Header, body)
			}
		}
	}
}

// gone is an answer whose reader has gone away.
type gone struct{ *httptest.ResponseRecorder }

func (gone) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestReaderWentAway: that is no error, for there is nobody to tell.
func TestReaderWentAway(t *testing.T) {
	pages := newPages(t)
	err := pages.Write(gone{httptest.NewRecorder()}, http.StatusOK, web.OwnForms, func(out io.Writer) error {
		return pages.Templates.Error(out, templates.ErrorPage{})
	})
	if err != nil {
		t.Error(err)
	}
}
