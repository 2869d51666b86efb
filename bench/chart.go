package main

import (
	"html"
	"math"

	"github.com/gox-helix/gox-helix/bench/measure"
)

// The chart has a block for each engine, a panel for each of some settings, and in it a
// bar for each contender: its rate by that of the reference, with the quartiles.
const (
	chartLabel  = 230 // pixels, for the names
	chartPanel  = 190
	chartGap    = 24
	chartBar    = 16
	chartLine   = 24
	chartTitle  = 32
	chartHead   = 40
	chartMost   = 1.5 // a ratio: longer bars are cut, and say so
	chartFoot   = 36
	chartInk    = "#24292f"
	chartPale   = "#8c959f"
	chartOurs   = "#0969da"
	chartOthers = "#afb8c1"
)

// panels are the settings of an engine that are drawn, and were measured.
func (r *results) panels(engine string) (panels []*row) {
	for _, s := range []struct {
		workers int
		keys    Keys
	}{{1, ownKeys}, {8, ownKeys}, {8, hotKey}, {64, hotKey}} {
		if row := r.at(engine, s.workers, s.keys); row != nil {
			panels = append(panels, row)
		}
	}
	return panels
}

func (r *results) chart() []byte {
	most := 0
	for _, engine := range r.engines() {
		most = max(most, len(r.panels(engine)))
	}
	block := chartHead + len(r.bench.contenders)*chartLine + chartFoot
	width := chartLabel + most*(chartPanel+chartGap)
	height := chartTitle + len(r.engines())*block
	var p page
	p.say(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12" fill="%s">`, width, height, width, height, chartInk)
	p.say(`<rect width="%d" height="%d" fill="white"/>`, width, height)
	p.say(`<text x="8" y="20" font-size="15" font-weight="600">Protected transactions a second, by those of a hand-written SELECT ... FOR UPDATE</text>`)
	for i, engine := range r.engines() {
		r.chartBlock(&p, engine, chartTitle+i*block)
	}
	p.say(`</svg>`)
	return p.Bytes()
}

// scale is how long a bar of a ratio is.
func scale(ratio float64) float64 { return math.Min(ratio, chartMost) / chartMost * chartPanel }

// chartBlock draws the panels of an engine, from top down.
func (r *results) chartBlock(p *page, engine string, top int) {
	panels := r.panels(engine)
	first := top + chartHead
	bottom := first + len(r.bench.contenders)*chartLine
	p.say(`<text x="%d" y="%d" text-anchor="end" font-size="13" font-weight="600">%s</text>`, chartLabel-10, first-14, html.EscapeString(engine))
	for i, panel := range panels {
		left := float64(chartLabel + i*(chartPanel+chartGap))
		p.say(`<text x="%.0f" y="%d" font-weight="600">%s</text>`, left, first-14, html.EscapeString(panel.load()))
		for tick := 0.0; tick <= chartMost; tick += 0.5 {
			p.say(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-width="%.1f"/>`, left+scale(tick), first-6, left+scale(tick), bottom, chartPale, map[bool]float64{true: 1.2, false: 0.3}[tick == 1])
			p.say(`<text x="%.1f" y="%d" text-anchor="middle" fill="%s" font-size="11">%g</text>`, left+scale(tick), bottom+16, chartPale, tick)
		}
	}
	for i, c := range r.bench.contenders {
		line := first + i*chartLine
		p.say(`<text x="%d" y="%d" text-anchor="end">%s</text>`, chartLabel-10, line+chartBar-4, html.EscapeString(c.Name))
		color := chartOthers
		if c.Ours {
			color = chartOurs
		}
		for j, panel := range panels {
			for _, cell := range panel.Cells {
				if cell.Contender == c.Name {
					bar(p, cell.Ratio, float64(chartLabel+j*(chartPanel+chartGap)), line, color)
				}
			}
		}
	}
}

// bar draws a ratio, its quartiles and its figure.
func bar(p *page, ratio measure.Spread, left float64, top int, color string) {
	middle := float64(top) + chartBar/2
	p.say(`<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`, left, top, scale(ratio.Median), chartBar, color)
	p.say(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`, left+scale(ratio.Low), middle, left+scale(ratio.High), middle, chartInk)
	p.say(`<text x="%.1f" y="%d" font-size="11">%.2f</text>`, math.Min(left+scale(math.Max(ratio.High, ratio.Median))+4, left+chartPanel-22), top+chartBar-4, ratio.Median)
}
