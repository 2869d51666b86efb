package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/spf13/cobra"

	"github.com/gox-helix/gox-helix/txlock"
)

func (a *app) revokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke KEY",
		Short: "Take a lease away from whoever holds it",
		Long: `Take the lease of a key away from whoever holds it, and free the key at once. From
then on its holder is fenced: what it does in fenced transactions is refused. Its
next heartbeat tells it, within a third of its TTL; work that is not fenced may go
on until then. So revoke what you know to be dead, or to be fenced.

It asks first, and needs --yes where there is no terminal to ask on. A key that was
never locked is not there: exit status 1.`,
		Example: `  txlock revoke nightly-report
  txlock revoke --yes nightly-report`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeKeys,
		RunE: verb(func(ctx context.Context, args []string) error {
			return a.takeAway(ctx, args[0], func(locker *txlock.Locker, info *txlock.Info) error {
				if err := a.confirm(ctx, holder(info)+" Revoking takes it away."); err != nil {
					return err
				}
				return locker.Revoke(ctx, info.Key)
			}, "revoked")
		}),
	}
	a.addYesFlag(cmd)
	a.addJSONFlag(cmd)
	a.addQuotedFlag(cmd)
	return cmd
}

func (a *app) retireCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retire KEY",
		Short: "Mark a free key as done with, for purge to delete",
		Long: `Mark a key that is free as deletable, so that the next purge deletes its row. Who
locks it later makes it live again, and its epochs go on rising.

A key that is held is left alone: exit status 75. If its lease has expired, it is
lost to its holder: then it asks first, and needs --yes where there is no terminal
to ask on. A key that was never locked is not there: exit status 1.`,
		Example: `  txlock retire tenant:7/import
  txlock ls --expired --quiet | while read -r key; do txlock retire --yes --quoted -- "$key"; done`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeKeys,
		RunE: verb(func(ctx context.Context, args []string) error {
			return a.takeAway(ctx, args[0], func(locker *txlock.Locker, info *txlock.Info) error {
				if expired(info) {
					if err := a.confirm(ctx, holder(info)+" Retiring the key takes it away."); err != nil {
						return err
					}
				}
				return locker.Retire(ctx, info.Key)
			}, "retired")
		}),
	}
	a.addYesFlag(cmd)
	a.addJSONFlag(cmd)
	a.addQuotedFlag(cmd)
	return cmd
}

// takeAway does something to a key that is there, and says so.
func (a *app) takeAway(ctx context.Context, arg string, do func(locker *txlock.Locker, info *txlock.Info) error, done string) error {
	key, err := a.key(arg)
	if err != nil {
		return err
	}
	return a.withLocker(ctx, func(_ *sql.DB, locker *txlock.Locker) error {
		before, err := locker.Inspect(ctx, key)
		if err != nil {
			return err
		}
		if err := do(locker, before); err != nil {
			return err
		}
		after, err := locker.Inspect(ctx, key)
		if errors.Is(err, txlock.ErrNotFound) { // purged meanwhile
			after, err = before, nil
		}
		switch {
		case err != nil:
			return err
		case a.flags.json:
			return a.printJSON(newInfoJSON(after))
		}
		return a.print(done + " " + quote(key) + "\n")
	})
}
