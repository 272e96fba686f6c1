package server_test

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"grantd/server/servertest"
	"grantd/server/tracing"
	"grantd/storage"
)

// collector takes traces as an OpenTelemetry collector does.
type collector struct {
	t   *testing.T
	URL *url.URL

	mu     sync.Mutex
	bodies [][]byte
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{t: t}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.URL.String() != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("the collector got %s %s %s: %v", r.Method, r.URL, r.Header.Get("Content-Type"), err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.bodies = append(c.bodies, body)
	}))
	t.Cleanup(server.Close)
	var err error
	if c.URL, err = url.Parse(server.URL); err != nil {
		t.Fatal(err)
	}
	return c
}

// span is a Span of opentelemetry-proto, as far as the tests look.
type span struct {
	trace, id, parent, name string
	kind                    uint64
	attributes              map[string]string
	failed, timed           bool
}

// spans reads every span that came.
func (c *collector) spans() []span {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []span
	for _, body := range c.bodies {
		for _, group := range fieldsOf(c.t, body)[1] {
			if service := attributesOf(c.t, fieldsOf(c.t, fieldsOf(c.t, group)[1][0])[1]); service["service.name"] != "grantd" {
				c.t.Errorf("the resource is %v", service)
			}
			for _, scope := range fieldsOf(c.t, group)[2] {
				for _, raw := range fieldsOf(c.t, scope)[2] {
					f := fieldsOf(c.t, raw)
					s := span{
						trace: hex.EncodeToString(f[1][0]), id: hex.EncodeToString(f[2][0]), name: string(f[5][0]),
						attributes: attributesOf(c.t, f[9]), failed: len(f[15]) > 0, timed: len(f[7]) == 1 && len(f[8]) == 1,
					}
					s.kind, _ = protowire.ConsumeVarint(f[6][0])
					if len(f[4]) > 0 {
						s.parent = hex.EncodeToString(f[4][0])
					}
					all = append(all, s)
				}
			}
		}
	}
	return all
}

// fieldsOf takes a protobuf message apart by field number.
func fieldsOf(t testing.TB, message []byte) map[protowire.Number][][]byte {
	t.Helper()
	fields := map[protowire.Number][][]byte{}
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			t.Fatal("this is no protobuf")
		}
		message = message[n:]
		size := protowire.ConsumeFieldValue(number, kind, message)
		if size < 0 {
			t.Fatal("this is no protobuf")
		}
		value := message[:size]
		if kind == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(value)
		}
		fields[number] = append(fields[number], value)
		message = message[size:]
	}
	return fields
}

func attributesOf(t testing.TB, pairs [][]byte) map[string]string {
	t.Helper()
	attributes := map[string]string{}
	for _, pair := range pairs {
		f := fieldsOf(t, pair)
		value := fieldsOf(t, f[2][0])
		if len(value[1]) > 0 {
			attributes[string(f[1][0])] = string(value[1][0])
		} else if n, _ := protowire.ConsumeVarint(value[3][0]); n == http.StatusOK || n == http.StatusBadRequest {
			attributes[string(f[1][0])] = http.StatusText(int(n))
		}
	}
	return attributes
}

// A request is a span in its caller's trace, each database call one below it, and
// nothing that anybody sent is in any of them.
func TestTraces(t *testing.T) {
	servertest.OnEachDatabase(t, func(t *testing.T, open func(testing.TB) storage.Store) {
		c := newCollector(t)
		tracer := tracing.New(c.URL, "test")
		o := newOffice(t, servertest.WithStore(open(t)), servertest.WithTracer(tracer))
		code := o.code(t)
		const caller, above = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
		r := o.Request(http.MethodPost, o.URL+"/token?secret-query=1", o.redemption(code).Encode(), http.Header{
			"Content-Type": {"application/x-www-form-urlencoded"},
			"Traceparent":  {"00-" + caller + "-" + above + "-00"}, "Tracestate": {"vendor=secret-state"},
		})
		got := wantTokens(t, o.Do(r))
		o.wantGone(t, forged(got.refresh))
		o.Must(http.MethodPost, "/tokens/inspect", servertest.Object{"value": got.refresh})
		if err := tracer.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}

		spans := c.spans()
		i := slices.IndexFunc(spans, func(s span) bool { return s.trace == caller && s.parent == above })
		if i < 0 {
			t.Fatalf("no span is the caller's among %+v", spans)
		}
		request := spans[i]
		if a := request.attributes; request.name != "POST /token" || request.kind != 2 || !request.timed || request.failed ||
			a["http.route"] != "/token" || a["http.request.method"] != "POST" || a["http.response.status_code"] != "OK" {
			t.Errorf("the request's span is %+v", request)
		}
		below := 0
		for _, s := range spans {
			switch {
			case s.trace == caller && s.kind == 3 && s.attributes["db.system.name"] != "":
				below++
			case s.trace == caller && s.id != request.id && len(s.attributes) > 0: // the engine's
				t.Errorf("a span tells more than its name: %+v", s)
			}
			if s.parent == "" && s.kind != 2 {
				t.Errorf("a span belongs to no request: %+v", s)
			}
		}
		if below == 0 {
			t.Error("no database call has a span")
		}
		for _, wanted := range []func(s span) bool{
			func(s span) bool {
				return s.name == "POST /token" && s.attributes["error.type"] == "invalid_grant" && s.attributes["http.response.status_code"] == "Bad Request"
			},
			func(s span) bool { return s.name == "POST /admin/v1" },
		} {
			if !slices.ContainsFunc(spans, wanted) {
				t.Errorf("a span is missing among %+v", spans)
			}
		}
		for _, body := range c.bodies {
			for _, secret := range []string{code, got.access, got.refresh, o.clientID, "secret", "alice", resourceURI, servertest.AdminKey, "code_verifier", "127.0.0.1"} {
				if strings.Contains(string(body), secret) {
					t.Errorf("%q is in a trace", secret)
				}
			}
		}
	})
}

// A collector that is not there costs nobody anything, and the log one line.
func TestTracesWithoutCollector(t *testing.T) {
	log := captureLogs(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	endpoint, err := url.Parse(gone.URL)
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	tracer := tracing.New(endpoint, "test")
	o := newOffice(t, servertest.WithTracer(tracer))
	o.tokens(t)
	if err := tracer.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "traces cannot be sent"); n != 1 {
		t.Errorf("the log tells it %d times, want once:\n%s", n, log.String())
	}
}
