package web

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// RequestTimeout bounds every request: nothing waits longer on what is behind
// grantd.
const RequestTimeout = 10 * time.Second

type requestIDKey struct{}

// requestID makes the id of a request when somebody asks for it: hardly anybody
// does unless something went wrong.
type requestID struct {
	once sync.Once
	text string
}

// RequestID is the id under which a request is logged and which error pages
// show.
func RequestID(ctx context.Context) string {
	id, ok := ctx.Value(requestIDKey{}).(*requestID)
	if !ok {
		return ""
	}
	id.once.Do(func() { id.text = rand.Text() })
	return id.text
}

// Guard wraps a listener's whole handler: it gives each request its id and its
// deadline, refuses oversize request lines and foreign hosts, and turns a panic
// into a 500. hosts are the names (without port) the listener answers to; none
// means any. The health endpoints answer to any host.
func Guard(hosts []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), requestIDKey{}, new(requestID)), RequestTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		defer func() {
			if cause := recover(); cause != nil {
				if cause == http.ErrAbortHandler { //nolint:errorlint // the documented sentinel is compared by identity
					panic(cause)
				}
				slog.Default().ErrorContext(ctx, "panic", "path", r.URL.Path, "request_id", RequestID(ctx), "cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
				WriteJSON(w, http.StatusInternalServerError, map[string]string{"error": "server_error"})
			}
		}()
		if len(r.RequestURI) > MaxRequestURI {
			http.Error(w, "The request line is too long.", http.StatusRequestURITooLong)
			return
		}
		if !hostKnown(hosts, r) {
			http.Error(w, "This server does not answer to that host name; use the one of its issuer.", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func hostKnown(hosts []string, r *http.Request) bool {
	if len(hosts) == 0 || r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
		return true
	}
	host := r.Host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	host = strings.Trim(host, "[]")
	for _, known := range hosts {
		if strings.EqualFold(host, known) {
			return true
		}
	}
	return false
}
