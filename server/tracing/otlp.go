package tracing

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/protobuf/encoding/protowire"
)

// exporter sends spans by OTLP over HTTP, as protobuf. OpenTelemetry's own exporter
// brings gRPC along; see docs/adr/0026.
type exporter struct {
	url     string
	client  *http.Client
	failing atomic.Bool
}

func newExporter(endpoint *url.URL) *exporter {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// The collector is where the operator said; no proxy of the environment's.
	transport.Proxy = nil
	return &exporter{url: endpoint.JoinPath("v1", "traces").String(), client: &http.Client{
		Transport: transport, Timeout: exportTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// ExportSpans implements sdk.SpanExporter. What the collector does not take is lost;
// the log is told when that begins and when it ends.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := e.send(ctx, encode(spans))
	switch failed := err != nil; {
	case failed && e.failing.CompareAndSwap(false, true):
		slog.WarnContext(ctx, "traces cannot be sent; those of the meantime are lost", "error", err.Error())
	case !failed && e.failing.CompareAndSwap(true, false):
		slog.InfoContext(ctx, "traces can be sent again")
	}
	return nil
}

func (e *exporter) send(ctx context.Context, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	response, err := e.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	// Read, so that the connection can be used again.
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the collector answered %d", response.StatusCode)
	}
	return nil
}

// Shutdown implements sdk.SpanExporter.
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}

// ownScope begins the names of grantd's own tracers.
const ownScope = "grantd/"

// The numbers of the fields are those of opentelemetry-proto v1.

// encode returns an ExportTraceServiceRequest with one ResourceSpans.
func encode(spans []sdk.ReadOnlySpan) []byte {
	var group []byte
	if len(spans) > 0 {
		group = message(group, 1, keyValues(nil, 1, spans[0].Resource().Attributes()))
	}
	for _, s := range spans {
		scope := text(nil, 1, s.InstrumentationScope().Name)
		group = message(group, 2, message(message(nil, 1, scope), 2, encodeSpan(s)))
	}
	return message(nil, 1, group)
}

func encodeSpan(s sdk.ReadOnlySpan) []byte {
	traceID, spanID := s.SpanContext().TraceID(), s.SpanContext().SpanID()
	out := message(message(nil, 1, traceID[:]), 2, spanID[:])
	if parent := s.Parent(); parent.HasSpanID() {
		id := parent.SpanID()
		out = message(out, 4, id[:])
	}
	out = text(out, 5, s.Name())
	out = number(out, 6, uint64(s.SpanKind())) //nolint:gosec // a small constant
	out = protowire.AppendFixed64(protowire.AppendTag(out, 7, protowire.Fixed64Type), uint64(s.StartTime().UnixNano()))
	out = protowire.AppendFixed64(protowire.AppendTag(out, 8, protowire.Fixed64Type), uint64(s.EndTime().UnixNano()))
	// fosite has spans too: what it writes there besides their names is not ours to
	// vouch for.
	if strings.HasPrefix(s.InstrumentationScope().Name, ownScope) {
		out = keyValues(out, 9, s.Attributes())
	}
	if status := s.Status(); status.Code == codes.Error {
		const statusError = 2
		out = message(out, 15, number(nil, 3, statusError))
	}
	return out
}

func keyValues(out []byte, field protowire.Number, attributes []attribute.KeyValue) []byte {
	for _, a := range attributes {
		var value []byte
		if a.Value.Type() == attribute.INT64 {
			value = number(nil, 3, uint64(a.Value.AsInt64())) //nolint:gosec // as protobuf encodes an int64
		} else {
			value = text(nil, 1, a.Value.AsString())
		}
		out = message(out, field, message(text(nil, 1, string(a.Key)), 2, value))
	}
	return out
}

func message(out []byte, field protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(out, field, protowire.BytesType), content)
}

func text(out []byte, field protowire.Number, content string) []byte {
	return protowire.AppendString(protowire.AppendTag(out, field, protowire.BytesType), content)
}

func number(out []byte, field protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(out, field, protowire.VarintType), value)
}
