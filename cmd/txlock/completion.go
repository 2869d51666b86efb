package main

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gox-helix/gox-helix/txlock"
)

const (
	completionPatience = 2 * time.Second
	completionLimit    = 100
)

// completeKeys asks the database for keys. Where that fails there are none.
func (a *app) completeKeys(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	var keys []string
	err := a.withLocker(ctx, func(_ *sql.DB, locker *txlock.Locker) error {
		infos, err := locker.List(ctx, txlock.ListOptions{Prefix: toComplete, Limit: completionLimit})
		for _, info := range infos {
			if key := quote(info.Key); !strings.HasPrefix(key, `"`) && !strings.HasPrefix(key, "-") { // which would be a flag
				keys = append(keys, key)
			}
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError | cobra.ShellCompDirectiveNoFileComp
	}
	return keys, cobra.ShellCompDirectiveNoFileComp
}
