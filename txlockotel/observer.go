package txlockotel

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/gox-helix/gox-helix/txlock"
)

const (
	scope = "github.com/gox-helix/gox-helix/txlockotel"
	table = "helix_locks"
)

// Observer makes spans and metrics of what a Locker does. One can be given to many
// Lockers of one database.
type Observer struct {
	tracer  trace.Tracer
	metrics metrics
	attrs   []attribute.KeyValue
	keys    bool
}

var _ txlock.Observer = (*Observer)(nil)

// New returns an Observer for txlock.WithObserver. It fails for an invalid option,
// and with what the meter provider said of an instrument.
func New(opts ...Option) (*Observer, error) {
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(c.meters.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL)), c.attrs)
	if err != nil {
		return nil, err
	}
	return &Observer{
		tracer:  c.tracers.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)),
		metrics: m,
		attrs:   c.attrs,
		keys:    c.keys,
	}, nil
}

// Start starts a span.
func (o *Observer) Start(ctx context.Context, op txlock.Operation) context.Context {
	if op.Name == txlock.OpHold {
		o.metrics.begin(ctx)
	}
	if op.Name == txlock.OpLoss {
		return ctx
	}
	name, kind := "txlock."+string(op.Name), trace.SpanKindInternal
	attrs := slices.Clone(o.attrs)
	if !wraps(op) {
		name, kind = string(op.Name)+" "+table, trace.SpanKindClient
		attrs = append(attrs, semconv.DBOperationName(string(op.Name)), semconv.DBCollectionName(table))
	}
	attrs = append(attrs, attribute.String("txlock.owner", printable(op.Owner)))
	if o.keys && op.Key != "" {
		attrs = append(attrs, attribute.String("txlock.key", printable(op.Key)))
	}
	if op.Keys > 1 {
		attrs = append(attrs, semconv.DBOperationBatchSize(op.Keys))
	}
	if op.TTL > 0 {
		attrs = append(attrs, attribute.Float64("txlock.ttl", op.TTL.Seconds()))
	}
	ctx, _ = o.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attrs...))
	return ctx
}

// End ends the span, and counts.
func (o *Observer) End(ctx context.Context, op txlock.Operation, result txlock.Result) {
	failure := errorType(result.Err)
	o.metrics.end(ctx, op, result, failure)

	span := trace.SpanFromContext(ctx)
	var attrs []attribute.KeyValue
	if result.Epoch != 0 {
		attrs = append(attrs, attribute.Int64("txlock.epoch", result.Epoch))
	}
	if op.Name == txlock.OpLoss { // the span is that of the acquisition's caller
		span.AddEvent("txlock.lease.lost", trace.WithAttributes(attrs...))
		return
	}
	defer span.End()
	if !span.IsRecording() {
		return
	}
	if result.Attempts > 0 {
		attrs = append(attrs, attribute.Int("txlock.attempts", result.Attempts))
	}
	if failure != "" {
		attrs = append(attrs, semconv.ErrorTypeKey.String(failure))
	}
	span.SetAttributes(attrs...)
	if failure == "" || failure == errorHeld {
		return
	}
	description := failure
	if o.keys {
		description = strings.ToValidUTF8(result.Err.Error(), "\uFFFD")
	}
	span.SetStatus(codes.Error, description)
}

// wraps reports whether an operation lasts as long as the caller's work.
func wraps(op txlock.Operation) bool {
	switch op.Name {
	case txlock.OpRun, txlock.OpDo, txlock.OpInTx, txlock.OpHold:
		return true
	default:
		return false
	}
}

// printable returns a key or an owner, which can be any bytes, as text: as it is,
// or in Go's syntax, which begins with a quote as no plain text does.
func printable(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}
