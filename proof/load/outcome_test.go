package load

import (
	"context"
	"errors"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/gox-helix/gox-helix/proof/history"
)

// What the server refuses in autocommit was not done.
func TestAutocommitted(t *testing.T) {
	for _, c := range []struct {
		err  error
		want history.Outcome
	}{
		{nil, history.OK},
		{&mysql.MySQLError{Number: 1213, Message: "deadlock"}, history.Aborted},
		{&mysql.MySQLError{Number: 1205, Message: "lock wait timeout"}, history.Failed},
		{&mysql.MySQLError{Number: 1317, Message: "interrupted"}, history.Unknown},
		{mysql.ErrInvalidConn, history.Unknown},
		{context.DeadlineExceeded, history.Unknown},
	} {
		got := autocommitted(c.err)
		if outcome(got) != c.want || !errors.Is(got, c.err) {
			t.Errorf("%v: %v, %s", c.err, got, outcome(got))
		}
	}
}
