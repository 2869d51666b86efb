package lockdb

import (
	"fmt"
	"strings"
)

// MaxBatch is how many entries a statement with a batch takes.
const MaxBatch = 1000

// Entry is one key of a batch, with the id of its lease where that matters.
type Entry struct {
	Key     string
	LeaseID int64 // its absolute value is sent
}

// Batch writes up to [MaxBatch] entries as the one argument that the statements
// for many keys take, so that their text is always the same. In decimal digits
// (CONV would fail MySQL sessions that compare in UTF-16 or UTF-32) the number of
// entries (4); for each of them where its key begins, counted from 1 (6), the key's
// bytes (3) and the id (19); then the keys, as [Hex]. The statements COALESCE it with a
// longer type, since MySQL takes a prepared statement's parameter for one of 65,535
// bytes, and silently cuts it there where it is put into a temporary table.
func Batch(entries []Entry) string {
	const count, each = 4, 28
	var index, keys strings.Builder
	fmt.Fprintf(&index, "%04d", len(entries))
	for _, e := range entries {
		fmt.Fprintf(&index, "%06d%03d%019d", count+each*len(entries)+keys.Len()+1, len(e.Key), max(e.LeaseID, -e.LeaseID))
		keys.WriteString(Hex(e.Key))
	}
	return index.String() + keys.String()
}
