package lockdb

import (
	"strconv"
	"strings"
)

// MaxBatch is how many keys a statement with a batch takes.
const MaxBatch = 1000

// Entry is one key of a batch, with the epoch and the id of its lease where they matter.
type Entry struct {
	Key     string
	Epoch   int64
	LeaseID int64
}

// Batch writes up to [MaxBatch] entries as the one argument of the statements for many
// keys, so that their text is always the same: JSON, as [["6b31",epoch,id],...].
func Batch(entries []Entry) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, e := range entries {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`["`)
		b.WriteString(Hex(e.Key))
		b.WriteString(`",`)
		b.WriteString(strconv.FormatInt(e.Epoch, 10))
		b.WriteByte(',')
		b.WriteString(strconv.FormatInt(e.LeaseID, 10))
		b.WriteByte(']')
	}
	b.WriteByte(']')
	return b.String()
}
