package main

import "time"

// Coordinator and workers talk in lines of JSON: orders on a worker's standard
// input, reports on its standard output. The first order is the configuration;
// the end of the input, that is of the coordinator, is the end of the worker.

type workerConfig struct {
	Name      string        `json:"name"`
	DSN       string        `json:"dsn"`
	TTL       time.Duration `json:"ttl"`
	Unprotect bool          `json:"unprotect"`
}

type order struct {
	StopAt stop `json:"stop_at,omitempty"` // stand still the next time you are there
	GoOn   bool `json:"go_on,omitempty"`   // from where you stand
}

type reportKind string

const (
	reportClaimed reportKind = "claimed" // a chunk is mine
	reportStopped reportKind = "stopped" // I stand where you wanted
	reportWentOn  reportKind = "went-on" // what came of the payout that I stood at
	reportTally   reportKind = "tally"   // what I did so far
)

type report struct {
	Kind    reportKind `json:"kind"`
	Chunk   int        `json:"chunk,omitempty"`
	Epoch   int64      `json:"epoch,omitempty"`
	Payout  string     `json:"payout,omitempty"`
	Posted  bool       `json:"posted,omitempty"`  // the payout, by me
	Refused string     `json:"refused,omitempty"` // the payout was not posted, because the chunk is lost
	Tally   *tally     `json:"tally,omitempty"`
}

// tally counts what a worker has met.
type tally struct {
	Posted        int `json:"posted"`
	Skipped       int `json:"skipped"` // found posted already
	Held          int `json:"held"`    // chunks that others had
	Renewed       int `json:"renewed"`
	Retried       int `json:"retried"` // transactions run again because the server aborted them
	CommitUnknown int `json:"commit_unknown"`
	Lost          int `json:"lost"` // chunks that others took over
}

func (t *tally) add(o tally) {
	t.Posted += o.Posted
	t.Skipped += o.Skipped
	t.Held += o.Held
	t.Renewed += o.Renewed
	t.Retried += o.Retried
	t.CommitUnknown += o.CommitUnknown
	t.Lost += o.Lost
}
