//go:build !linux && !darwin

package pgtest

import "errors"

// server does not exist here: PostgreSQL is started on Linux and macOS only.
type server struct{}

func startServer() (*server, error) {
	return nil, errors.New("a private PostgreSQL is started on Linux and macOS only")
}

func (*server) url(string) string { return "" }
func (*server) start() error      { return errors.New("unsupported") }
func (*server) stop() error       { return errors.New("unsupported") }
func (*server) remove()           {}
