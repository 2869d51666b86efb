package measure

import (
	"cmp"
	"slices"
	"time"
)

// Sample is what one contender did in one slice of time.
type Sample struct {
	Counts

	Operations int64
	Took       time.Duration
	Latencies  []time.Duration
}

// Rate is operations per second.
func (s *Sample) Rate() float64 { return float64(s.Operations) / s.Took.Seconds() }

// Quantile is that of sorted values, between the two nearest.
func Quantile[T cmp.Ordered](sorted []T, q float64) T {
	if len(sorted) == 0 {
		var zero T
		return zero
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// Spread is a median, with the quartiles.
type Spread struct{ Low, Median, High float64 }

// SpreadOf values.
func SpreadOf(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	return Spread{Quantile(sorted, 0.25), Quantile(sorted, 0.5), Quantile(sorted, 0.75)}
}
