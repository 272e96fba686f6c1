package outbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
)

// ParseProxy reads the URL of an egress proxy. Its errors say how to write it,
// without quoting raw.
func ParseProxy(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		return nil, errors.New("write http://HOST:PORT or https://HOST:PORT")
	case u.User != nil:
		return nil, errors.New("a user name and password are not supported: let the proxy know grantd by its address")
	case (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, errors.New("a proxy has no path: write http://HOST:PORT")
	}
	if port := u.Port(); port == "" {
		u.Host = net.JoinHostPort(u.Hostname(), map[string]string{"http": "3128", "https": "443"}[u.Scheme])
	} else if _, ok := parsePort(port); !ok {
		return nil, errors.New("the port is no number from 1 to 65535")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// Destination reports whether a is one port of one host, so that what is asked
// there is known before anything is resolved.
func (a Allowed) Destination() bool { return a.port != 0 }

// tunnel returns a connection to t through the proxy (RFC 9110 §9.3.6). What goes
// through it is TLS with the host itself: http has no business there.
func (f *Fetcher) tunnel(ctx context.Context, t target) (net.Conn, error) {
	if t.scheme != "https" {
		return nil, refused("http, through the proxy")
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", f.proxy.Host)
	if err != nil {
		return nil, err
	}
	through, err := f.askTunnel(ctx, conn, t)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return through, nil
}

func (f *Fetcher) askTunnel(ctx context.Context, conn net.Conn, t target) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if f.proxy.Scheme == "https" {
		secured := tls.Client(conn, &tls.Config{
			ServerName: f.proxy.Hostname(), RootCAs: f.rootCAs, Time: f.now, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		})
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = secured
	}
	to := net.JoinHostPort(t.host, strconv.Itoa(int(t.port)))
	if _, err := io.WriteString(conn, "CONNECT "+to+" HTTP/1.1\r\nHost: "+to+"\r\nUser-Agent: grantd\r\n\r\n"); err != nil {
		return nil, err
	}
	// The host speaks only after grantd has, so nothing can follow the header yet.
	reader := bufio.NewReader(io.LimitReader(conn, maxHeader))
	response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, err
	}
	_ = response.Body.Close() // a response to CONNECT has none
	switch {
	case response.StatusCode != http.StatusOK:
		return nil, failed("the proxy answered with status " + strconv.Itoa(response.StatusCode))
	case reader.Buffered() > 0:
		return nil, failed("the proxy did not open a tunnel")
	}
	return conn, nil
}
