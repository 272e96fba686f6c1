package mail_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"grantd/server/mail"
	"grantd/server/mail/mailtest"
)

func now() time.Time { return time.Date(2026, time.March, 14, 15, 9, 26, 0, time.UTC) }

var message = mail.Message{To: netmail.Address{Name: "Bob", Address: "bob@example.com"}, Subject: "Set your password", Text: "Open this link:\n\nhttps://auth.example.com/account/link?token=ult_" + strings.Repeat("a", 80) + "\n.\nBye\n"}

func TestSend(t *testing.T) {
	for name, c := range map[string]struct {
		scheme              string
		encrypted, implicit bool
		auth                string
	}{
		"STARTTLS":                    {"smtp://", true, false, ""},
		"STARTTLS and a password":     {"smtp://grantd:p%40ss@", true, false, "PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00grantd\x00p@ss"))},
		"TLS from the beginning":      {"smtps://", false, true, ""},
		"in the clear, on loopback":   {"smtp://", false, false, ""},
		"a password only on loopback": {"smtp://grantd:pass@", false, false, "PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00grantd\x00pass"))},
	} {
		t.Run(name, func(t *testing.T) {
			box := mailtest.Open(t, c.encrypted, c.implicit, "")
			sender, err := mail.New(c.scheme+box.Address, "grantd <grantd@example.com>", now)
			if err != nil {
				t.Fatal(err)
			}
			sender.Trust(box.Roots)
			if err := sender.Send(t.Context(), message); err != nil {
				t.Fatal(err)
			}
			got := <-box.Letters
			if got.Secure != (c.encrypted || c.implicit) || got.Auth != c.auth || !strings.Contains(got.From, "<grantd@example.com>") || got.To != "TO:<bob@example.com>" {
				t.Errorf("got %+v", got)
			}
			read, err := netmail.ReadMessage(strings.NewReader(got.Data))
			if err != nil {
				t.Fatal(err)
			}
			body := decoded(t, read)
			if body != strings.ReplaceAll(message.Text, "\n", "\r\n") {
				t.Errorf("the text came as %q", body)
			}
			date, err := read.Header.Date()
			if err != nil || !date.Equal(now()) || read.Header.Get("Subject") != message.Subject || read.Header.Get("To") != `"Bob" <bob@example.com>` {
				t.Errorf("headers %v", read.Header)
			}
		})
	}
}

// CS-11: nothing that a user is called begins a header of its own.
func TestNoHeaderIsInjected(t *testing.T) {
	box := mailtest.Open(t, false, false, "")
	sender, err := mail.New("smtp://"+box.Address, "grantd@example.com", now)
	if err != nil {
		t.Fatal(err)
	}
	hostile := message
	hostile.To.Name = "Bob\r\nBcc: evil@example.com\r\n\r\n<script>\u202e\x00"
	hostile.Subject = "Hi\nBcc: evil@example.com\r\rÄ"
	if err := sender.Send(t.Context(), hostile); err != nil {
		t.Fatal(err)
	}
	read, err := netmail.ReadMessage(strings.NewReader((<-box.Letters).Data))
	if err != nil {
		t.Fatal(err)
	}
	if read.Header.Get("Bcc") != "" || len(read.Header) != 9 {
		t.Errorf("headers %v", read.Header)
	}
	to, err := read.Header.AddressList("To")
	if err != nil || len(to) != 1 || to[0].Address != "bob@example.com" || strings.ContainsAny(to[0].Name, "\r\n\u202e\x00") {
		t.Errorf("to %v, %v", to, err)
	}
	for _, address := range []string{"", "bob", "bob@example.com\r\nRCPT TO:<evil@example.com>", "bob@example.com> SIZE=1", "b b@example.com", "bob@exämple.com"} {
		hostile.To.Address = address
		if err := sender.Send(t.Context(), hostile); !errors.Is(err, mail.ErrAddress) {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestSendFails(t *testing.T) {
	send := func(t *testing.T, box *mailtest.Letterbox, scheme string, trust bool) error {
		t.Helper()
		sender, err := mail.New(scheme+box.Address, "grantd@example.com", now)
		if err != nil {
			t.Fatal(err)
		}
		if trust {
			sender.Trust(box.Roots)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		return sender.Send(ctx, message)
	}
	for _, command := range []string{"MAIL", "RCPT", "DATA", "AUTH", "STARTTLS"} {
		if err := send(t, mailtest.Open(t, true, false, command), "smtp://grantd:hunter2@", true); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s refused: %v", command, err)
		}
	}
	var unknown x509.UnknownAuthorityError
	for _, scheme := range []string{"smtp://", "smtps://"} {
		if err := send(t, mailtest.Open(t, true, scheme == "smtps://", ""), scheme, false); !errors.As(err, &unknown) {
			t.Errorf("%s with a certificate of nobody's: %v", scheme, err)
		}
	}
	closed := mailtest.Open(t, false, false, "")
	closed.Address = "127.0.0.1:1"
	if err := send(t, closed, "smtp://", true); err == nil {
		t.Error("nobody listens, and it was sent")
	}
}

// Mail to another machine is never sent in the clear, nor is a password.
func TestPlaintextIsRefused(t *testing.T) {
	box := mailtest.Open(t, false, false, "")
	_, port, err := net.SplitHostPort(box.Address)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := mail.New("smtp://mail.example.com:"+port, "grantd@example.com", now)
	if err != nil {
		t.Fatal(err)
	}
	sender.Dial(func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, box.Address)
	})
	if err := sender.Send(t.Context(), message); !errors.Is(err, mail.ErrPlaintext) {
		t.Errorf("error %v", err)
	}
	if len(box.Letters) != 0 {
		t.Error("it was sent")
	}
}

func TestNew(t *testing.T) {
	for server, ok := range map[string]bool{
		"smtp://mail.example.com": true, "smtps://u:p@mail.example.com:465/": true, "smtp://[::1]:25": true,
		"mail.example.com:587": false, "http://mail.example.com": false, "smtp://": false, "smtp://u:hunter2@[": false,
		"smtp://mail.example.com/inbox": false, "smtp://mail.example.com?a=b": false, "": false,
	} {
		if _, err := mail.New(server, "grantd@example.com", now); (err == nil) != ok || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", server, err)
		}
	}
	for _, from := range []string{"", "grantd", "a@b@c", "grantd@example.com, x@example.com", "\"a\\\"\"@example.com"} {
		if _, err := mail.New("smtp://mail.example.com", from, now); !errors.Is(err, mail.ErrFrom) {
			t.Errorf("from %q: %v", from, err)
		}
	}
}

func decoded(t *testing.T, m *netmail.Message) string {
	t.Helper()
	text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
