package main

import (
	"fmt"
	"html"
	"math"
)

// The chart has a panel for each of some settings, and in it a bar for each contender:
// its rate by that of the reference, with the quartiles.
const (
	chartLabel  = 230 // pixels, for the names
	chartPanel  = 250
	chartGap    = 24
	chartBar    = 16
	chartLine   = 24
	chartHead   = 64
	chartMost   = 2.0 // a ratio: longer bars are cut, and say so
	chartFoot   = 36
	chartInk    = "#24292f"
	chartPale   = "#8c959f"
	chartOurs   = "#0969da"
	chartOthers = "#afb8c1"
)

func (r *results) chart() []byte {
	type panel struct {
		title string
		row   *row
	}
	var panels []panel
	for _, engine := range r.engines() {
		for _, s := range []struct {
			workers int
			keys    Keys
		}{{1, ownKeys}, {8, ownKeys}, {8, oneKey}} {
			if row := r.at(engine, s.workers, s.keys); row != nil {
				title := fmt.Sprintf("%s, %d workers, %s", engine, s.workers, s.keys)
				if s.workers == 1 {
					title = engine + ", 1 worker"
				}
				panels = append(panels, panel{title, row})
			}
		}
	}
	width := chartLabel + len(panels)*(chartPanel+chartGap)
	height := chartHead + len(r.bench.contenders)*chartLine + chartFoot
	var p page
	p.say(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12" fill="%s">`, width, height, width, height, chartInk)
	p.say(`<rect width="%d" height="%d" fill="white"/>`, width, height)
	p.say(`<text x="8" y="20" font-size="15" font-weight="600">Protected transactions a second, by those of a hand-written SELECT ... FOR UPDATE</text>`)
	scale := func(ratio float64) float64 { return math.Min(ratio, chartMost) / chartMost * chartPanel }
	for i, panel := range panels {
		left := float64(chartLabel + i*(chartPanel+chartGap))
		p.say(`<text x="%.0f" y="%d" font-weight="600">%s</text>`, left, chartHead-16, html.EscapeString(panel.title))
		bottom := chartHead + len(r.bench.contenders)*chartLine
		for _, tick := range []float64{0, 0.5, 1, 1.5, 2} {
			p.say(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-width="%.1f"/>`, left+scale(tick), chartHead-6, left+scale(tick), bottom, chartPale, map[bool]float64{true: 1.2, false: 0.3}[tick == 1])
			p.say(`<text x="%.1f" y="%d" text-anchor="middle" fill="%s" font-size="11">%g</text>`, left+scale(tick), bottom+16, chartPale, tick)
		}
	}
	for i, c := range r.bench.contenders {
		top := chartHead + i*chartLine
		p.say(`<text x="%d" y="%d" text-anchor="end">%s</text>`, chartLabel-10, top+chartBar-4, html.EscapeString(c.Name))
		for j, panel := range panels {
			left := float64(chartLabel + j*(chartPanel+chartGap))
			for _, cell := range panel.row.Cells {
				if cell.Contender != c.Name {
					continue
				}
				color := chartOthers
				if c.Ours {
					color = chartOurs
				}
				middle := float64(top) + chartBar/2
				p.say(`<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`, left, top, scale(cell.Ratio.Median), chartBar, color)
				p.say(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`, left+scale(cell.Ratio.Low), middle, left+scale(cell.Ratio.High), middle, chartInk)
				p.say(`<text x="%.1f" y="%d" font-size="11">%.2f</text>`, math.Min(left+scale(math.Max(cell.Ratio.High, cell.Ratio.Median))+4, left+chartPanel-22), top+chartBar-4, cell.Ratio.Median)
			}
		}
	}
	p.say(`</svg>`)
	return p.Bytes()
}
