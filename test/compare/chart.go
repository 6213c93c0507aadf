package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
)

// drawGrowth measures and draws how the cost grows with the load: the cost of one leg as
// triggers get more of them, and the cost of starting one capsule as there are more of
// them. A flat line means linear total cost.
func (b *bench) drawGrowth(ctx context.Context, path string, progress io.Writer) error {
	legs := panel{title: "A trigger, by its number of legs", unit: nanoseconds, per: "each leg", along: "legs"}
	starts := panel{title: "Starting, by the number of capsules", unit: nanoseconds, per: "each capsule", along: "capsules"}
	memory := panel{title: "Resident memory, by the number of capsules", unit: octets, per: "each capsule", along: "capsules"}
	steps := []int{1, 3, 10, 30, 100, 300, 1000, 3000}
	for _, n := range steps {
		if n > b.many {
			break
		}
		fmt.Fprintf(progress, "trigger to %s ...\n", count(n))
		results, err := b.trigger(n).run(ctx)
		if err != nil {
			return err
		}
		for _, who := range []string{us, hand} {
			legs.add(who, n, results[0].entry(who).value.Median/float64(n))
		}
	}
	for _, n := range append(steps, 10_000) { // more than a trigger may have legs
		if n < 100 || n > b.many {
			continue
		}
		fmt.Fprintf(progress, "start %s ...\n", count(n))
		dir, err := b.small(n)
		if err != nil {
			return err
		}
		for _, who := range []string{us, hand} {
			var start, held []float64
			for range 3 {
				f, err := b.crowdOf(ctx, who, dir, n)
				if err != nil {
					return err
				}
				start, held = append(start, f.Start/float64(n)), append(held, f.Memory/float64(n))
			}
			starts.add(who, n, spreadOf(start).Median)
			memory.add(who, n, spreadOf(held).Median)
		}
	}
	return os.WriteFile(path, []byte(draw(environment(), legs, starts, memory)), 0o644)
}

// panel is one chart: lines over a logarithmic axis, from zero up.
type panel struct {
	title, per, along string
	unit              unit
	lines             []line
}

type line struct {
	who    string
	points []point
}

type point struct {
	n     int
	value float64
}

func (p *panel) add(who string, n int, value float64) {
	i := slices.IndexFunc(p.lines, func(l line) bool { return l.who == who })
	if i < 0 {
		i = len(p.lines)
		p.lines = append(p.lines, line{who: who})
	}
	p.lines[i].points = append(p.lines[i].points, point{n, value})
}

// Sizes of the drawing, in its own units.
const (
	panelWidth, panelHeight = 720, 260
	left, right             = 80, 150 // space for the numbers, and for the names
	above, below            = 44, 46
)

// draw draws the panels, one below the other, in colours that are visible on a light and
// on a dark page.
func draw(caption string, panels ...panel) string {
	var b strings.Builder
	height := len(panels)*panelHeight + 30
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#777">`+"\n", panelWidth, height)
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(0 %d)">`+"\n", i*panelHeight)
		p.draw(&b)
		b.WriteString("</g>\n")
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" font-size="10">%s</text>`+"\n</svg>\n", left, height-10, escape(caption))
	return b.String()
}

func (p *panel) draw(b *strings.Builder) {
	first, last, top := math.Inf(1), math.Inf(-1), 0.0
	for _, l := range p.lines {
		for _, point := range l.points {
			first, last = min(first, math.Log10(float64(point.n))), max(last, math.Log10(float64(point.n)))
			top = max(top, point.value)
		}
	}
	if p.unit == octets {
		kilo := math.Pow(1024, math.Floor(math.Log2(max(top, 1))/10))
		top = kilo * roundUp(top/kilo)
	} else {
		top = roundUp(top)
	}
	width := max(last-first, 1e-9)
	x := func(n int) float64 {
		return left + (math.Log10(float64(n))-first)/width*(panelWidth-left-right)
	}
	y := func(v float64) float64 { return above + (1-v/top)*(panelHeight-above-below) }

	fmt.Fprintf(b, `<text x="%d" y="18" font-size="14">%s</text>`+"\n", left, escape(p.title))
	fmt.Fprintf(b, `<text x="%d" y="34">%s</text>`+"\n", left, escape(p.per))
	for i := range 5 {
		v := top * float64(i) / 4
		fmt.Fprintf(b, `<path d="M%d %.1fH%d" stroke="#777" stroke-opacity="0.3"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, y(v), panelWidth-right, left-8, y(v)+4, escape(p.unit.text(v)))
	}
	for decade := math.Ceil(first); decade <= last; decade++ {
		n := int(math.Pow(10, decade))
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(n), panelHeight-below+18, count(n))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", panelWidth-right, panelHeight-below+34, escape(p.along))
	names := p.nameHeights(y)
	for i, l := range p.lines {
		colour := []string{"#2f81f7", "#db6d28", "#3fb950", "#a371f7"}[i%4]
		var path strings.Builder
		for j, point := range l.points {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(j, 1)], x(point.n), y(point.value))
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x(point.n), y(point.value), colour)
		}
		fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/><text x="%d" y="%.1f" fill="%s">%s</text>`+"\n",
			path.String(), colour, panelWidth-right+10, names[i], colour, escape(l.who))
	}
}

// nameHeights returns the heights of the lines' names: beside the ends of the lines,
// without overlaps.
func (p *panel) nameHeights(y func(float64) float64) []float64 {
	order := make([]int, len(p.lines))
	out := make([]float64, len(p.lines))
	for i, l := range p.lines {
		order[i] = i
		out[i] = y(l.points[len(l.points)-1].value) + 4
	}
	slices.SortFunc(order, func(a, b int) int { return int(math.Copysign(1, out[a]-out[b])) })
	for i := 1; i < len(order); i++ {
		out[order[i]] = max(out[order[i]], out[order[i-1]]+16)
	}
	return out
}

// roundUp returns the next of 1, 2, 4 and 8 by a power of ten.
func roundUp(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 4, 8} {
		if v <= step*power {
			return step * power
		}
	}
	return 10 * power
}

func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}
