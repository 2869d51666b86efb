package txlock

import (
	"crypto/rand"
	"fmt"
	"os"
)

// defaultOwner names this use of this process on this host, as a person who
// looks at the table would want to read it.
func defaultOwner() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("txlock: no host name to make an owner of: name one with WithOwner: %w", err)
	}
	return ownerName(host), nil
}

func ownerName(host string) string {
	const roomForRest = 64
	if len(host) > MaxKeyBytes-roomForRest {
		host = host[:MaxKeyBytes-roomForRest]
	}
	return fmt.Sprintf("%s:%d:%s", host, os.Getpid(), rand.Text())
}
