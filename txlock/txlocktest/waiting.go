package txlocktest

import (
	"time"

	"github.com/DATA-DOG/go-sqlmock"

	"github.com/gox-helix/gox-helix/lockdb"
	"github.com/gox-helix/gox-helix/txlock"
)

// ExpectAcquire expects one question of Locker.Acquire of key, which waits. [Held]
// and [Busy] let it ask again, after some milliseconds and not before a lease that
// has less left than that is over: expect the next question with a further call.
// [Granted] ends it, and so does a [Failure] but for [Aborted] and [ConnectionGone],
// after which it asks again, too.
//
// With txlock.NoWait it does not wait: see [ExpectTryAcquire] and [NoWait].
func ExpectAcquire(mock sqlmock.Sqlmock, key string, outcome AcquireOutcome) {
	look := func(infos []txlock.Info, err error) {
		s := inspectStatement(key)
		answerInfos(mock.ExpectQuery(s.pattern()).WithArgs(s.args...), infos, err)
	}
	r := outcome.acquisition()
	mock.ExpectBegin()
	switch {
	case r.err != nil && !isBusy(r.err):
		look(nil, r.err)
	case r.insertID < 0:
		look([]txlock.Info{{Key: key, Owner: "another", Epoch: 1, Status: lockdb.StatusActive, Remaining: time.Duration(-r.insertID) * time.Microsecond}}, nil)
	default:
		look([]txlock.Info{{Key: key, Status: lockdb.StatusInactive}}, nil)
		setup{noWait: true}.expectAcquire(mock, key, lockdb.StatusActive, outcome)
	}
	expectEnd(mock, isGranted(outcome))
}
