package server_test

import (
	"crypto/x509"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"grantd/server/servertest"
)

// documentHost publishes client metadata documents, each at a path of its own.
type documentHost struct {
	*httptest.Server
	fetches atomic.Int32

	mu      sync.Mutex
	answers map[string]http.HandlerFunc // by path; "": every other
}

func newDocumentHost(t testing.TB) *documentHost {
	t.Helper()
	h := &documentHost{answers: map[string]http.HandlerFunc{"": http.NotFound}}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.fetches.Add(1)
		h.mu.Lock()
		answer, ok := h.answers[r.URL.Path]
		if !ok {
			answer = h.answers[""]
		}
		h.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

// options let a server read what the host publishes.
func (h *documentHost) options(more ...servertest.Option) []servertest.Option {
	authorities := x509.NewCertPool()
	authorities.AddCert(h.Certificate())
	return append(more, servertest.WithMetadataDocuments(authorities), servertest.WithOutboundAllow(h.address()))
}

func (h *documentHost) address() string { return strings.TrimPrefix(h.URL, "https://") }

// answer has the host answer so at a path.
func (h *documentHost) answer(path string, answer http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answers[path] = answer
}

// publish puts a client's document at a path, with what is given changed (nil: left
// out), and returns its URL.
func (h *documentHost) publish(path string, change servertest.Object) string {
	document := servertest.Object{
		"client_id": h.URL + path, "client_name": "Notebook", "redirect_uris": []string{webCallback, "http://localhost/callback"},
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"}, "token_endpoint_auth_method": "none",
	}
	maps.Copy(document, change)
	for name, value := range document {
		if value == nil {
			delete(document, name)
		}
	}
	raw, err := json.Marshal(document)
	if err != nil {
		panic(err)
	}
	h.send(path, string(raw))
	return h.URL + path
}

// send has the host answer with this text at a path.
func (h *documentHost) send(path, text string) {
	h.answer(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(text))
	})
}

// fetched returns how often the host was asked during act.
func (h *documentHost) fetched(act func()) int {
	before := h.fetches.Load()
	act()
	return int(h.fetches.Load() - before)
}

// notebook is an office with a client that describes itself at a host.
type notebook struct {
	*office
	host *documentHost
	url  string
}

const notebookPath = "/notebook.json"

func newNotebook(t testing.TB, opts ...servertest.Option) *notebook {
	t.Helper()
	host := newDocumentHost(t)
	n := &notebook{office: newOffice(t, host.options(opts...)...), host: host, url: host.publish(notebookPath, nil)}
	return n
}

// request is the client's authorization request, changed by pairs.
func (n *notebook) request(pairs ...string) map[string][]string {
	return changed(servertest.AuthorizationRequest(n.url, webCallback, resourceURI), pairs...)
}

// use goes the whole way to a refresh token of the client.
func (n *notebook) use(t testing.TB) issued {
	t.Helper()
	return wantTokens(t, n.Redeem(n.url, n.approved(t, n.request())))
}

// row is the client as the admin API shows it, nil if it has no row.
func (n *notebook) row(t testing.TB) servertest.Object {
	t.Helper()
	for _, client := range n.list(t, "/clients") {
		if client["client_id"] == n.url {
			return client
		}
	}
	return nil
}

// eventually waits for what happens beside the requests.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}
