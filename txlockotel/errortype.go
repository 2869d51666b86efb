package txlockotel

import (
	"context"
	"errors"

	"github.com/gox-helix/gox-helix/txlock"
)

const (
	errorHeld = "held"
	errorBusy = "busy"
)

// errorType is the value of error.type, empty for success.
func errorType(err error) string {
	if err == nil {
		return ""
	}
	for _, t := range []struct {
		err  error
		name string
	}{
		{txlock.ErrPanicked, "panic"},
		{txlock.ErrLost, "lost"},
		{txlock.ErrCommitUnknown, "commit_unknown"},
		{txlock.ErrHeld, errorHeld},
		{txlock.ErrBusy, errorBusy},
		{txlock.ErrTxAborted, "aborted"},
		{txlock.ErrNotMigrated, "not_migrated"},
		{context.Canceled, "canceled"},
		{context.DeadlineExceeded, "canceled"},
	} {
		if errors.Is(err, t.err) {
			return t.name
		}
	}
	return "other"
}
