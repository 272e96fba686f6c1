package outbound_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"grantd/server/outbound"
)

// CM-06: a redirect is a failure, wherever it leads.
func TestCM06Redirects(t *testing.T) {
	t.Parallel()
	for _, status := range []int{300, 301, 302, 303, 305, 307, 308} {
		for _, to := range []string{"/elsewhere", "https://b.client.test/", "http://127.0.0.1/", "//169.254.169.254/", ""} {
			t.Run(fmt.Sprint(status, " ", to), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/" {
						t.Error("the redirect was followed")
					}
					rw.Header().Set("Location", to)
					rw.Header().Set("Content-Type", "application/json")
					rw.WriteHeader(status)
					_, _ = io.WriteString(rw, document)
				})
				wantError(t, outbound.New(w.config), w.url("a", "/"), outbound.MetadataDocument, outbound.ErrFetch)
				w.wantRequests(t, 1)
				w.knocks.want(t, w.at)
			})
		}
	}
}

// CM-07: 200 is the one good status.
func TestCM07Statuses(t *testing.T) {
	t.Parallel()
	for _, status := range []int{201, 202, 203, 204, 205, 206, 226, 304, 400, 401, 403, 404, 410, 429, 500, 503, 599} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", "application/json")
				rw.WriteHeader(status)
				_, _ = io.WriteString(rw, document)
			})
			f := outbound.New(w.config)
			got := wantError(t, f, w.url("a", "/"), outbound.MetadataDocument, outbound.ErrFetch)
			if want := "status " + strconv.Itoa(status); got != want {
				t.Errorf("reason %q, want %q", got, want)
			}
			if _, ok := f.Cached(w.url("a", "/"), outbound.MetadataDocument); ok {
				t.Error("it is cached")
			}
		})
	}
}

// CM-08.
func TestCM08MediaTypes(t *testing.T) {
	t.Parallel()
	for media, good := range map[string]bool{
		"application/json": true, "application/json;charset=x": true, "Application/JSON; charset=utf-8": true,
		"application/oauth-client+json": true, "application/jwk-set+json": true, "application/json; charset": true,
		"": false, "text/html": false, "text/json": false, "text/plain; charset=utf-8": false, "application/jsonp": false,
		"application/octet-stream": false, "application/json, text/html": false, "application/ld+jsonx": false,
		"image/svg+json": false, "json": false, ";": false,
	} {
		t.Run(media, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header()["Content-Type"] = []string{media}
				if media == "" {
					rw.Header()["Content-Type"] = nil
				}
				_, _ = io.WriteString(rw, document)
			})
			f := outbound.New(w.config)
			if good {
				get(t, f, w.url("a", "/"))
			} else {
				wantError(t, f, w.url("a", "/"), outbound.MetadataDocument, outbound.ErrFetch)
			}
		})
	}
}

const okJSON = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

// readRequest reads to the end of the request's header; false if the peer left before.
func readRequest(conn net.Conn) bool {
	var got []byte
	one := make([]byte, 1)
	for !bytes.HasSuffix(got, []byte("\r\n\r\n")) {
		if _, err := conn.Read(one); err != nil {
			return false
		}
		got = append(got, one...)
	}
	return true
}

// sized is a JSON object of n bytes.
func sized(n int) string { return `{"a":"` + strings.Repeat("x", n-len(`{"a":""}`)) + `"}` }

func zipped(t *testing.T, body string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// CM-09: bodies and headers that are too long, lie, never end or are no JSON object.
func TestCM09Bodies(t *testing.T) {
	t.Parallel()
	limit := outbound.MetadataDocument.MaxBytes
	withLength := func(announced int, body string) string {
		return okJSON + "Content-Length: " + strconv.Itoa(announced) + "\r\n\r\n" + body
	}
	plain := func(body string) string { return withLength(len(body), body) }
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 1000, strings.Repeat(" ", 1000))
	bomb := zipped(t, sized(1<<20))
	for _, c := range []struct {
		name    string
		sent    string
		endless string // repeated until the fetcher hangs up
		reason  string // "" if the document is good
	}{
		{"an object", plain(document), "", ""},
		{"as long as allowed", plain(sized(limit)), "", ""},
		{"one byte more", plain(sized(limit + 1)), "", "header: too long a body"},
		{"no length, as long as allowed", okJSON + "Connection: close\r\n\r\n" + sized(limit), "", ""},
		{"no length, one byte more", okJSON + "Connection: close\r\n\r\n" + sized(limit+1), "", "body: too long"},
		{"announces much", withLength(1<<40, "{}"), "", "header: too long a body"},
		{"announces more than it sends", withLength(100, document), "", "body: failed"},
		{"announces less than it sends", withLength(5, document), "", "body: no JSON object"},
		{"two lengths", okJSON + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", "", "response: failed"},
		{"chunks", okJSON + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "", ""},
		{"chunks without end", okJSON + "Transfer-Encoding: chunked\r\n\r\n", chunk, "body: too long"},
		{"a body without end", okJSON + "\r\n{", " ", "body: too long"},
		{"a chunk cut off", okJSON + "Transfer-Encoding: chunked\r\n\r\n10\r\n{}", "", "body: failed"},
		{"gzip", okJSON + "Content-Encoding: gzip\r\n\r\n" + bomb, "", "header: an encoded body"},
		{"gzip, not announced", okJSON + "\r\n" + bomb, "", "body: no JSON object"},
		{"gzip as transfer coding", okJSON + "Transfer-Encoding: gzip, chunked\r\n\r\n", "", "response: failed"},
		{"identity", okJSON + "Content-Encoding: identity\r\n\r\n" + document, "", ""},
		{"a long header", okJSON + "X: " + strings.Repeat("x", 64<<10) + "\r\n\r\n{}", "", "response: failed"},
		{"a header without end", okJSON, "X: y\r\n", "response: failed"},
		{"a header line without end", okJSON + "X: ", "y", "response: failed"},
		{"informational responses without end", "", "HTTP/1.1 103 Early Hints\r\n\r\n", "response: failed"},
		{"an informational response", "HTTP/1.1 103 Early Hints\r\nLink: <https://b.client.test/>\r\n\r\n" + plain(document), "", ""},
		{"another protocol", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{}", "", "status 101"},
		{"HTTP/0.9", document, "", "response: failed"},
		{"nothing", "", "", "response: failed"},
		{"no body", plain(""), "", "body: no JSON object"},
		{"an array", plain("[{}]"), "", "body: no JSON object"},
		{"a string", plain(`"{}"`), "", "body: no JSON object"},
		{"null", plain("null"), "", "body: no JSON object"},
		{"half an object", plain(`{"a":`), "", "body: no JSON object"},
		{"garbage after the object", plain("{} x"), "", "body: no JSON object"},
		{"two objects", plain("{}{}"), "", "body: no JSON object"},
		{"space around the object", plain("\r\n\t {} \n"), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newScriptedWorld(t, func(conn net.Conn) {
				defer func() { _ = conn.Close() }()
				if !readRequest(conn) {
					return
				}
				_, err := io.WriteString(conn, c.sent)
				piece := strings.Repeat(c.endless, 1+4096/max(len(c.endless), 1))
				for taken := 0; c.endless != "" && err == nil; taken += len(piece) {
					if taken > 32<<20 { // far more than sockets hold
						t.Error("the fetcher swallows everything")
						return
					}
					_, err = io.WriteString(conn, piece)
				}
			})
			w.config.Timeout = time.Minute // none of these ends by the clock
			f := outbound.New(w.config)
			if c.reason == "" {
				get(t, f, w.url("a", "/"))
				return
			}
			if got := wantError(t, f, w.url("a", "/"), outbound.MetadataDocument, outbound.ErrFetch); got != c.reason {
				t.Errorf("reason %q, want %q", got, c.reason)
			}
		})
	}
}

func TestKindsHaveTheirOwnLimits(t *testing.T) {
	t.Parallel()
	for _, kind := range []outbound.Kind{outbound.MetadataDocument, outbound.JWKS, {Name: "small", MaxBytes: 10}} {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
				n, _ := strconv.Atoi(r.URL.RawQuery)
				rw.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(rw, sized(n))
			})
			f := outbound.New(w.config)
			url := func(n int) string { return w.url("a", "/?"+strconv.Itoa(n)) }
			if _, err := f.Get(t.Context(), url(kind.MaxBytes), kind); err != nil {
				t.Errorf("as long as allowed: %s", reason(err))
			}
			wantError(t, f, url(kind.MaxBytes+1), kind, outbound.ErrFetch)
		})
	}
}

// CM-10: whatever stalls, one deadline ends it, and the host's end of the
// connection sees that it is over.
func TestCM10Stalls(t *testing.T) {
	t.Parallel()
	drip := func(conn net.Conn) error { // until the fetcher hangs up, far below every limit of size
		for {
			if _, err := io.WriteString(conn, "x"); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	}
	for _, c := range []struct {
		name  string
		raw   bool // without TLS
		stall func(net.Conn) error
	}{
		{"TLS", true, func(net.Conn) error { return nil }},
		{"TLS, a byte at a time", true, func(conn net.Conn) error {
			_, err := io.WriteString(conn, "\x16\x03\x03\x40\x00")
			if err != nil {
				return err
			}
			return drip(conn)
		}},
		{"response", false, func(net.Conn) error { return nil }},
		{"header", false, func(conn net.Conn) error {
			_, err := io.WriteString(conn, okJSON)
			return err
		}},
		{"header, a byte at a time", false, func(conn net.Conn) error {
			if _, err := io.WriteString(conn, okJSON+"X: "); err != nil {
				return err
			}
			return drip(conn)
		}},
		{"body", false, func(conn net.Conn) error {
			_, err := io.WriteString(conn, okJSON+"Content-Length: 1000\r\n\r\n"+sized(100))
			return err
		}},
		{"body, a byte at a time", false, func(conn net.Conn) error {
			if _, err := io.WriteString(conn, okJSON+"\r\n"); err != nil {
				return err
			}
			return drip(conn)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			over := make(chan struct{})
			script := func(conn net.Conn) {
				defer close(over)
				if c.raw || readRequest(conn) {
					_ = c.stall(conn)
				}
				_, _ = io.Copy(io.Discard, conn) // until the fetcher hangs up
			}
			w := bareWorld(t)
			if c.raw {
				w.listen(t, script)
			} else {
				w = newScriptedWorld(t, script)
			}
			w.config.Timeout = 200 * time.Millisecond
			got := wantError(t, outbound.New(w.config), w.url("a", "/"), outbound.MetadataDocument, outbound.ErrFetch)
			if !strings.HasSuffix(got, "timed out") {
				t.Errorf("reason %q", got)
			}
			<-over
		})
	}
}

func TestCM10ResolutionStalls(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	f := outbound.New(outbound.Config{
		Timeout: time.Millisecond,
		Resolver: resolver(func(ctx context.Context, _ string) ([]netip.Addr, error) {
			defer close(over)
			<-ctx.Done()
			return nil, ctx.Err()
		}),
	})
	got := wantError(t, f, "https://client.test/", outbound.MetadataDocument, outbound.ErrFetch)
	if got != "resolving: timed out" {
		t.Errorf("reason %q", got)
	}
	<-over
}

// CM-17.
func TestCM17TLS(t *testing.T) {
	t.Parallel()
	now := newClock().now
	names := []string{"*.client.test"}
	for _, c := range []struct {
		name   string
		certs  func(*testing.T, *authority) tls.Certificate
		config *tls.Config
		reason string
	}{
		{"TLS 1.3", nil, &tls.Config{MinVersion: tls.VersionTLS13}, ""},
		{"TLS 1.2", nil, &tls.Config{MaxVersion: tls.VersionTLS12}, ""},
		{"TLS 1.1", nil, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "TLS: failed"},
		{"TLS 1.0", nil, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, "TLS: failed"},
		{"self-signed", func(t *testing.T, _ *authority) tls.Certificate {
			return (&authority{}).issue(t, &x509.Certificate{DNSNames: names})
		}, &tls.Config{}, "TLS: the certificate comes from an unknown authority"},
		{"another authority", func(t *testing.T, _ *authority) tls.Certificate {
			return newAuthority(t).forHosts(t)
		}, &tls.Config{}, "TLS: the certificate comes from an unknown authority"},
		{"another name", func(t *testing.T, a *authority) tls.Certificate {
			return a.issue(t, &x509.Certificate{DNSNames: []string{"client.test", "*.other.test"}})
		}, &tls.Config{}, "TLS: the certificate is for another name"},
		{"only its address", func(t *testing.T, a *authority) tls.Certificate {
			return a.issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
		}, &tls.Config{}, "TLS: the certificate is for another name"},
		{"expired", func(t *testing.T, a *authority) tls.Certificate {
			return a.issue(t, &x509.Certificate{DNSNames: names, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(-time.Minute)})
		}, &tls.Config{}, "TLS: the certificate has expired or is not valid yet"},
		{"not valid yet", func(t *testing.T, a *authority) tls.Certificate {
			return a.issue(t, &x509.Certificate{DNSNames: names, NotBefore: now.Add(time.Minute), NotAfter: now.Add(time.Hour)})
		}, &tls.Config{}, "TLS: the certificate has expired or is not valid yet"},
		{"for clients", func(t *testing.T, a *authority) tls.Certificate {
			return a.issue(t, &x509.Certificate{DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		}, &tls.Config{}, "TLS: the certificate is invalid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := bareWorld(t)
			if c.certs == nil {
				c.config.Certificates = []tls.Certificate{w.authority.forHosts(t)}
			} else {
				c.config.Certificates = []tls.Certificate{c.certs(t, w.authority)}
			}
			w.listen(t, func(conn net.Conn) {
				secured := tls.Server(conn, c.config)
				if readRequest(secured) {
					_, _ = io.WriteString(secured, okJSON+"\r\n"+document)
				}
				_ = secured.Close()
			})
			f := outbound.New(w.config)
			if c.reason == "" {
				get(t, f, w.url("a", "/"))
				return
			}
			if got := wantError(t, f, w.url("a", "/"), outbound.MetadataDocument, outbound.ErrFetch); got != c.reason {
				t.Errorf("reason %q, want %q", got, c.reason)
			}
		})
	}
}

func TestHTTPWhereTLSIsExpected(t *testing.T) {
	t.Parallel()
	w := bareWorld(t)
	w.listen(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, okJSON+"\r\n"+document)
		_, _ = io.Copy(io.Discard, conn)
	})
	wantError(t, outbound.New(w.config), w.url("a", "/"), outbound.MetadataDocument, outbound.ErrFetch)
}

func TestCM10NobodyListens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, serveDocument)
	w.config.Allow, w.config.Resolver = []outbound.Allowed{allow(t, "127.0.0.0/8")}, always("127.0.0.9")
	got := wantError(t, outbound.New(w.config), w.url("a", "/"), outbound.MetadataDocument, outbound.ErrFetch)
	if got != "connecting: connection refused" {
		t.Errorf("reason %q", got)
	}
}

// CM-18: the environment's proxy is not asked.
func TestCM18NoProxy(t *testing.T) {
	proxy := closedDoor{listenAt(t, "127.0.0.1:0")}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, "http://"+proxy.Addr().String())
	}
	t.Setenv("NO_PROXY", "")
	t.Setenv("no_proxy", "")
	w := newWorld(t, serveDocument)
	get(t, outbound.New(w.config), w.url("a", "/"))
	w.knocks.want(t, w.at)
	proxy.wantUntouched(t)
}
