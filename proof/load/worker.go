package load

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gox-helix/gox-helix/proof/history"
	"github.com/gox-helix/gox-helix/txlock"
)

// worker is one process.
type worker struct {
	Config
	connector driver.Connector
	db        *sql.DB
	locker    *txlock.Locker
	recorder  *history.Recorder
	clock     atomic.Pointer[Clock]
	ids       atomic.Int64
	acked     atomic.Int64
	counters  sync.Map // keys whose counter is there
}

// reportEvery is how often a worker says how far it is.
const reportEvery = 50 * time.Millisecond

// Run is the main function of a worker process: it reads its configuration and its
// orders from in, and works until it is told to stop.
func Run(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	orders := json.NewDecoder(in)
	w := &worker{}
	if err := orders.Decode(&w.Config); err != nil {
		return fmt.Errorf("worker: its configuration: %w", err)
	}
	w.ids.Store(int64(w.Worker) * idsOfWorker)
	w.clock.Store(&w.Clock)
	if w.connector, err = connector(w.DSN, &w.clock); err != nil {
		return fmt.Errorf("worker %d: %w", w.Worker, err)
	}
	w.db = sql.OpenDB(w.connector)
	w.db.SetMaxOpenConns(w.Connections)
	w.db.SetMaxIdleConns(w.Clients)
	if w.recorder, err = history.NewRecorder(w.History); err != nil {
		return fmt.Errorf("worker %d: %w", w.Worker, err)
	}
	options := []txlock.Option{txlock.WithOwner(w.Owner), txlock.WithPollInterval(50 * time.Millisecond), txlock.WithMaxAttempts(4)}
	if w.MultiWriter {
		options = append(options, txlock.WithMultiWriter())
	}
	if w.locker, err = txlock.New(w.db, options...); err != nil {
		return fmt.Errorf("worker %d: %w", w.Worker, err)
	}
	defer func() { err = errors.Join(err, w.locker.Close(), w.recorder.Close(), w.db.Close()) }()
	if w.Prepare {
		_ = w.locker.Prepare(ctx) // a fault may be on; it then goes on unprepared
	}

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	for i := range w.Clients {
		all.Go(func() { newClient(w, i).run(ctx) })
	}
	all.Go(func() { newClient(w, w.Clients).besiege(ctx) })
	all.Go(func() { w.report(ctx, json.NewEncoder(out)) })
	for {
		var o Order
		if err := orders.Decode(&o); err != nil || o.Stop {
			break // also where who gives the orders has gone
		}
		if o.Clock != nil {
			w.clock.Store(o.Clock)
		}
	}
	stop()
	all.Wait()
	return nil
}

func (w *worker) report(ctx context.Context, out *json.Encoder) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if out.Encode(Report{Worker: w.Worker, Acknowledged: w.acked.Load()}) != nil {
			return // nobody listens: the end of the orders follows
		}
	}
}

func digits(n int) string { return strconv.Itoa(n) }
