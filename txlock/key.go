package txlock

import (
	"fmt"
	"time"
)

const (
	// MaxKeyBytes is the longest key, and the longest owner, in bytes.
	MaxKeyBytes = 255

	// DefaultTTL is the time to live of a lease where no option says otherwise.
	DefaultTTL = 30 * time.Second

	// MinTTL is the shortest time to live of a lease: a shorter one would be over
	// before its holder heard of it.
	MinTTL = time.Millisecond

	// MaxTTL is the longest time to live of a lease.
	MaxTTL = 366 * 24 * time.Hour
)

func checkKey(key string) error {
	if reason := nameReason(key); reason != "" {
		return &InvalidError{Kind: ErrInvalidKey, Value: quoteName(key), Reason: reason}
	}
	return nil
}

func checkTTL(ttl time.Duration) error {
	if ttl < MinTTL || ttl > MaxTTL {
		return &InvalidError{Kind: ErrInvalidTTL, Value: ttl.String(), Reason: fmt.Sprintf("must be from %v to %v", MinTTL, MaxTTL)}
	}
	return nil
}

// nameReason says what is wrong with a key or an owner; any bytes will do, but
// neither none nor too many.
func nameReason(name string) string {
	switch {
	case name == "":
		return fmt.Sprintf("is empty: must be 1 to %d bytes", MaxKeyBytes)
	case len(name) > MaxKeyBytes:
		return fmt.Sprintf("has %d bytes: must be 1 to %d, so hash or shorten it", len(name), MaxKeyBytes)
	}
	return ""
}

func quoteName(name string) string {
	const show = 64
	if len(name) > show {
		return fmt.Sprintf("%q...", name[:show])
	}
	return fmt.Sprintf("%q", name)
}
