// Package mail sends the few mails that grantd has to send, through the one mail
// server that the operator names. The connection is encrypted, by TLS from its
// beginning or by STARTTLS, unless the server is on this machine; a password is
// never sent in the clear.
//
// A mail is plain text, and its header fields are encoded so that nothing in them
// can begin another one, whatever name or address a user was given.
package mail

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/url"
	"strings"
	"time"

	"grantd/storage"
)

// The ports of the two schemes, when the URL names none.
const (
	submissionPort  = "587" // RFC 6409, with STARTTLS
	submissionsPort = "465" // RFC 8314
)

// ErrFrom: the address that mail comes from cannot be used.
var ErrFrom = errors.New("is no address that mail can come from, as grantd@example.com")

// ErrPlaintext: the server on another machine offers no STARTTLS.
var ErrPlaintext = errors.New("the mail server offers no STARTTLS, and mail is not sent unencrypted over a network")

// Sender sends through one server. It is safe for concurrent use.
type Sender struct {
	From   mail.Address
	server *url.URL
	tls    *tls.Config // nil: as the system trusts
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	now    func() time.Time
}

// New reads smtp://[USER:PASSWORD@]HOST[:PORT], with STARTTLS, or smtps://, with TLS
// from the beginning, and the address mail comes from. Its errors say what is wrong
// without repeating the URL, which may hold a password.
func New(serverURL, from string, now func() time.Time) (*Sender, error) {
	u, err := url.Parse(serverURL)
	if err != nil || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, errors.New("is not smtp://HOST:PORT or smtps://HOST:PORT")
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), map[string]string{"smtp": submissionPort, "smtps": submissionsPort}[u.Scheme])
	}
	address, err := mail.ParseAddress(from)
	if err != nil || !plain(address.Address) {
		return nil, ErrFrom
	}
	return &Sender{From: *address, server: u, dial: new(net.Dialer).DialContext, now: now}, nil
}

// plain reports whether an address can stand in an SMTP command as it is.
func plain(address string) bool {
	return !strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("<>\"\\", r) })
}

// Message is a mail in plain text.
type Message struct {
	To      mail.Address
	Subject string
	Text    string
}

// ErrAddress: the address cannot be written to.
var ErrAddress = errors.New("not an address that mail can be sent to")

// Send hands the message to the server. ErrAddress, ErrPlaintext, or what the
// network and the server say.
func (s *Sender) Send(ctx context.Context, m Message) error {
	if !plain(m.To.Address) || !strings.Contains(m.To.Address, "@") {
		return ErrAddress
	}
	client, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // after Quit it is closed already
	if err := client.Mail(s.From.Address); err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	if err := client.Rcpt(m.To.Address); err != nil {
		return fmt.Errorf("recipient: %w", err)
	}
	w, err := client.Data()
	if err != nil {
		return fmt.Errorf("message: %w", err)
	}
	if _, err := w.Write(s.encode(m)); err != nil {
		return fmt.Errorf("message: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("message: %w", err)
	}
	_ = client.Quit() // it has taken the message
	return nil
}

// connect opens an encrypted connection, or one to this machine, and signs in.
func (s *Sender) connect(ctx context.Context) (*smtp.Client, error) {
	host := s.server.Hostname()
	security := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if s.tls != nil {
		security = s.tls
	}
	conn, err := s.dial(ctx, "tcp", s.server.Host)
	if err != nil {
		return nil, fmt.Errorf("connect to the mail server: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	if s.server.Scheme == "smtps" {
		conn = tls.Client(conn, security)
	}
	client, err := smtp.NewClient(conn, host)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("greet the mail server: %w", err), conn.Close())
	}
	if err := s.secure(client, security); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client, nil
}

func (s *Sender) secure(client *smtp.Client, security *tls.Config) error {
	offered, _ := client.Extension("STARTTLS")
	switch {
	case s.server.Scheme == "smtps":
	case offered:
		if err := client.StartTLS(security); err != nil {
			return fmt.Errorf("STARTTLS: %w", err)
		}
	case !loopback(s.server.Hostname()):
		return ErrPlaintext
	}
	user := s.server.User
	if user == nil {
		return nil
	}
	password, _ := user.Password()
	// PlainAuth itself refuses an unencrypted connection to another machine.
	if err := client.Auth(smtp.PlainAuth("", user.Username(), password, s.server.Hostname())); err != nil {
		return fmt.Errorf("sign in to the mail server: %w", err)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return storage.IsLoopbackHost(host) || ip != nil && ip.IsLoopback()
}

// encode is the message as RFC 5322 has it. net/mail and mime encode whatever is not
// printable ASCII, so a line break in a name or subject breaks no line here.
func (s *Sender) encode(m Message) []byte {
	var b bytes.Buffer
	for _, field := range [][2]string{
		{"From", s.From.String()},
		{"To", (&mail.Address{Name: oneLine(m.To.Name), Address: m.To.Address}).String()},
		{"Subject", mime.QEncoding.Encode("utf-8", oneLine(m.Subject))},
		{"Date", s.now().UTC().Format(time.RFC1123Z)},
		{"Message-ID", "<" + storage.NewID("") + "@" + s.From.Address[strings.LastIndexByte(s.From.Address, '@')+1:] + ">"},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		_, _ = fmt.Fprintf(&b, "%s: %s\r\n", field[0], field[1])
	}
	b.WriteString("\r\n")
	body := quotedprintable.NewWriter(&b)
	_, _ = io.WriteString(body, strings.ReplaceAll(m.Text, "\n", "\r\n")) // a buffer takes all
	_ = body.Close()
	return b.Bytes()
}

// oneLine takes control characters out of what stands in a header field.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if storage.Invisible(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
}
