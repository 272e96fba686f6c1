// Package span draws the calls of a database into the traces of requests
// (OpenTelemetry). It is apart from storage so that the nouns import nothing.
package span

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"grantd/storage"
)

// Start begins the span of a database call within that of a request, and returns what
// ends it. Where no request is traced it does nothing: what goes on by itself, as the
// heartbeat, has no span. what names the call in constant words, never values.
func Start(ctx context.Context, system, what string) (context.Context, func(error)) {
	request := trace.SpanFromContext(ctx)
	if !request.IsRecording() {
		return ctx, func(error) {}
	}
	ctx, span := request.TracerProvider().Tracer("grantd/storage").Start(ctx, what,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String("db.system.name", system)))
	return ctx, func(err error) {
		// What an error says is for the log.
		if errors.Is(err, storage.ErrUnavailable) {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}
