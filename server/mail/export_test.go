package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
)

// Trust has the Sender trust these authorities.
func (s *Sender) Trust(roots *x509.CertPool) {
	s.tls = &tls.Config{RootCAs: roots, ServerName: s.server.Hostname(), MinVersion: tls.VersionTLS12}
}

// Dial has the Sender connect with dial.
func (s *Sender) Dial(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	s.dial = dial
}
