package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
)

//go:generate go run . generate ../testdata/payouts.csv

const (
	generatedPayouts  = 5000
	generatedAccounts = 300
)

// generatePayouts makes the payouts of testdata/payouts.csv, the same ones every
// time: 300 accounts, of which three get about two rows of five, and a reversal
// in fifty rows.
func generatePayouts() []payout {
	d := dice{rand.NewPCG(2026, 4)}
	accounts := d.accounts(generatedAccounts)
	payouts := make([]payout, 0, generatedPayouts)
	reversed := make(map[int]bool)

	for i := range generatedPayouts {
		p := payout{ID: fmt.Sprintf("P2026-%06d", i+1)}
		if earlier, ok := d.reversal(payouts, reversed); ok {
			p.Account = payouts[earlier].Account
			p.AmountCents = -payouts[earlier].AmountCents
			p.Memo = "reversal of " + payouts[earlier].ID
			reversed[earlier], reversed[i] = true, true
		} else {
			p.Account = d.account(accounts)
			p.AmountCents = d.cents()
			p.Memo = d.memo()
		}
		payouts = append(payouts, p)
	}
	return payouts
}

// dice draws from a generator whose numbers are specified, and uses nothing else
// of package rand: its distributions may change with the Go version.
type dice struct{ source *rand.PCG }

// below returns a number from 0 to n-1.
func (d dice) below(n int) int {
	return int(d.source.Uint64() % uint64(n))
}

func (d dice) between(low, high int) int { return low + d.below(high-low+1) }

func (d dice) accounts(n int) []string {
	accounts := make([]string, 0, n)
	taken := make(map[string]bool)
	for len(accounts) < n {
		a := fmt.Sprintf("40%08d", d.below(100_000_000))
		if !taken[a] {
			taken[a] = true
			accounts = append(accounts, a)
		}
	}
	return accounts
}

// account picks a hot account in 40 draws of 100.
func (d dice) account(accounts []string) string {
	switch n := d.below(100); {
	case n < 18:
		return accounts[0]
	case n < 31:
		return accounts[1]
	case n < 40:
		return accounts[2]
	}
	return accounts[3+d.below(len(accounts)-3)]
}

// cents picks an amount: most are small, some are not.
func (d dice) cents() int64 {
	switch n := d.below(100); {
	case n < 60:
		return int64(d.between(5_00, 250_00))
	case n < 90:
		return int64(d.between(250_00, 4_000_00))
	}
	return int64(d.between(4_000_00, 48_000_00))
}

// reversal picks an earlier payout to take back, one time in fifty.
func (d dice) reversal(payouts []payout, reversed map[int]bool) (int, bool) {
	if d.below(50) != 0 || len(payouts) < 100 {
		return 0, false
	}
	earlier := len(payouts) - d.between(1, 100)
	return earlier, !reversed[earlier]
}

func (d dice) memo() string {
	number := fmt.Sprintf("2026-%04d", d.between(1, 1999))
	week := d.between(1, 26)
	switch d.below(20) {
	case 0, 1, 2, 3, 4, 5:
		return "invoice " + number
	case 6, 7:
		return "Rechnung " + number
	case 8:
		return fmt.Sprintf("invoice %s, part %d of 3", number, d.between(1, 3))
	case 9:
		return "facture n° " + number
	case 10:
		return fmt.Sprintf("Rückvergütung März 2026, Kunde %05d", d.below(100_000))
	case 11:
		return fmt.Sprintf("remboursement de frais, semaine %d", week)
	case 12:
		return "請求書 " + number
	case 13:
		return "рахунок № " + number
	case 14:
		return fmt.Sprintf("comisión %d.º trimestre 2026", d.between(1, 2))
	case 15:
		return fmt.Sprintf(`"express" surcharge week %d`, week)
	case 16:
		return "credit note " + number
	case 17:
		return fmt.Sprintf("expenses week %d", week)
	case 18:
		return "🧾 receipt " + number
	}
	return "order " + number + " / delivered"
}

// runGenerate is the subcommand that writes the file.
func runGenerate(args []string) error {
	if len(args) != 1 {
		return usageError{"generate wants one argument: the file to write"}
	}
	var file bytes.Buffer
	if err := writePayouts(&file, generatePayouts()); err != nil {
		return err
	}
	if err := os.WriteFile(args[0], file.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing the payouts: %w", err)
	}
	return nil
}
