package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// report audits the ledger and says what came of the run. It fails when the
// checks did not come out as they should.
func (c *coordinator) report(ctx context.Context, r result) error {
	findings, err := audit(ctx, c.db, checks(!c.unprotect))
	if err != nil {
		return err
	}
	f, err := readFigures(ctx, c.db)
	if err != nil {
		return err
	}
	c.step("audit", "in SQL; each check counts what is wrong")
	if err := printFindings(c.out, findings); err != nil {
		return err
	}

	c.step("result", "%s payouts in %s: %s payouts/s, %d processes, %d killed, %d paused",
		thousands(int64(len(c.payouts))), seconds(r.took), thousands(int64(float64(len(c.payouts))/r.took.Seconds())), c.workers, r.faults.kills, r.faults.pauses)
	line := func(format string, args ...any) {
		_, _ = fmt.Fprintf(c.out, "%9s %s\n", "", fmt.Sprintf(format, args...))
	}
	line("money     file %s, ledger %s, balances %s", money(f.fileCents), money(f.ledgerCents), money(f.balanceCents))
	line("chunks    %d were finished by another worker than began them", f.takenOver)
	line("workers   found chunks held by others %d times and lost %d; %d renewals;", r.tally.Held, r.tally.Lost, r.tally.Renewed)
	line("          transactions run again: %d after an abort, %d after an unknown COMMIT", r.tally.Retried, r.tally.CommitUnknown)
	line("pause     late writes refused by the fence: %d; that went through: %d", r.faults.lateRefused, r.faults.lateWritten)
	if c.unprotect {
		return c.judgeUnprotected(findings, f)
	}
	return c.judge(findings, r)
}

func (c *coordinator) judge(findings []finding, r result) error {
	for _, f := range failures(findings) {
		c.step("FAILED", "%s: %d. %s", f.name, f.count, f.broken)
	}
	switch {
	case len(failures(findings)) > 0:
		return errors.New("the audit failed: gox-helix did not keep its promise, please report it with this output")
	case r.faults.pauses > r.faults.lateRefused:
		return errors.New("a worker was resumed after its chunk had been taken over, and its late write was not refused: gox-helix did not keep its promise, please report it with this output")
	case c.pause && r.faults.pauses == 0:
		return errors.New("no worker could be paused, since the work was done too soon: give it a longer file, or -pause=false")
	}
	c.step("OK", "every payout is posted exactly once and every balance is right")
	return nil
}

func (c *coordinator) judgeUnprotected(findings []finding, f figures) error {
	failed := failures(findings)
	if len(failed) == 0 {
		return errors.New("nothing went wrong this time: try again, with more -workers and without -pause=false")
	}
	c.step("wrong", "%d entries too many in the ledger, and balances that are off by %s in sum:", f.surplusEntries, money(f.balanceCents-f.fileCents))
	for _, f := range failed {
		c.step("", "%s: %d", f.name, f.count)
		c.step("", "    %s", f.broken)
	}
	c.step("OK", "this is what goes wrong without the library; run it without -unprotected to see it go right")
	return nil
}

// money writes an amount with its cents.
func money(cents int64) string {
	sign := ""
	if cents < 0 {
		sign, cents = "-", -cents
	}
	return fmt.Sprintf("%s%s.%02d", sign, thousands(cents/100), cents%100)
}

// thousands writes a number that is not negative, with commas.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
