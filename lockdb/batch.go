package lockdb

import (
	"encoding/hex"
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
// for many keys take, so that their text is always the same: in hex digits, the
// number of entries (4); for each of them where its key begins, counted from 1 (6),
// the key's bytes (2) and the id (16); then the keys.
func Batch(entries []Entry) string {
	const count, each = 4, 24
	var index, keys strings.Builder
	fmt.Fprintf(&index, "%04x", len(entries))
	for _, e := range entries {
		fmt.Fprintf(&index, "%06x%02x%016x", count+each*len(entries)+keys.Len()+1, len(e.Key), max(e.LeaseID, -e.LeaseID))
		keys.WriteString(hex.EncodeToString([]byte(e.Key)))
	}
	return index.String() + keys.String()
}
