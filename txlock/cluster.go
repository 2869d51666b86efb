package txlock

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gox-helix/gox-helix/lockdb"
)

// ErrMultiWriter says that the server belongs to a cluster on which several servers take
// writes, and that the Locker was not told: row locks do not exclude what another server
// does. Give [New] the option [WithMultiWriter], or [WithSingleWriter] if all programs
// write to one server.
var ErrMultiWriter = errors.New("txlock: several servers may take writes")

// checkServer looks once, and again after a lost connection, whether row locks suffice on
// the server of q.
func (l *Locker) checkServer(ctx context.Context, q *lockdb.Queries) error {
	if l.multiWriter || l.singleWriter || l.checked.Load() {
		return nil
	}
	variables, err := q.ClusterVariables(ctx)
	if err != nil {
		return err
	}
	value := make(map[string]string)
	for _, v := range variables {
		value[strings.ToLower(v.VariableName)] = strings.ToLower(v.Value)
	}
	kind := ""
	switch {
	case value["wsrep_on"] == "on" && value["wsrep_provider"] != "none":
		kind = "Galera: wsrep_on is ON"
	case value["group_replication_single_primary_mode"] == "off" && value["group_replication_group_name"] != "":
		kind = "Group Replication: group_replication_single_primary_mode is OFF"
	}
	if kind != "" {
		return fmt.Errorf("%w (%s): give New the option WithMultiWriter, or WithSingleWriter if all programs write to one server", ErrMultiWriter, kind)
	}
	l.checked.Store(true)
	return nil
}
