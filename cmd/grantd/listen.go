package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// unixScheme begins an address that is a unix socket's path.
const unixScheme = "unix:"

// listen opens host:port or unix:PATH, the socket with this mode. Its errors say in a
// sentence what is in the way; setting is the one to change.
func listen(ctx context.Context, address, setting string, mode fs.FileMode) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, unixScheme); ok {
		return listenUnix(ctx, path, mode)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		return listener, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("cannot listen on %s: another program already does; stop it, or choose another %s", address, setting)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("cannot listen on %s: this user may not; choose a port above 1023 with %s", address, setting)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("cannot listen on %s: this machine does not have that address; choose another %s", address, setting)
	}
	return nil, fmt.Errorf("cannot listen on %s (%s): %w", address, setting, err)
}

// listenUnix opens a socket that only those may use whom the mode names. A socket that a crash
// left behind is replaced, one that answers is not.
func listenUnix(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("cannot listen on unix:%s: there is something else than a socket", path)
		}
		dialer := net.Dialer{Timeout: time.Second}
		if conn, err := dialer.DialContext(ctx, "unix", path); err == nil {
			_ = conn.Close() // only asked whether somebody answers
			return nil, fmt.Errorf("cannot listen on unix:%s: another grantd already does", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("cannot replace the old socket: %w", err)
		}
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on unix:%s: %w", path, err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot protect unix:%s: %w", path, err), listener.Close())
	}
	return listener, nil
}

// certificates serves a certificate from two files and picks up a renewed one
// without a restart. A pair that cannot be used (half of it is written yet)
// leaves the old one in place.
type certificates struct {
	certFile, keyFile string

	mu      sync.Mutex
	current *tls.Certificate
	changed time.Time // of the certificate file, when it was read
}

// tlsConfig reads the files for the first time.
func tlsConfig(certFile, keyFile string) (*tls.Config, error) {
	c := &certificates{certFile: certFile, keyFile: keyFile}
	if err := c.read(); err != nil {
		return nil, fmt.Errorf("read the TLS certificate: %w", err)
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: c.get,
	}, nil
}

// get looks at the file once per handshake, which costs nothing beside it.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if info, err := os.Stat(c.certFile); err == nil && !info.ModTime().Equal(c.changed) {
		_ = c.read() // the next handshake tries again
	}
	return c.current, nil
}

// certificateHosts are the names that a certificate is for, wildcards aside. One that
// cannot be read has none: whoever serves with it says so.
func certificateHosts(certFile, keyFile string) []string {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil || pair.Leaf == nil {
		return nil
	}
	hosts := slices.DeleteFunc(slices.Clone(pair.Leaf.DNSNames), func(name string) bool { return strings.HasPrefix(name, "*") })
	for _, address := range pair.Leaf.IPAddresses {
		hosts = append(hosts, address.String())
	}
	return hosts
}

func (c *certificates) read() error {
	info, err := os.Stat(c.certFile)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current, c.changed = &pair, info.ModTime()
	return nil
}
