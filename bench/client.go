package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"time"
)

// requestTimeout is when an answer counts as none.
const requestTimeout = 15 * time.Second

// agent is one caller: a keep-alive connection to each host it talks to, and the
// cookies it was given. It writes requests by itself, because net/http's client
// would take as much of the two cores as the server that is measured. It is not
// safe for concurrent use.
type agent struct {
	wires map[string]*wire
	jar   *cookiejar.Jar
}

type wire struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func newAgent() *agent {
	jar, _ := cookiejar.New(nil) // fails only for a bad public suffix list
	return &agent{wires: make(map[string]*wire), jar: jar}
}

func (a *agent) close() {
	for host, w := range a.wires {
		_ = w.conn.Close() // it is only read from and written to by this agent
		delete(a.wires, host)
	}
}

// headers are lines like "Authorization: Basic abc\r\n".
type headers string

const formType headers = "Content-Type: application/x-www-form-urlencoded\r\n"

// send makes one request without following redirects. u has scheme, host and path.
func (a *agent) send(method string, u *url.URL, h headers, body string) (answer, error) {
	w, err := a.wire(u)
	if err != nil {
		return answer{}, err
	}
	out := append(w.out[:0], method...)
	out = append(out, ' ')
	out = append(out, u.RequestURI()...)
	out = append(out, " HTTP/1.1\r\nHost: "...)
	out = append(out, u.Host...)
	out = append(out, "\r\n"...)
	out = append(out, h...)
	if method == http.MethodPost {
		out = append(out, "Content-Length: "...)
		out = strconv.AppendInt(out, int64(len(body)), 10)
		out = append(out, "\r\n"...)
	}
	out = append(out, "\r\n"...)
	w.out = append(out, body...)
	got, err := w.exchange(method)
	if err != nil {
		_ = w.conn.Close()
		delete(a.wires, u.Host)
		return answer{}, fmt.Errorf("%s %s: %w", method, u.Path, err)
	}
	return got, nil
}

func (w *wire) exchange(method string) (answer, error) {
	if err := w.conn.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		return answer{}, err
	}
	if _, err := w.conn.Write(w.out); err != nil {
		return answer{}, err
	}
	response, err := http.ReadResponse(w.in, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	if err := response.Body.Close(); err != nil {
		return answer{}, err
	}
	if response.Close {
		return answer{}, fmt.Errorf("the server closes the connection after status %d", response.StatusCode)
	}
	return answer{status: response.StatusCode, header: response.Header, body: body}, nil
}

func (a *agent) wire(u *url.URL) (*wire, error) {
	if w := a.wires[u.Host]; w != nil {
		return w, nil
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	dialer := &net.Dialer{Timeout: requestTimeout}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12})
	}
	w := &wire{conn: conn, in: bufio.NewReaderSize(conn, 16<<10)}
	a.wires[u.Host] = w
	return w, nil
}
