// Package mailtest is a mail server for tests.
package mailtest

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Letterbox is an SMTP server on loopback that keeps what it is sent.
type Letterbox struct {
	Address string
	Roots   *x509.CertPool // that its certificate is of
	Letters chan Letter
}

// Letter is one mail, with the arguments of the commands that brought it.
type Letter struct {
	Secure         bool
	Auth, From, To string
	Data           string
}

// Open starts one. encrypted: it offers STARTTLS, or speaks TLS from the beginning when
// implicit. refuse is a command that it answers with 550.
func Open(t testing.TB, encrypted, implicit bool, refuse string) *Letterbox {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	borrowed := httptest.NewTLSServer(nil) // its certificate is for 127.0.0.1
	t.Cleanup(borrowed.Close)
	roots := x509.NewCertPool()
	roots.AddCert(borrowed.Certificate())
	box := &Letterbox{Address: listener.Addr().String(), Roots: roots, Letters: make(chan Letter, 100)}
	security := &tls.Config{Certificates: borrowed.TLS.Certificates, MinVersion: tls.VersionTLS12}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if implicit {
				conn = tls.Server(conn, security)
			}
			box.serve(conn, security, encrypted && !implicit, implicit, refuse)
		}
	}()
	return box
}

func (b *Letterbox) serve(conn net.Conn, security *tls.Config, startTLS, secure bool, refuse string) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	in := bufio.NewReader(conn)
	say := func(line string) { _, _ = io.WriteString(conn, line+"\r\n") }
	got := Letter{Secure: secure}
	say("220 letterbox")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		command, rest, _ := strings.Cut(line, " ")
		switch {
		case refuse != "" && strings.HasPrefix(line, refuse):
			say("550 no")
		case command == "EHLO" && startTLS && !got.Secure:
			say("250-letterbox\r\n250-STARTTLS\r\n250 AUTH PLAIN")
		case command == "EHLO":
			say("250-letterbox\r\n250 AUTH PLAIN")
		case command == "STARTTLS":
			say("220 go")
			conn = tls.Server(conn, security)
			in, got.Secure = bufio.NewReader(conn), true
		case command == "AUTH":
			got.Auth = rest
			say("235 ok")
		case command == "MAIL":
			got.From = rest
			say("250 ok")
		case command == "RCPT":
			got.To = rest
			say("250 ok")
		case command == "DATA":
			say("354 go")
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				got.Data += strings.TrimPrefix(line, ".") // RFC 5321 §4.5.2
			}
			say("250 ok")
			b.Letters <- got
		default:
			say("221 bye")
			return
		}
	}
}
