package history

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// Recorder writes operations to a file, each when it is called and again when it
// returns, by one write(2) a line: what was written outlives the process.
type Recorder struct {
	mu   sync.Mutex
	file *os.File
	err  error
}

// NewRecorder makes the file.
func NewRecorder(path string) (*Recorder, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return &Recorder{file: f}, nil
}

// Call notes that the operation begins.
func (r *Recorder) Call(op *Op) {
	op.Call = Now()
	r.write(op)
}

// Return notes what came of it.
func (r *Recorder) Return(op *Op) {
	op.Return = Now()
	r.write(op)
}

func (r *Recorder) write(op *Op) {
	line, err := json.Marshal(op)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && r.err == nil {
		_, err = r.file.Write(append(line, '\n'))
	}
	if r.err == nil {
		r.err = err
	}
}

// Close closes the file, and returns the first error of all that was written.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.file.Close(); r.err == nil {
		r.err = err
	}
	if r.err != nil {
		return fmt.Errorf("history: writing %s: %w", r.file.Name(), r.err)
	}
	return nil
}
