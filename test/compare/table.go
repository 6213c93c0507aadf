package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// printText prints the table for a terminal.
func printText(w io.Writer, results []*result) error {
	fmt.Fprintln(w, environment())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tby\tmedian\tratio\tallocs\ttarget\t")
	for _, r := range results {
		for i, line := range r.lines() {
			name := ""
			if i == 0 {
				name = r.row
			}
			fmt.Fprintf(t, "%s\t%s\t\n", name, strings.Join(line, "\t"))
		}
	}
	return t.Flush()
}

// lines returns the lines of a row: one for each contender, and more if there are more
// targets than contenders. Each has the cells by, median, ratio, allocs, target.
func (r *result) lines() [][]string {
	out := make([][]string, max(len(r.entries), len(r.targets)))
	for i := range out {
		out[i] = make([]string, 5)
		if i < len(r.entries) {
			e := r.entries[i]
			out[i][0], out[i][1] = e.who, r.unit.text(e.value.Median)
			if e.p99 > 0 {
				out[i][1] += ", p99 " + r.unit.text(e.p99)
			}
			if i > 0 {
				out[i][2] = number(e.ratio.Median) + " ×"
			}
			if e.allocs >= 0 {
				out[i][3] = number(e.allocs)
			}
		}
		if i < len(r.targets) {
			v := r.targets[i]
			out[i][4] = fmt.Sprintf("%s: %s, %s", v.want, v.got, v.word())
		}
	}
	return out
}

func (v verdict) word() string {
	if v.met {
		return "met"
	}
	return "MISSED"
}

// printMarkdown prints the table for a document: one line for each row.
func printMarkdown(w io.Writer, results []*result) error {
	fmt.Fprintf(w, "%s\n\n| what | astrid-actors | others | target |\n|---|---|---|---|\n", environment())
	for _, r := range results {
		var others, targets []string
		for i, e := range r.entries {
			if i > 0 {
				others = append(others, fmt.Sprintf("%s %s: %s ×", e.who, r.cell(e), number(e.ratio.Median)))
			}
		}
		for _, v := range r.targets {
			targets = append(targets, fmt.Sprintf("%s: %s, %s", v.want, v.got, v.word()))
		}
		if _, err := fmt.Fprintf(w, "| %s | %s | %s | %s |\n", r.row, r.cell(r.entries[0]),
			strings.Join(others, "<br>"), strings.Join(targets, "<br>")); err != nil {
			return err
		}
	}
	return nil
}

// cell formats the result of one contender in one cell.
func (r *result) cell(e entry) string {
	text := r.unit.text(e.value.Median)
	if e.p99 > 0 {
		text += ", p99 " + r.unit.text(e.p99)
	}
	if e.allocs > 0 {
		text += ", " + number(e.allocs) + " allocs"
	}
	return text
}

// environment returns the date and the machine of the measurement.
func environment() string {
	return fmt.Sprintf("%s, %s, %d cores: %s. Ratios are a contender's median by ours: above 1 × we are better.",
		time.Now().Format(time.DateOnly), runtime.Version(), runtime.GOMAXPROCS(0), processor())
}

// processor returns the processor's name, if the system reports it.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return runtime.GOOS + "/" + runtime.GOARCH
}
