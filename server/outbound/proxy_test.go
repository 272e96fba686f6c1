package outbound_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"grantd/server/outbound"
)

// egress is an egress proxy that answers every CONNECT with what answer says, and
// leads it to a world's host on "200".
type egress struct {
	net.Listener
	mu    sync.Mutex
	asked []string
}

func newEgress(t *testing.T, w *world, answer string, security *tls.Config) *egress {
	t.Helper()
	e := &egress{Listener: listenAt(t, "127.0.0.1:0")}
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = e.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := e.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = conn.Close() }()
				if security != nil {
					conn = tls.Server(conn, security)
				}
				e.serve(t.Context(), w, conn, answer)
			})
		}
	})
	return e
}

func (e *egress) serve(ctx context.Context, w *world, conn net.Conn, answer string) {
	reader := bufio.NewReader(conn)
	request, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	e.mu.Lock()
	e.asked = append(e.asked, request.Method+" "+request.Host)
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie"} {
		if request.Header.Get(name) != "" {
			e.asked = append(e.asked, name)
		}
	}
	e.mu.Unlock()
	if _, err := io.WriteString(conn, answer); err != nil || !strings.HasPrefix(answer, "HTTP/1.1 200") {
		return
	}
	host, err := new(net.Dialer).DialContext(ctx, "tcp", w.at.String())
	if err != nil {
		return
	}
	defer func() { _ = host.Close() }()
	go func() {
		_, _ = io.Copy(host, reader)
		_ = host.Close() // the client has gone
	}()
	_, _ = io.Copy(conn, host)
}

// TestCM18Proxy: everything goes through the one proxy that the operator names, and
// nothing is resolved here.
func TestCM18Proxy(t *testing.T) {
	const opened = "HTTP/1.1 200 Connection established\r\n\r\n"
	for _, c := range []struct {
		name   string
		answer string
		tls    bool
		reason string // empty: the document comes
	}{
		{"opened", opened, false, ""},
		{"opened over TLS", opened, true, ""},
		{"refused", "HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nno no", false, "the proxy answered with status 403"},
		{"wants credentials", "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n", false, "the proxy answered with status 407"},
		{"a redirect", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", false, "the proxy answered with status 302"},
		{"speaks first", opened + "hello", false, "the proxy did not open a tunnel"},
		{"a header without end", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 64<<10), false, "connecting through the proxy: failed"},
		{"nothing", "", false, "connecting through the proxy: failed"},
		{"no HTTP", "SSH-2.0-OpenSSH\r\n", false, "connecting through the proxy: failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, serveDocument)
			var security *tls.Config
			scheme := "http"
			if c.tls {
				scheme, security = "https", &tls.Config{Certificates: []tls.Certificate{w.authority.forHosts(t)}}
			}
			proxy := newEgress(t, w, c.answer, security)
			config := w.config
			config.Allow = nil
			config.Proxy = &url.URL{Scheme: scheme, Host: proxy.Addr().String()}
			config.Resolver = resolver(func(context.Context, string) ([]netip.Addr, error) {
				t.Error("a name was resolved here")
				return nil, nil
			})
			f := outbound.New(config)
			target := w.url("a", "/")
			if c.reason == "" {
				get(t, f, target)
			} else if got := wantError(t, f, target, outbound.MetadataDocument, outbound.ErrFetch); got != c.reason {
				t.Errorf("reason %q, want %q", got, c.reason)
			}
			want := "CONNECT " + strings.TrimPrefix(strings.TrimSuffix(target, "/"), "https://")
			if proxy.mu.Lock(); len(proxy.asked) != 1 || proxy.asked[0] != want {
				t.Errorf("the proxy was asked %q, want %q", proxy.asked, want)
			}
			proxy.mu.Unlock()
			// What is wrong by its looks is not asked of the proxy either.
			for _, bad := range []string{"https://127.0.0.1/", "https://idp.internal/", "http://a.client.test/", "https://localhost/", "https://a.client.test:22/"} {
				wantError(t, f, bad, outbound.MetadataDocument, outbound.ErrRefused)
			}
			w.knocks.want(t)
		})
	}
	t.Run("what is allowed as host:port goes directly", func(t *testing.T) {
		w := newWorld(t, serveDocument)
		door := closedDoor{listenAt(t, "127.0.0.1:0")}
		config := w.config
		_, port, _ := net.SplitHostPort(w.at.String())
		config.Allow = []outbound.Allowed{allow(t, "a.client.test:"+port)}
		config.Proxy = &url.URL{Scheme: "http", Host: door.Addr().String()}
		get(t, outbound.New(config), w.url("a", "/"))
		w.knocks.want(t, w.at)
		door.wantUntouched(t)
	})
	t.Run("the host's own certificate counts, not the proxy's", func(t *testing.T) {
		w, other := newWorld(t, serveDocument), newAuthority(t)
		proxy := newEgress(t, w, opened, nil)
		config := w.config
		config.Allow, config.RootCAs = nil, other.pool
		config.Proxy = &url.URL{Scheme: "http", Host: proxy.Addr().String()}
		wantError(t, outbound.New(config), w.url("a", "/"), outbound.MetadataDocument, outbound.ErrFetch)
	})
}

func TestParseProxy(t *testing.T) {
	for raw, want := range map[string]string{
		"http://proxy.corp.example:3128":   "http://proxy.corp.example:3128",
		"https://proxy.corp.example:8443/": "https://proxy.corp.example:8443",
		"http://proxy.corp.example":        "http://proxy.corp.example:3128",
		"https://10.0.0.1":                 "https://10.0.0.1:443",
		"http://[fd00::1]:3128":            "http://[fd00::1]:3128",
		"":                                 "",
		"proxy.corp.example:3128":          "",
		"socks5://proxy:1080":              "",
		"http://user:secret@proxy:3128":    "",
		"http://proxy:3128/path":           "",
		"http://proxy:3128?x":              "",
		"http://proxy:0":                   "",
		"http://:3128":                     "",
	} {
		u, err := outbound.ParseProxy(raw)
		if (err == nil) != (want != "") || err == nil && u.String() != want {
			t.Errorf("%q is %v, %v; want %q", raw, u, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || raw != "" && strings.Contains(err.Error(), raw)) {
			t.Errorf("the error quotes its input: %v", err)
		}
	}
}
