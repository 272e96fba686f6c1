// Package otelx has the tracing helper that fosite calls by this import path.
package otelx

import (
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// End ends the span and marks it failed if *err is set by then.
func End(span trace.Span, err *error) {
	if err != nil && *err != nil {
		span.SetStatus(codes.Error, "failed")
	}
	span.End()
}
