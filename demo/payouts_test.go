package main

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

const payoutsFile = "../testdata/payouts.csv"

// The file is what the generator makes, to the byte.
func TestPayoutsFileIsGenerated(t *testing.T) {
	got, err := os.ReadFile(payoutsFile)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := writePayouts(&want, generatePayouts()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what the generator makes: run go generate, or mend the generator", payoutsFile)
	}
}

func TestReadPayoutsFile(t *testing.T) {
	got, err := readPayoutsFile(payoutsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, generatePayouts()) {
		t.Error("what was written is not what is read")
	}
}

// The payouts are worth demonstrating with: hot accounts, reversals of what was
// there, memos that are not all ASCII.
func TestGeneratedPayouts(t *testing.T) {
	payouts := generatePayouts()
	byID := make(map[string]payout)
	perAccount := make(map[string]int)
	var reversals, beyondASCII int
	for _, p := range payouts {
		if earlier, ok := strings.CutPrefix(p.Memo, "reversal of "); ok {
			reversals++
			if e, ok := byID[earlier]; !ok || e.Account != p.Account || e.AmountCents != -p.AmountCents {
				t.Errorf("%+v reverses %+v", p, e)
			}
		} else if p.AmountCents <= 0 {
			t.Errorf("%+v", p)
		}
		if len(p.Memo) != utf8.RuneCountInString(p.Memo) {
			beyondASCII++
		}
		byID[p.ID] = p
		perAccount[p.Account]++
	}
	var hot, hotPayouts int
	for _, n := range perAccount {
		if n > len(payouts)/20 {
			hot++
			hotPayouts += n
		}
	}
	if len(byID) != generatedPayouts || len(perAccount) != generatedAccounts {
		t.Errorf("%d ids, %d accounts", len(byID), len(perAccount))
	}
	if share := hotPayouts * 100 / len(payouts); hot != 3 || share < 35 || share > 45 {
		t.Errorf("%d hot accounts have %d %% of the payouts", hot, share)
	}
	if reversals < 50 || beyondASCII < 500 {
		t.Errorf("%d reversals, %d memos beyond ASCII", reversals, beyondASCII)
	}
}

func TestReadPayoutsRefuses(t *testing.T) {
	const header = "payout_id,account,amount_cents,memo\n"
	for name, tc := range map[string]struct{ file, want string }{
		"nothing":         {"", "is empty"},
		"only a header":   {header, "no payouts"},
		"another header":  {"id,account,amount,memo\n", `must be "payout_id,account,amount_cents,memo"`},
		"too few fields":  {header + "P1,1,2\n", "line 2"},
		"a broken amount": {header + "P1,1,2.50,\n", `line 2: amount_cents "2.50"`},
		"no account":      {header + "P1,,2,\n", "line 2: account is empty"},
		"the same id":     {header + "P1,1,2,\nP2,1,2,\nP1,1,2,\n", "line 4: payout P1 is also on line 2"},
		"a long memo":     {header + "P1,1,2," + strings.Repeat("ü", 201) + "\n", "line 2: memo has more than 200"},
		"not UTF-8":       {header + "P1,1,2,\xff\n", "line 2: memo"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := readPayouts(strings.NewReader(tc.file)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
		})
	}
}
