package txlockotel_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/DATA-DOG/go-sqlmock"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/gox-helix/gox-helix/internal/testserver/servertest"
	"github.com/gox-helix/gox-helix/txlock"
	"github.com/gox-helix/gox-helix/txlock/txlocktest"
	"github.com/gox-helix/gox-helix/txlockotel"
)

func TestMain(m *testing.M) { servertest.Main(m, func() error { return goleak.Find() }) }

// telemetry is what an Observer has made.
type telemetry struct {
	*testing.T
	*txlockotel.Observer
	spans  *tracetest.SpanRecorder
	tracer trace.Tracer
	reader *sdkmetric.ManualReader
}

func newTelemetry(t *testing.T, opts ...txlockotel.Option) *telemetry {
	t.Helper()
	spans, reader := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	t.Cleanup(func() {
		if err := errors.Join(tracers.Shutdown(context.Background()), meters.Shutdown(context.Background())); err != nil {
			t.Error(err)
		}
	})
	observer, err := txlockotel.New(append(opts, txlockotel.WithTracerProvider(tracers), txlockotel.WithMeterProvider(meters))...)
	if err != nil {
		t.Fatal(err)
	}
	return &telemetry{T: t, Observer: observer, spans: spans, tracer: tracers.Tracer("test"), reader: reader}
}

// mocked is a Locker that is observed, on a mocked database.
func (tm *telemetry) mocked() (*txlock.Locker, sqlmock.Sqlmock) {
	tm.Helper()
	db, mock, err := sqlmock.New()
	if err != nil {
		tm.Fatal(err)
	}
	tm.Cleanup(func() {
		if err := mock.ExpectationsWereMet(); err != nil {
			tm.Error(err)
		}
		_ = db.Close()
	})
	locker, err := txlock.New(db, txlock.WithObserver(tm), txlock.WithOwner("me"), txlock.WithSingleWriter())
	if err != nil {
		tm.Fatal(err)
	}
	return locker, mock
}

// tree is the names of the spans that have ended below parent, sorted, each with
// those below it in parentheses.
func (tm *telemetry) tree(parent trace.SpanID) string {
	var below []string
	for _, s := range tm.spans.Ended() {
		if s.Parent().SpanID() != parent || strings.HasPrefix(s.Name(), "heartbeat") {
			continue
		}
		name := s.Name()
		if under := tm.tree(s.SpanContext().SpanID()); under != "" {
			name += "(" + under + ")"
		}
		below = append(below, name)
	}
	slices.Sort(below)
	return strings.Join(below, ", ")
}

// span is the one span of this name.
func (tm *telemetry) span(name string) sdktrace.ReadOnlySpan {
	tm.Helper()
	var found sdktrace.ReadOnlySpan
	for _, s := range tm.spans.Ended() {
		if s.Name() != name {
			continue
		}
		if found != nil {
			tm.Fatalf("%s ended twice", name)
		}
		found = s
	}
	if found == nil {
		tm.Fatalf("no span %s among %s", name, tm.tree(trace.SpanID{}))
	}
	return found
}

func attr(s sdktrace.ReadOnlySpan, key string) string {
	for _, a := range s.Attributes() {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

// points is each metric's values: how often, or how many, by attributes other than
// those of every metric.
func (tm *telemetry) points() map[string]int64 {
	tm.Helper()
	var data metricdata.ResourceMetrics
	if err := tm.reader.Collect(tm.Context(), &data); err != nil {
		tm.Fatal(err)
	}
	points := make(map[string]int64)
	put := func(name string, set attribute.Set, n int64) {
		var parts []string
		for _, kv := range set.ToSlice() {
			if kv.Key != semconv.DBSystemNameKey && kv.Key != semconv.DBCollectionNameKey {
				parts = append(parts, string(kv.Key)+"="+kv.Value.String())
			}
		}
		points[name+"{"+strings.Join(parts, " ")+"}"] = n
	}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					put(m.Name, p.Attributes, int64(p.Count))
				}
			case metricdata.Histogram[int64]:
				for _, p := range d.DataPoints {
					put(m.Name, p.Attributes, p.Sum)
				}
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					put(m.Name, p.Attributes, p.Value)
				}
			default:
				tm.Fatalf("%s is a %T", m.Name, d)
			}
		}
	}
	return points
}

func (tm *telemetry) wantPoints(want map[string]int64) {
	tm.Helper()
	got := tm.points()
	if !maps.Equal(got, want) {
		for _, name := range slices.Sorted(maps.Keys(got)) {
			tm.Logf("%s: %d", name, got[name])
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if got[name] != want[name] {
				tm.Errorf("%s is %d, want %d", name, got[name], want[name])
			}
		}
		for name := range got {
			if _, ok := want[name]; !ok {
				tm.Errorf("not wanted: %s", name)
			}
		}
	}
}

func (tm *telemetry) must(err error) {
	tm.Helper()
	if err != nil {
		tm.Fatal(err)
	}
}

func nothing(context.Context, *sql.Tx) error { return nil }

func TestScript(t *testing.T) {
	tm := newTelemetry(t)
	locker, mock := tm.mocked()
	ctx := t.Context()

	txlocktest.ExpectTryAcquire(mock, "key", txlocktest.Held(time.Second))
	txlocktest.ExpectTryAcquire(mock, "key", txlocktest.Granted(7))
	txlocktest.ExpectInTx(mock, "key", txlocktest.OK(), nil)
	txlocktest.ExpectRelease(mock, "key", txlocktest.OK())
	txlocktest.ExpectDo(mock, "key", txlocktest.Busy(), nil)
	txlocktest.ExpectTryAcquire(mock, "key", txlocktest.NotMigrated())

	if _, err := locker.TryAcquire(ctx, "key"); !errors.Is(err, txlock.ErrHeld) {
		t.Fatal(err)
	}
	lease, err := locker.TryAcquire(ctx, "key")
	tm.must(err)
	tm.must(lease.KeepAlive(ctx))
	if n := tm.points()["txlock.hold.active{}"]; n != 1 {
		t.Errorf("%d leases are kept, want 1", n)
	}
	tm.must(lease.InTx(ctx, nothing))
	tm.must(lease.Release(ctx))
	if err := locker.Do(ctx, "key", nothing); !errors.Is(err, txlock.ErrBusy) {
		t.Fatal(err)
	}
	if _, err := locker.TryAcquire(ctx, "key"); !errors.Is(err, txlock.ErrNotMigrated) {
		t.Fatal(err)
	}

	tm.wantPoints(map[string]int64{
		"db.client.operation.duration{db.operation.name=acquire error.type=held}":                       1,
		"db.client.operation.duration{db.operation.name=acquire error.type=not_migrated}":               1,
		"db.client.operation.duration{db.operation.name=acquire}":                                       1,
		"db.client.operation.duration{db.operation.name=verify}":                                        1,
		"db.client.operation.duration{db.operation.name=release}":                                       1,
		"db.client.operation.duration{db.operation.name=lock error.type=busy}":                          1,
		"txlock.acquire.duration{db.operation.name=acquire error.type=held txlock.waits=false}":         1,
		"txlock.acquire.duration{db.operation.name=acquire error.type=not_migrated txlock.waits=false}": 1,
		"txlock.acquire.duration{db.operation.name=acquire txlock.waits=false}":                         1,
		"txlock.acquire.duration{db.operation.name=lock error.type=busy txlock.waits=false}":            1,
		"txlock.acquire.refusals{db.operation.name=acquire error.type=held}":                            1,
		"txlock.acquire.refusals{db.operation.name=lock error.type=busy}":                               1,
		"txlock.hold.duration{}": 1,
		"txlock.hold.active{}":   0,
	})
	if got, want := tm.tree(trace.SpanID{}), "acquire helix_locks, acquire helix_locks, acquire helix_locks, release helix_locks, txlock.do(lock helix_locks), txlock.hold, txlock.in_tx(verify helix_locks)"; got != want {
		t.Errorf("spans\n%s\nwant\n%s", got, want)
	}
	for _, s := range tm.spans.Ended() {
		failure, wrong := attr(s, "error.type"), s.Status().Code == codes.Error
		if wrong != (failure != "" && failure != "held") {
			t.Errorf("%s: status %v, error.type %q", s.Name(), s.Status(), failure)
		}
		if internal := strings.HasPrefix(s.Name(), "txlock."); internal != (s.SpanKind() == trace.SpanKindInternal) || !internal && s.SpanKind() != trace.SpanKindClient {
			t.Errorf("%s is of kind %v", s.Name(), s.SpanKind())
		} else if internal == (attr(s, "db.collection.name") == "helix_locks") || internal == (attr(s, "db.operation.name") != "") {
			t.Errorf("%s: %v", s.Name(), s.Attributes())
		}
		if attr(s, "db.system.name") != "mysql" || attr(s, "txlock.owner") != "me" {
			t.Errorf("%s: %v", s.Name(), s.Attributes())
		}
		if text := fmt.Sprint(s.Attributes(), s.Status(), s.Events()); strings.Contains(text, "key") {
			t.Errorf("%s: a key is on a span: %s", s.Name(), text)
		}
	}
	if s := tm.span("release helix_locks"); attr(s, "txlock.epoch") != "7" || attr(s, "txlock.attempts") != "1" {
		t.Errorf("%v", s.Attributes())
	}
}

func TestLossIsCountedOnce(t *testing.T) {
	tm := newTelemetry(t)
	locker, mock := tm.mocked()
	ctx, parent := tm.tracer.Start(t.Context(), "caller")
	txlocktest.ExpectTryAcquire(mock, "key", txlocktest.Granted(7))
	txlocktest.ExpectInTx(mock, "key", txlocktest.Lost(), nil)
	txlocktest.ExpectRelease(mock, "key", txlocktest.Lost())

	lease, err := locker.TryAcquire(ctx, "key")
	tm.must(err)
	tm.must(lease.KeepAlive(ctx))
	if err := lease.InTx(ctx, nothing); !errors.Is(err, txlock.ErrLost) {
		t.Fatal(err)
	}
	if err := lease.Release(ctx); !errors.Is(err, txlock.ErrLost) {
		t.Fatal(err)
	}
	parent.End()
	points := tm.points()
	if points["txlock.lease.losses{}"] != 1 || points["txlock.hold.duration{error.type=lost}"] != 1 || points["txlock.hold.active{}"] != 0 {
		t.Errorf("%v", points)
	}
	if hold := tm.span("txlock.hold"); hold.Status().Code != codes.Error || attr(hold, "error.type") != "lost" {
		t.Errorf("%v %v", hold.Status(), hold.Attributes())
	}
	events := tm.span("caller").Events()
	if len(events) != 1 || events[0].Name != "txlock.lease.lost" {
		t.Errorf("events of the caller's span: %v", events)
	}
	if got, want := tm.tree(parent.SpanContext().SpanID()), "acquire helix_locks, release helix_locks, txlock.hold, txlock.in_tx(verify helix_locks)"; got != want {
		t.Errorf("spans\n%s\nwant\n%s", got, want)
	}
}

func TestPanicEndsTheSpan(t *testing.T) {
	tm := newTelemetry(t)
	locker, mock := tm.mocked()
	mock.ExpectBegin()
	txlocktest.ExpectLockTx(mock, "key", txlocktest.Granted(7))
	mock.ExpectRollback()
	func() {
		defer func() { _ = recover() }()
		_ = locker.Do(t.Context(), "key", func(context.Context, *sql.Tx) error { panic("no") })
	}()
	if s := tm.span("txlock.do"); attr(s, "error.type") != "panic" || s.Status().Code != codes.Error {
		t.Errorf("%v %v", s.Attributes(), s.Status())
	}
}

// Keys are on spans if that is asked for, as text whatever they are, and never on
// metrics.
func TestKeys(t *testing.T) {
	tm := newTelemetry(t, txlockotel.WithKeys(), txlockotel.WithAttributes(semconv.DBSystemNameMariaDB, semconv.DBNamespace("shop")))
	locker, mock := tm.mocked()
	const key = "secret\xff"
	txlocktest.ExpectTryAcquire(mock, key, txlocktest.Fails(errors.New("no")))
	if _, err := locker.TryAcquire(t.Context(), key); err == nil {
		t.Fatal("acquired")
	}
	s := tm.span("acquire helix_locks")
	if attr(s, "txlock.key") != `"secret\xff"` || attr(s, "db.system.name") != "mariadb" || attr(s, "db.namespace") != "shop" || attr(s, "error.type") != "other" {
		t.Errorf("%v", s.Attributes())
	}
	if !strings.Contains(s.Status().Description, `secret\xff`) {
		t.Errorf("status %q", s.Status().Description)
	}
	for name := range tm.points() {
		if strings.Contains(name, "secret") || strings.Contains(name, "owner") || !strings.Contains(name, "db.namespace=shop") {
			t.Errorf("metric %s", name)
		}
	}
}

func TestErrorTypes(t *testing.T) {
	lost := &txlock.LostError{Err: context.DeadlineExceeded}
	for want, err := range map[string]error{
		"":               nil,
		"panic":          txlock.ErrPanicked,
		"lost":           lost,
		"held":           fmt.Errorf("%w: %w", context.Canceled, &txlock.HeldError{}),
		"busy":           &txlock.BusyError{},
		"aborted":        fmt.Errorf("x: %w", txlock.ErrTxAborted),
		"commit_unknown": &txlock.CommitUnknownError{},
		"not_migrated":   txlock.ErrNotMigrated,
		"canceled":       context.DeadlineExceeded,
		"other":          txlock.ErrClosed,
	} {
		tm := newTelemetry(t)
		op := txlock.Operation{Name: txlock.OpRevoke, Key: "key"}
		tm.End(tm.Start(t.Context(), op), op, txlock.Result{Err: err})
		if got := attr(tm.span("revoke helix_locks"), "error.type"); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
}

func TestHeartbeatAndPurge(t *testing.T) {
	tm := newTelemetry(t)
	beat := txlock.Operation{Name: txlock.OpHeartbeat, Keys: 40, TTL: time.Minute}
	tm.End(tm.Start(t.Context(), beat), beat, txlock.Result{Late: time.Second})
	purge := txlock.Operation{Name: txlock.OpPurge}
	tm.End(tm.Start(t.Context(), purge), purge, txlock.Result{Purged: 5})
	wait := txlock.Operation{Name: txlock.OpAcquire, Key: "key", Keys: 1, Waits: true}
	tm.End(tm.Start(t.Context(), wait), wait, txlock.Result{})
	tm.wantPoints(map[string]int64{
		"db.client.operation.duration{db.operation.name=heartbeat}":            1,
		"db.client.operation.duration{db.operation.name=purge}":                1,
		"txlock.heartbeat.leases{}":                                            40,
		"txlock.heartbeat.lateness{}":                                          1,
		"txlock.purge.rows{}":                                                  5,
		"txlock.acquire.duration{db.operation.name=acquire txlock.waits=true}": 1,
	})
	if s := tm.span("heartbeat helix_locks"); attr(s, "db.operation.batch.size") != "40" || attr(s, "txlock.ttl") != "60" {
		t.Errorf("%v", s.Attributes())
	}
}

func TestConcurrently(t *testing.T) {
	tm := newTelemetry(t)
	var wg sync.WaitGroup
	const workers, each = 8, 50
	for range workers {
		wg.Go(func() {
			for range each {
				op := txlock.Operation{Name: txlock.OpHold, Key: "key", Keys: 1}
				tm.End(tm.Start(t.Context(), op), op, txlock.Result{Epoch: 1})
			}
		})
	}
	wg.Wait()
	tm.wantPoints(map[string]int64{"txlock.hold.active{}": 0, "txlock.hold.duration{}": workers * each})
	if n := len(tm.spans.Ended()); n != workers*each {
		t.Errorf("%d spans", n)
	}
}

func TestInvalidOptions(t *testing.T) {
	for name, opt := range map[string]txlockotel.Option{
		"option 1":           nil,
		"WithTracerProvider": txlockotel.WithTracerProvider(nil),
		"WithMeterProvider":  txlockotel.WithMeterProvider(nil),
		"WithAttributes":     txlockotel.WithAttributes(attribute.KeyValue{}),
	} {
		if _, err := txlockotel.New(opt); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := txlockotel.New(); err != nil {
		t.Errorf("with the global providers: %v", err)
	}
}

// What Run does on a real server.
func TestRun(t *testing.T) {
	servertest.Each(t, func(t *testing.T, s *servertest.Instance) {
		tm := newTelemetry(t)
		locker, err := txlock.New(s.Open(t), txlock.WithObserver(tm))
		tm.must(err)
		defer func() { tm.must(locker.Close()) }()
		ctx, parent := tm.tracer.Start(t.Context(), "caller")
		tm.must(locker.Run(ctx, t.Name(), func(ctx context.Context, lease *txlock.Lease) error {
			_, work := tm.tracer.Start(ctx, "work")
			work.End()
			return lease.InTx(ctx, nothing)
		}))
		parent.End()
		if got, want := tm.tree(parent.SpanContext().SpanID()), "txlock.run(acquire helix_locks, release helix_locks, txlock.hold, txlock.in_tx(verify helix_locks), work)"; got != want {
			t.Errorf("spans\n%s\nwant\n%s", got, want)
		}
		run, hold, release := tm.span("txlock.run"), tm.span("txlock.hold"), tm.span("release helix_locks")
		if hold.EndTime().After(release.EndTime()) || hold.EndTime().Before(release.StartTime()) || run.EndTime().Before(hold.EndTime()) {
			t.Error("the hold did not end in the release")
		}

		// The same, lost.
		err = locker.Run(ctx, t.Name(), func(ctx context.Context, lease *txlock.Lease) error {
			tm.must(locker.Revoke(ctx, lease.Key()))
			return lease.InTx(ctx, nothing)
		})
		if !errors.Is(err, txlock.ErrLost) {
			t.Fatal(err)
		}
		points := tm.points()
		for name, want := range map[string]int64{
			"txlock.lease.losses{}":                 1,
			"txlock.hold.active{}":                  0,
			"txlock.hold.duration{}":                1,
			"txlock.hold.duration{error.type=lost}": 1,
			"txlock.acquire.duration{db.operation.name=acquire txlock.waits=true}": 2,
		} {
			if points[name] != want {
				t.Errorf("%s is %d, want %d", name, points[name], want)
			}
		}
	})
}
