// Package tracing sends OpenTelemetry traces to a collector over OTLP: a span for each
// request, and below it one for each database call (storage.Span). A span tells the
// mounted path, the method, the status and the code of a refusal, never what a caller
// sent: no address, query, header or token.
package tracing

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// What waits for the collector is bounded: when it does not keep up, spans are
// dropped and no request waits.
const (
	maxQueue      = 2048
	maxBatch      = 512
	batchInterval = 5 * time.Second
	exportTimeout = 10 * time.Second
)

// Tracer makes the spans of requests. Nil makes none.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// New returns a Tracer that sends to the collector at this base URL
// (http://127.0.0.1:4318). Shut it down to send what is left.
func New(endpoint *url.URL, version string) *Tracer {
	attributes := resource.NewSchemaless(attribute.String("service.name", "grantd"), attribute.String("service.version", version))
	provider := sdk.NewTracerProvider(
		// Which traces are kept is the collector's to choose; a caller's wish in its
		// traceparent does not count.
		sdk.WithSampler(sdk.AlwaysSample()),
		sdk.WithResource(attributes),
		sdk.WithBatcher(newExporter(endpoint), sdk.WithMaxQueueSize(maxQueue), sdk.WithMaxExportBatchSize(maxBatch),
			sdk.WithBatchTimeout(batchInterval), sdk.WithExportTimeout(exportTimeout)),
	)
	return &Tracer{provider: provider, tracer: provider.Tracer("grantd/server")}
}

// Shutdown sends what is left, until ctx ends.
func (t *Tracer) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// Start begins the span of a request to a mounted path, as part of the caller's
// trace if it names one (W3C Trace Context), and returns what ends it.
func (t *Tracer) Start(r *http.Request, path, method string) (_ *http.Request, end func(status int, refused string)) {
	if t == nil {
		return r, func(int, string) {}
	}
	caller := propagation.TraceContext{}.Extract(r.Context(), onlyParent{propagation.HeaderCarrier(r.Header)})
	ctx, span := t.tracer.Start(caller, method+" "+path, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", method), attribute.String("http.route", path)))
	return r.WithContext(ctx), func(status int, refused string) {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if refused != "" {
			span.SetAttributes(attribute.String("error.type", refused))
		}
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// onlyParent hides tracestate, in which a caller could send anything.
type onlyParent struct{ propagation.HeaderCarrier }

func (c onlyParent) Get(key string) string {
	if key != "traceparent" {
		return ""
	}
	return c.HeaderCarrier.Get(key)
}
