// Package freeport finds ports for programs that tests and the benchmark start
// and that must be told theirs before they listen.
package freeport

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
)

// Ports are taken from below those that systems give to whoever asks for any
// (Linux: from 32768), which an outgoing connection may have the next moment.
const (
	lowest = 20000
	count  = 12000
)

// next counts the ports tried. It begins somewhere else in each process, and one that
// was tried comes up again only after all the others.
var next atomic.Int64

func init() { next.Store(rand.Int64N(count)) } //nolint:gosec // no secret

// Address returns a loopback address, "127.0.0.1:PORT", that nobody listens on. It
// fails when there is none.
func Address() (string, error) {
	for range count {
		address := net.JoinHostPort("127.0.0.1", strconv.FormatInt(lowest+next.Add(1)%count, 10))
		listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
		if err != nil {
			continue // taken
		}
		if err := listener.Close(); err != nil {
			return "", fmt.Errorf("try %s: %w", address, err)
		}
		return address, nil
	}
	return "", errors.New("every port is taken")
}

// For is Address for a test, which fails when there is none.
func For(t testing.TB) string {
	t.Helper()
	address, err := Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
