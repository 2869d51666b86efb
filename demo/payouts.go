package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// payout is one row of the input: an amount that is to be added to an account,
// once.
type payout struct {
	ID          string
	Account     string
	AmountCents int64 // negative for a reversal
	Memo        string
}

// payoutColumns is the header of a file of payouts.
func payoutColumns() []string { return []string{"payout_id", "account", "amount_cents", "memo"} }

func readPayoutsFile(path string) ([]payout, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the payouts: %w: name a file with -file, or write one with `go run . generate FILE`", err)
	}
	defer f.Close() //nolint:errcheck // only read
	payouts, err := readPayouts(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return payouts, nil
}

// readPayouts reads payouts as CSV. Every row is checked, so that a bad file is
// refused before anything is posted.
func readPayouts(r io.Reader) ([]payout, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = len(payoutColumns())
	in.ReuseRecord = true

	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("is empty: the first line must be %s", strings.Join(payoutColumns(), ","))
	}
	if err != nil {
		return nil, err
	}
	if got, want := strings.Join(header, ","), strings.Join(payoutColumns(), ","); got != want {
		return nil, fmt.Errorf("the first line is %q: must be %q", got, want)
	}

	var payouts []payout
	lines := make(map[string]int)
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		line, _ := in.FieldPos(0)
		p, err := parsePayout(record)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if first, ok := lines[p.ID]; ok {
			return nil, fmt.Errorf("line %d: payout %s is also on line %d: give each an id of its own", line, p.ID, first)
		}
		lines[p.ID] = line
		payouts = append(payouts, p)
	}
	if len(payouts) == 0 {
		return nil, errors.New("has no payouts, only a header")
	}
	return payouts, nil
}

func parsePayout(record []string) (payout, error) {
	cents, err := strconv.ParseInt(record[2], 10, 64)
	if err != nil {
		return payout{}, fmt.Errorf("amount_cents %q is not a whole number of cents", record[2])
	}
	p := payout{ID: record[0], Account: record[1], AmountCents: cents, Memo: record[3]}
	for _, field := range []struct {
		name, value string
		most        int // characters, as in schema.sql
	}{{"payout_id", p.ID, 32}, {"account", p.Account, 32}, {"memo", p.Memo, 200}} {
		switch {
		case field.value == "" && field.name != "memo":
			return payout{}, fmt.Errorf("%s is empty", field.name)
		case !utf8.ValidString(field.value):
			return payout{}, fmt.Errorf("%s %q is not UTF-8", field.name, field.value)
		case utf8.RuneCountInString(field.value) > field.most:
			return payout{}, fmt.Errorf("%s has more than %d characters", field.name, field.most)
		}
	}
	return p, nil
}

func writePayouts(w io.Writer, payouts []payout) error {
	out := csv.NewWriter(w)
	if err := out.Write(payoutColumns()); err != nil {
		return err
	}
	for _, p := range payouts {
		if err := out.Write([]string{p.ID, p.Account, strconv.FormatInt(p.AmountCents, 10), p.Memo}); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
