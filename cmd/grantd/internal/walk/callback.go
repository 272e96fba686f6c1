package walk

import (
	"context"
	"crypto/subtle"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const callbackPath = "/callback"

// callback is the redirect URI of a native client: a listener on loopback, on a
// port that was free (RFC 8252 §7.3).
type callback struct {
	uri      string
	server   *http.Server
	response chan url.Values

	mu    sync.Mutex
	state string // of the request under way; empty: none
}

func listenForCallback(ctx context.Context) (*callback, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &callback{
		uri:      "http://" + listener.Addr().String() + callbackPath,
		response: make(chan url.Values, 1),
	}
	c.server = &http.Server{Handler: http.HandlerFunc(c.receive), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = c.server.Serve(listener) }() // ends with close
	return c, nil
}

// expect makes the callback listen for the answer to one request.
func (c *callback) expect(state string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = state
}

// wait returns the parameters of the answer, or ctx's error.
func (c *callback) wait(ctx context.Context) (url.Values, error) {
	select {
	case response := <-c.response:
		return response, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// close lets the browser have its last page.
func (c *callback) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if c.server.Shutdown(ctx) != nil {
		_ = c.server.Close() // nothing of it is needed any more
	}
}

// receive takes one answer that carries the state of the request under way. Any
// program on this machine may send others, and none of them ends the waiting.
func (c *callback) receive(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if r.Method != http.MethodGet || r.URL.Path != callbackPath || !c.take(query.Get("state")) {
		http.Error(w, "This is not an answer that was waited for.", http.StatusNotFound)
		return
	}
	c.response <- query
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	w.Header().Set("Referrer-Policy", "no-referrer")
	_, _ = io.WriteString(w, "<!doctype html><title>Back to the terminal</title><p>The walk goes on in the terminal. This window can be closed.")
}

// take reports whether state belongs to the request under way, once.
func (c *callback) take(state string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == "" || subtle.ConstantTimeCompare([]byte(state), []byte(c.state)) != 1 {
		return false
	}
	c.state = ""
	return true
}
