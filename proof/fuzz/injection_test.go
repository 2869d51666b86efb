package fuzz_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
)

// TestEveryCallFails lets each operation run once, and then again for each call of
// the driver that it made and each way in which that can fail: once, and from then
// on always. All is on the test's own clock, which stands until everybody waits, so
// that pauses between attempts take no time; and a goroutine that is left ends the
// test.
func TestEveryCallFails(t *testing.T) {
	for _, prepared := range []bool{false, true} {
		for _, op := range operations() {
			if prepared && op.name == "Prepare" {
				continue
			}
			t.Run(fmt.Sprintf("%s/prepared %v", op.name, prepared), func(t *testing.T) {
				clean := op.attempt(t, prepared, nil, 0, false)
				if clean.err != nil || len(clean.calls) == 0 {
					t.Fatalf("nothing fails, and it says %v after %v", clean.err, clean.calls)
				}
				n := 0
				for place, c := range clean.calls {
					for _, f := range faults() {
						for _, always := range []bool{false, true} {
							if !f.happens(c.what) || (f.class == short || f.class == gone) && always {
								continue
							}
							n++
							got := op.attempt(t, prepared, &f, place, always)
							v := verdict{op: op, fault: f, place: place, failed: c, always: always, clean: clean, got: got}
							if wrong := v.wrong(); wrong != "" || t.Failed() {
								t.Fatalf("call %d (%v of %v) fails with %s, always: %v\n%s\nthe error: %v\nthe calls: %v", place, c, clean.calls, f.name, always, wrong, got.err, got.calls)
							}
						}
					}
				}
				t.Logf("%d failures at %d calls", n, len(clean.calls))
			})
		}
	}
}

// outcome is what became of an operation.
type outcome struct {
	err        error
	calls      []call
	violations []string
	txID       int // the caller's transaction
	ended      bool
	further    error // what a further call in an aborted transaction said
	sent       int   // calls that it made
}

// attempt runs the operation, whose n-th call fails.
func (op operation) attempt(t *testing.T, prepared bool, f *fault, n int, always bool) (o outcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, fake: &fake{answer: usual}}
		b.db = sql.OpenDB(b.fake)
		locker, err := txlock.New(b.db, op.opts...)
		must(t, err)
		b.locker = locker
		if prepared {
			must(t, b.locker.Prepare(t.Context()))
		}
		if op.prepare != nil {
			op.prepare(b)
		}
		if op.inTx {
			b.tx, err = b.db.BeginTx(t.Context(), nil)
			must(t, err)
			b.txID = b.fake.txs
		}
		b.fake.answer = func(name string, args []driver.NamedValue) answer {
			if op.fresh && name == "ListKeys" && !b.fake.ensured {
				return answer{}
			}
			if in := op.answers[name]; in != nil {
				return in[min(b.fake.turn(name), len(in)-1)]
			}
			return usual(name, args)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		var failed *call
		b.fake.watch(func(i int, c call) failure {
			if f == nil || i < n || i > n && !always {
				return failure{}
			}
			if i == n {
				failed = &c
			}
			if c.what != failed.what || c.name != failed.name || (c.tx == b.txID) != (failed.tx == b.txID) {
				return failure{}
			}
			if f.class == gone {
				cancel()
			}
			return f.failure()
		})
		o.err = op.run(ctx, b)
		synctest.Wait()
		o.calls, o.txID = b.fake.seen(), b.txID
		if op.inTx && f != nil && o.err != nil && (errors.Is(o.err, txlock.ErrTxAborted) || f.class == busy && failed.tx == b.txID) {
			o.further = b.locker.LockTx(t.Context(), b.tx, "b")
			o.sent = len(b.fake.seen()) - len(o.calls)
		}
		b.fake.watch(nil)
		if b.tx != nil {
			_ = b.tx.Rollback() // of a connection that is lost, too
		}
		_ = b.locker.Close() // of such statements, too
		must(t, b.db.Close())
		o.violations, o.ended = b.fake.violations, b.fake.ended == b.fake.txs
	})
	return o
}

// effect is what an outcome has done: statements of the caller's transaction, and
// transactions that were committed, or that only read.
type effect struct {
	callers   []string
	committed []string
	read      []string
}

func (o outcome) effect() (e effect) {
	statements, failed, committed := make(map[int][]string), make(map[int]bool), make(map[int]bool)
	var order []int
	for _, c := range o.calls {
		if c.tx != 0 && !slices.Contains(order, c.tx) {
			order = append(order, c.tx)
		}
		switch c.what {
		case atExec, atQuery:
			if c.name == "ClusterVariables" { // once, and again after a lost connection
				break
			}
			statements[c.tx] = append(statements[c.tx], c.name)
		case atCommit:
			committed[c.tx] = c.err == nil
		case atRollback, atStmtClose:
			continue
		default:
		}
		if c.err != nil && c.tx != 0 && (c.what != atPrepare || c.tx == o.txID) {
			failed[c.tx] = true
		}
	}
	for _, tx := range order {
		did := strings.Join(statements[tx], "; ")
		switch {
		case tx == o.txID && !failed[tx]:
			e.callers = statements[tx]
		case failed[tx]:
		case committed[tx]:
			e.committed = append(e.committed, did)
		default:
			e.read = append(e.read, did)
		}
	}
	slices.Sort(e.committed)
	slices.Sort(e.read)
	return e
}

// includes reports whether all of less is in more, as often.
func includes(more, less []string) bool {
	left := slices.Clone(more)
	for _, s := range less {
		i := slices.Index(left, s)
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return true
}

// verdict judges one failure.
type verdict struct {
	op         operation
	fault      fault
	place      int
	failed     call // as it was where nothing failed
	always     bool
	clean, got outcome
}

// wrong says what is, or nothing.
func (v verdict) wrong() string {
	for _, check := range []func() string{v.books, v.success, v.text, v.cause, v.sentinel} {
		if wrong := check(); wrong != "" {
			return wrong
		}
	}
	return ""
}

// books: nobody has sent what must not be sent, and everything has ended.
func (v verdict) books() string {
	switch {
	case len(v.got.violations) > 0:
		return "violated: " + strings.Join(v.got.violations, ", ")
	case !v.got.ended:
		return "a transaction was left open"
	}
	for _, c := range v.got.calls {
		if v.op.inTx && c.tx == v.got.txID && (c.what == atCommit || c.what == atRollback) {
			return "the caller's transaction was ended"
		}
	}
	aborted := errors.Is(v.got.err, txlock.ErrTxAborted)
	if v.got.sent > 0 || v.got.further != nil && aborted != errors.Is(v.got.further, txlock.ErrTxAborted) {
		return fmt.Sprintf("a further call in the transaction sent %d statements and said %v", v.got.sent, v.got.further)
	}
	if v.got.further == nil && v.op.inTx && aborted {
		return "a further call in the transaction succeeded"
	}
	return ""
}

// success: who says so has done all that a run without a failure does.
func (v verdict) success() string {
	if v.got.err != nil {
		return ""
	}
	if v.fault.class == short {
		rest := v.clean.calls[v.place+1:]
		last := len(rest) == 0 || rest[0].what != atNext // which ends the rows anyhow
		switch name := v.failed.name; {
		case slices.Contains([]string{"VerifyLease", "LockKeyNoWait"}, name), strings.HasPrefix(name, "LockKeys") && !last:
			return "success, without the row that it is about"
		}
		return "" // as if there were nothing
	}
	want, got := v.clean.effect(), v.got.effect()
	exactly := slices.Equal(want.committed, got.committed) || v.op.beats && includes(got.committed, want.committed)
	if !exactly || !slices.Equal(want.callers, got.callers) || !includes(got.read, want.read) {
		return fmt.Sprintf("success, but what was done is %+v and should be %+v", got, want)
	}
	return ""
}

// ours reports whether the failed call is one that the library explains; the caller's
// statements, and what the base of a FencedConnector says at BEGIN, are not.
func (v verdict) ours() bool {
	if v.failed.name == "UPDATE ledger SET n = n + 1" || v.failed.name == "SELECT n FROM ledger" {
		return false
	}
	return !v.op.fenced || v.failed.what != atBegin && v.failed.what != atConnect
}

// text: an error says whose it is, and names the key.
func (v verdict) text() string {
	if v.got.err == nil || !v.ours() {
		return ""
	}
	text := strings.TrimPrefix(v.got.err.Error(), errAtCommit.Error()+": ")
	if !strings.HasPrefix(text, "txlock: ") {
		return "the error does not say that it is txlock's"
	}
	for _, key := range v.op.keys {
		if strings.Contains(text, strconv.Quote(key)) {
			return ""
		}
	}
	if v.op.keys != nil {
		return fmt.Sprintf("the error names none of %q", v.op.keys)
	}
	return ""
}

// cause: what failed can be found in the error.
func (v verdict) cause() string {
	err := v.got.err
	if err == nil || v.fault.class == short {
		return ""
	}
	if v.op.waits && errors.Is(err, context.DeadlineExceeded) {
		return ""
	}
	if !errors.Is(err, v.fault.err) && !strings.Contains(err.Error(), v.fault.err.Error()) && !v.late() {
		return "the error does not say why"
	}
	return ""
}

// late is a failure that comes to light with time, of what is not answered.
func (v verdict) late() bool { return v.op.beats && errors.Is(v.got.err, txlock.ErrLost) }

// sentinels are those that a failure can lead to.
func sentinels() map[string]error {
	return map[string]error{
		"ErrHeld":          txlock.ErrHeld,
		"ErrLost":          txlock.ErrLost,
		"ErrBusy":          txlock.ErrBusy,
		"ErrNotFound":      txlock.ErrNotFound,
		"ErrTxAborted":     txlock.ErrTxAborted,
		"ErrAbortIgnored":  txlock.ErrAbortIgnored,
		"ErrCommitUnknown": txlock.ErrCommitUnknown,
		"ErrNotMigrated":   txlock.ErrNotMigrated,
		"ErrUnfenced":      txlock.ErrUnfenced,
		"ErrClosed":        txlock.ErrClosed,
	}
}

// is fails unless the error matches this sentinel ("": none) and no other one.
func (v verdict) is(want string) string {
	if v.got.err == nil {
		return "success; wanted " + want
	}
	for name, sentinel := range sentinels() {
		if errors.Is(v.got.err, sentinel) != (name == want) {
			return fmt.Sprintf("it matches %s: %v; wanted %q", name, name != want, want)
		}
	}
	if txlock.IsRetryable(v.got.err) != (want == "ErrTxAborted") {
		return fmt.Sprintf("IsRetryable: %v", want != "ErrTxAborted")
	}
	return ""
}

// succeeds: once is no matter.
func (v verdict) succeeds() string {
	if v.got.err != nil {
		return "an error; it should have been run again"
	}
	return ""
}

// sentinel: the error says what a program is to do.
func (v verdict) sentinel() string {
	switch {
	case v.fault.class == short:
		return "" // see success
	case v.op.beats:
		return v.heartbeatSentinel()
	case v.op.fenced:
		return v.fencedSentinel()
	case v.isEnsuring():
		if v.op.waits && v.always {
			return "" // what comes after fails, too
		}
		return v.ensuringSentinel()
	}
	switch v.failed.what {
	case atConnect, atRollback, atStmtClose:
		return "" // whatever it says, success is what it says it is
	case atBegin:
		return v.beginSentinel()
	case atCommit:
		return v.commitSentinel()
	default:
		return v.statementSentinel()
	}
}

// isEnsuring reports whether it is a key's row that was to be made, by transactions
// beside the one that matters: one that reads, and where that finds none, another.
func (v verdict) isEnsuring() bool {
	switch {
	case v.op.inTx:
		return v.failed.tx != v.clean.txID
	case !v.op.fresh:
		return false
	}
	i := slices.IndexFunc(v.clean.calls, func(c call) bool { return c.name == "MakeKey" || c.name == "EnsureKeys" })
	return i >= 0 && v.failed.tx != 0 && (v.failed.tx == v.clean.calls[i].tx || v.failed.tx == v.clean.calls[i].tx-1)
}

// isReading reports whether the transaction only reads, and is then rolled back. Who
// waits reads in one that would have gone on to acquire.
func (v verdict) isReading() bool {
	return !v.op.waits && v.failed.tx != 0 && slices.ContainsFunc(v.clean.calls, func(c call) bool {
		return c.tx == v.failed.tx && c.what == atRollback
	})
}

// heartbeatSentinel: it is tried again until the deadline, and then the lease is said
// to be lost.
func (v verdict) heartbeatSentinel() string {
	beats := v.failed.tx != 0 && slices.ContainsFunc(v.clean.calls, func(c call) bool {
		return c.tx == v.failed.tx && c.name == "RenewLeases"
	})
	switch {
	case !beats || v.fault.class == gone || v.failed.what == atRollback || v.failed.what == atStmtClose:
		return ""
	case !v.always:
		return v.succeeds()
	case !errors.Is(v.got.err, txlock.ErrLost):
		return "no heartbeat went well, and the lease was not said to be lost"
	}
	return ""
}

// ensuringSentinel: nothing has happened to the transaction that matters.
func (v verdict) ensuringSentinel() string {
	if v.got.err == nil {
		return ""
	}
	for _, no := range []string{"ErrTxAborted", "ErrCommitUnknown"} {
		if errors.Is(v.got.err, sentinels()[no]) {
			return "it matches " + no + ", but nothing happened to the transaction"
		}
	}
	return ""
}

func (v verdict) beginSentinel() string {
	again := v.fault.err == driver.ErrBadConn || !v.isReading() && (v.fault.class == conflict || v.fault.name == "invalid connection")
	switch {
	case again && !v.always:
		return v.succeeds()
	case v.got.err == nil:
		return "success without a transaction"
	case errors.Is(v.got.err, txlock.ErrCommitUnknown):
		return "nothing was committed"
	}
	return ""
}

func (v verdict) commitSentinel() string {
	switch {
	case v.fault.class == conflict, v.fault.err == driver.ErrBadConn: // which means that nothing was sent
		if !v.always {
			return v.succeeds()
		}
		return v.is("ErrTxAborted")
	case v.fault.class == gaveUp: // what go-sql-driver says on a connection that was closed for it: not sent
		return v.is("")
	}
	if wrong := v.is("ErrCommitUnknown"); wrong != "" {
		return wrong
	}
	failed := slices.IndexFunc(v.got.calls, func(c call) bool { return c.what == atCommit && c.err != nil })
	for _, c := range v.got.calls[failed:] {
		if c.what == atBegin && v.op.name != "Run" {
			return "it was run again"
		}
	}
	return ""
}

func (v verdict) statementSentinel() string {
	switch v.fault.class {
	case lost, conflict:
		switch {
		case v.failed.tx == 0: // of Prepare
			return ""
		case !v.always && !v.op.inTx && !v.isReading():
			return v.succeeds()
		case !v.ours() && v.got.err == nil:
			return "success of a statement that failed"
		}
		return v.is("ErrTxAborted")
	case busy:
		switch {
		case v.op.waits && !v.always && !v.releases():
			return v.succeeds()
		case !v.ours(), v.failed.tx == 0:
			return v.is("")
		}
		return v.is("ErrBusy")
	case unmigrated:
		if !v.ours() {
			return v.is("")
		}
		return v.is("ErrNotMigrated")
	case gone:
		if v.op.name == "Run" {
			return "" // its release goes on
		}
	default:
	}
	return v.is("")
}

// releases reports that the failure is at the end of a Run, which does not wait.
func (v verdict) releases() bool {
	return slices.Contains([]string{"ReleaseLease", "VerifyLease", "ClusterVariables"}, v.failed.name)
}

// fencedSentinel: package sql begins again on what it takes for a connection that
// was bad before, the library does not.
func (v verdict) fencedSentinel() string {
	err := v.got.err
	aborts := v.fault.class == lost || v.fault.class == conflict
	switch {
	case err == nil && v.fault.err == driver.ErrBadConn && !v.always:
		return ""
	case v.failed.what == atConnect, v.failed.what == atBegin, v.failed.what == atRollback, v.failed.what == atStmtClose, v.failed.what == atPrepare:
		if err == nil && v.failed.what == atBegin {
			return "success without a transaction"
		}
		return ""
	case v.failed.what == atCommit:
		if v.fault.class == conflict || v.fault.err == driver.ErrBadConn {
			return v.is("ErrTxAborted")
		}
		if v.fault.class == gaveUp {
			return v.is("")
		}
		return v.is("ErrCommitUnknown")
	case v.ours() && v.fault.class == busy:
		return v.is("ErrBusy")
	case v.ours() && v.fault.class == unmigrated:
		return v.is("ErrNotMigrated")
	case aborts && v.ours():
		return v.is("ErrTxAborted")
	case (aborts || v.fault.class == busy) && strings.HasSuffix(v.op.name, "transaction"):
		return "" // execAlone: what the statement said
	case aborts || v.fault.class == busy: // in a statement of the caller, who went on
		if !errors.Is(err, errAtCommit) || !errors.Is(err, txlock.ErrTxAborted) {
			return "Commit did not say ErrTxAborted"
		}
		return ""
	case err == nil:
		return "success of a statement that failed"
	}
	return ""
}
