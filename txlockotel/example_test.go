package txlockotel_test

import (
	"context"
	"fmt"

	"github.com/DATA-DOG/go-sqlmock"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/gox-helix/gox-helix/txlock"
	"github.com/gox-helix/gox-helix/txlock/txlocktest"
	"github.com/gox-helix/gox-helix/txlockotel"
)

// A Locker that is observed. Without WithTracerProvider and WithMeterProvider the
// global providers are used.
func ExampleNew() {
	spans := tracetest.NewSpanRecorder()
	observer, err := txlockotel.New(
		txlockotel.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))),
		txlockotel.WithAttributes(semconv.DBSystemNameMariaDB, semconv.DBNamespace("shop"), semconv.ServerAddress("db.example.com")),
		txlockotel.WithKeys(),
	)
	if err != nil {
		fmt.Println(err)
		return
	}

	db, mock, err := sqlmock.New() // in place of sql.Open
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	txlocktest.ExpectDo(mock, "report:daily", txlocktest.Granted(41), nil)

	locker, err := txlock.New(db, txlock.WithObserver(observer), txlock.WithSingleWriter())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(locker.Do(context.Background(), "report:daily", nothing))
	for _, span := range spans.Ended() {
		fmt.Println(span.Name())
	}
	// Output:
	// <nil>
	// lock helix_locks
	// txlock.do
}
