package txlockotel

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/dbconv"

	"github.com/gox-helix/gox-helix/txlock"
)

// metrics are the instruments, and what every value of them has.
type metrics struct {
	attrs []attribute.KeyValue

	duration          metric.Float64Histogram
	acquireDuration   metric.Float64Histogram
	refusals          metric.Int64Counter
	holdDuration      metric.Float64Histogram
	active            metric.Int64UpDownCounter
	losses            metric.Int64Counter
	heartbeatLeases   metric.Int64Histogram
	heartbeatLateness metric.Float64Histogram
	purged            metric.Int64Counter
}

// Buckets in seconds: the first are those of the semantic conventions.
var (
	operationBuckets = []float64{.001, .005, .01, .05, .1, .5, 1, 5, 10}
	acquireBuckets   = []float64{.001, .005, .01, .05, .1, .5, 1, 5, 10, 60, 600, 3600}
	holdBuckets      = []float64{.1, 1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600}
	latenessBuckets  = []float64{.001, .01, .1, .5, 1, 2, 5, 10, 30, 60}
	batchBuckets     = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}
)

func newMetrics(m metric.Meter, attrs []attribute.KeyValue) (metrics, error) {
	var errs []error
	check := func(err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("txlockotel: the meter provider: %w", err))
		}
	}
	histogram := func(name, description string, buckets []float64) metric.Float64Histogram {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description), metric.WithExplicitBucketBoundaries(buckets...))
		check(err)
		return h
	}
	counter := func(name, unit, description string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		check(err)
		return c
	}
	ms := metrics{
		attrs:             attrs,
		acquireDuration:   histogram("txlock.acquire.duration", "Duration of acquisitions and locks, waiting included.", acquireBuckets),
		refusals:          counter("txlock.acquire.refusals", "{refusal}", "Acquisitions and locks refused because the key was held or its row busy."),
		holdDuration:      histogram("txlock.hold.duration", "How long leases were kept alive, until their release or loss.", holdBuckets),
		losses:            counter("txlock.lease.losses", "{lease}", "Leases that are or may be lost."),
		heartbeatLateness: histogram("txlock.heartbeat.lateness", "By how much heartbeats were later than planned.", latenessBuckets),
		purged:            counter("txlock.purge.rows", "{row}", "Rows purged."),
	}
	duration, err := dbconv.NewClientOperationDuration(m, metric.WithExplicitBucketBoundaries(operationBuckets...))
	check(err)
	ms.duration = duration.Inst()
	ms.active, err = m.Int64UpDownCounter("txlock.hold.active", metric.WithUnit("{lease}"), metric.WithDescription("Leases that are kept alive."))
	check(err)
	ms.heartbeatLeases, err = m.Int64Histogram("txlock.heartbeat.leases", metric.WithUnit("{lease}"), metric.WithDescription("Leases in one heartbeat."), metric.WithExplicitBucketBoundaries(batchBuckets...))
	check(err)
	return ms, errors.Join(errs...)
}

// with is the attributes of one value.
func (m *metrics) with(failure string, more ...attribute.KeyValue) metric.MeasurementOption {
	attrs := append(m.attrs[:len(m.attrs):len(m.attrs)], more...)
	if failure != "" {
		attrs = append(attrs, semconv.ErrorTypeKey.String(failure))
	}
	return metric.WithAttributeSet(attribute.NewSet(attrs...))
}

// begin counts a lease that is kept alive from now on.
func (m *metrics) begin(ctx context.Context) { m.active.Add(ctx, 1, m.with("")) }

// end counts an operation that has ended.
func (m *metrics) end(ctx context.Context, op txlock.Operation, result txlock.Result, failure string) {
	seconds := result.Duration.Seconds()
	name := semconv.DBOperationName(string(op.Name))
	switch op.Name {
	case txlock.OpAcquire, txlock.OpAcquireMany, txlock.OpLock:
		m.acquireDuration.Record(ctx, seconds, m.with(failure, name, attribute.Bool("txlock.waits", op.Waits)))
		if failure == errorHeld || failure == errorBusy {
			m.refusals.Add(ctx, 1, m.with(failure, name))
		}
	case txlock.OpHold:
		m.active.Add(ctx, -1, m.with(""))
		m.holdDuration.Record(ctx, seconds, m.with(failure))
	case txlock.OpLoss:
		m.losses.Add(ctx, 1, m.with(""))
		return
	case txlock.OpHeartbeat:
		m.heartbeatLeases.Record(ctx, int64(op.Keys), m.with(failure))
		m.heartbeatLateness.Record(ctx, max(result.Late.Seconds(), 0), m.with(failure))
	case txlock.OpPurge:
		if result.Purged > 0 {
			m.purged.Add(ctx, result.Purged, m.with(""))
		}
	default:
	}
	if !wraps(op) && !op.Waits {
		m.duration.Record(ctx, seconds, m.with(failure, name, semconv.DBCollectionName(table)))
	}
}
