package main

import (
	"fmt"
	"strings"
	"time"
)

// results is what was measured.
type results struct {
	bench    *bench
	began    time.Time
	versions []string
	rows     []row
}

func (r *results) write(dir string) error {
	for _, row := range r.rows {
		fmt.Println("\n## " + row.setting.String())
		for _, c := range row.Cells {
			fmt.Printf("%-40s ratio %.2f (%.2f-%.2f) %8.0f/s p50 %8s p99 %8s st %.1f cm %.1f trips %.1f sent %.0f recv %.0f redo %.0f allocs %.0f\n", c.Contender, c.Ratio.Median, c.Ratio.Low, c.Ratio.High,
				c.Rate.Median, c.P50.Round(time.Microsecond), c.P99.Round(time.Microsecond), c.Statements, c.Commits, c.Trips, c.Sent, c.Received, c.Redo, c.Allocs)
		}
	}
	_ = strings.Join
	return nil
}
