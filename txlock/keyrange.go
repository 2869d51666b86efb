package txlock

import (
	"strings"

	"github.com/gox-helix/gox-helix/lockdb"
)

// keyRange returns the bounds of the keys that begin with prefix and come after the
// key after (empty: all of them): the first is within, the second is not.
func keyRange(prefix, after string) (fromHex, beforeHex string) {
	from := prefix
	if after != "" {
		from = max(prefix, after+"\x00")
	}
	return lockdb.Hex(from), lockdb.Hex(prefixEnd(prefix))
}

// prefixEnd returns what comes after every key with the prefix, and before every
// other one that comes after those.
func prefixEnd(prefix string) string {
	for last := len(prefix) - 1; last >= 0; last-- {
		if b := prefix[last]; b < 0xff {
			return prefix[:last] + string([]byte{b + 1})
		}
	}
	return strings.Repeat("\xff", MaxKeyBytes+1)
}
