//go:build !linux && !darwin

package pgserver

import "errors"

var errSystem = errors.New("a private PostgreSQL is started on Linux and macOS only")

// Server does not exist here.
type Server struct{}

// Start always fails.
func Start(Options) (*Server, error) { return nil, errSystem }

// URL returns nothing.
func (*Server) URL(string) string { return "" }

// Start always fails.
func (*Server) Start() error { return errSystem }

// Stop always fails.
func (*Server) Stop() error { return errSystem }

// Remove does nothing.
func (*Server) Remove() {}

// PID always fails.
func (*Server) PID() (int, error) { return 0, errSystem }
