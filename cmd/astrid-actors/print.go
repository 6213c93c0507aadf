package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/mattn/go-isatty"
)

// printable returns text as one line without control sequences for the terminal: guests
// write some of it.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		default:
			return unicode.ReplacementChar
		}
	}, text)
}

// shortened returns printable text of at most limit characters.
func shortened(text string, limit int) string {
	runes := []rune(printable(text))
	if len(runes) <= limit {
		return string(runes)
	}
	return string(runes[:limit-1]) + "…"
}

// duration formats a duration for people, with its significant parts only: 1.2ms, 350ms,
// 60s, 5m12s, 3h2m, 4d7h.
func duration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < 2*time.Minute:
		return two(d, time.Hour, "", time.Second, "s")
	case d < time.Hour:
		return two(d, time.Minute, "m", time.Second, "s")
	case d < 2*day:
		return two(d, time.Hour, "h", time.Minute, "m")
	default:
		return two(d, day, "d", time.Hour, "h")
	}
}

// two formats a duration in two units, and leaves out a unit that is 0.
func two(d, unit time.Duration, name string, small time.Duration, smallName string) string {
	d = d.Round(small)
	out := ""
	if n := d / unit; n > 0 {
		out = fmt.Sprintf("%d%s", n, name)
	}
	if n := d % unit / small; n > 0 || out == "" {
		out += fmt.Sprintf("%d%s", n, smallName)
	}
	return out
}

// table formats rows of cells, the first of them the header.
func table(rows [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // a Builder never fails
	lines := strings.Split(b.String(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

// isTerminal reports whether w is a terminal.
func isTerminal(w any) bool {
	file, ok := w.(interface{ Fd() uintptr })
	return ok && isatty.IsTerminal(file.Fd())
}
