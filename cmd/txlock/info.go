package main

import (
	"encoding/hex"
	"time"

	"github.com/gox-helix/gox-helix/txlock"
)

// infoJSON is a key as programs read it. Times are in seconds.
type infoJSON struct {
	Key              string  `json:"key"` // what is not UTF-8 is replaced: see key_hex
	KeyHex           string  `json:"key_hex"`
	Owner            string  `json:"owner"`
	OwnerHex         string  `json:"owner_hex"`
	Epoch            int64   `json:"epoch"`
	Status           string  `json:"status"`
	Held             bool    `json:"held"`
	Expired          bool    `json:"expired"`
	RemainingSeconds float64 `json:"remaining_seconds"`
	SinceAcquired    float64 `json:"since_acquired_seconds"`
	SinceUpdated     float64 `json:"since_updated_seconds"`
	SinceCreated     float64 `json:"since_created_seconds"`
}

func newInfoJSON(i *txlock.Info) infoJSON {
	return infoJSON{
		Key: i.Key, KeyHex: hex.EncodeToString([]byte(i.Key)),
		Owner: i.Owner, OwnerHex: hex.EncodeToString([]byte(i.Owner)),
		Epoch: i.Epoch, Status: i.Status.String(), Held: i.Held(), Expired: expired(i),
		RemainingSeconds: i.Remaining.Seconds(),
		SinceAcquired:    i.SinceAcquired.Seconds(),
		SinceUpdated:     i.SinceUpdated.Seconds(),
		SinceCreated:     i.SinceCreated.Seconds(),
	}
}

func expired(i *txlock.Info) bool { return i.Status == txlock.StatusActive && !i.Held() }

// remaining is what a person is shown of an active lease's time.
func remaining(i *txlock.Info) string {
	switch {
	case i.Held():
		return short(i.Remaining)
	case expired(i):
		return "expired " + ago(-i.Remaining)
	}
	return "-"
}

func ago(d time.Duration) string { return short(d) + " ago" }

// holder says in a sentence who holds a key.
func holder(i *txlock.Info) string {
	name := quote(i.Key)
	switch {
	case i.Held():
		return name + " is held by " + quote(i.Owner) + " for another " + short(i.Remaining) + " (last renewed " + ago(i.SinceUpdated) + ")."
	case expired(i):
		return name + " was held by " + quote(i.Owner) + ", whose lease has expired " + ago(-i.Remaining) + "."
	}
	return name + " is free."
}
