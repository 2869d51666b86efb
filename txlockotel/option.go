package txlockotel

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Option sets up an [Observer]; an invalid one makes [New] fail.
type Option func(*config) error

type config struct {
	tracers trace.TracerProvider
	meters  metric.MeterProvider
	attrs   []attribute.KeyValue
	keys    bool
}

// WithTracerProvider sets where spans go. The default is OpenTelemetry's global
// provider.
func WithTracerProvider(p trace.TracerProvider) Option {
	return func(c *config) error {
		if p == nil {
			return errors.New("txlockotel: WithTracerProvider(nil): leave it out for the global one, or give that of go.opentelemetry.io/otel/trace/noop for none")
		}
		c.tracers = p
		return nil
	}
}

// WithMeterProvider sets where metrics go. The default is OpenTelemetry's global
// provider.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(c *config) error {
		if p == nil {
			return errors.New("txlockotel: WithMeterProvider(nil): leave it out for the global one, or give that of go.opentelemetry.io/otel/metric/noop for none")
		}
		c.meters = p
		return nil
	}
}

// WithAttributes adds attributes to every span and every metric, such as
// db.namespace and server.address. They should be few, and the same for the life of
// the process. The default is db.system.name=mysql, which a value given here
// replaces.
func WithAttributes(attrs ...attribute.KeyValue) Option {
	return func(c *config) error {
		for _, a := range attrs {
			if !a.Valid() {
				return fmt.Errorf("txlockotel: WithAttributes: attribute %q has no name or no value: give it both", a.Key)
			}
		}
		c.attrs = append(c.attrs, attrs...)
		return nil
	}
}

// WithKeys puts keys on spans, and the texts of errors, which have keys in them. The
// default is not to: keys may be many, or nobody else's business. They are never
// on metrics.
func WithKeys() Option {
	return func(c *config) error {
		c.keys = true
		return nil
	}
}

func newConfig(opts []Option) (config, error) {
	c := config{attrs: []attribute.KeyValue{semconv.DBSystemNameMySQL}}
	for i, opt := range opts {
		if opt == nil {
			return c, fmt.Errorf("txlockotel: option %d is nil: leave it out", i+1)
		}
		if err := opt(&c); err != nil {
			return c, err
		}
	}
	if c.tracers == nil {
		c.tracers = otel.GetTracerProvider()
	}
	if c.meters == nil {
		c.meters = otel.GetMeterProvider()
	}
	return c, nil
}
