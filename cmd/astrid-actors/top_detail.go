package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/web"
)

// drawDetails draws the open capsule, from the current scroll position.
func (m *topModel) drawDetails(room int) []string {
	lines := m.detailLines()
	m.scroll = min(m.scroll, max(0, len(lines)-room))
	return lines[m.scroll:]
}

// detailLines returns all details of the open capsule.
func (m *topModel) detailLines() []string {
	p := m.painter
	i := slices.IndexFunc(m.tree.Capsules, func(c *messages.Capsule) bool { return c.ID == m.open })
	if i < 0 {
		for r := range m.rows {
			if row := &m.rows[r]; row.capsule.ID == m.open && row.trouble != nil { // it is only listed
				lines := []string{"", p.paint(strong, printable(m.open)) + "  " + printable(row.capsule.Directory)}
				return append(lines, m.trouble(row.trouble)...)
			}
		}
		return []string{"", "  " + printable(m.open) + " is gone."}
	}
	c, detail := m.tree.Capsules[i], m.details[m.open]
	since := duration(max(0, m.clock().Sub(c.Since)).Round(time.Second))
	lines := []string{
		"",
		p.paint(stateStyles[c.State], stateGlyph(c.State)+" "+c.State.String()) + " for " + since + "  " +
			p.paint(strong, printable(c.ID)) + " " + printable(c.Version) + "  generation " + few(float64(c.Generation)),
		fmt.Sprintf("%s, restarts %d/%d in %s; queue %d, calls %d, p50 %s, p99 %s", orDash(printable(c.Restart)),
			c.BudgetSpent, c.Budget, duration(c.Window), c.Queue, c.Calls,
			duration(c.CallDuration.Quantile(0.5)), duration(c.CallDuration.Quantile(0.99))),
		fmt.Sprintf("memory %s, peak %s, limit %s; reductions %s", bytesText(c.MemoryBytes),
			bytesText(c.MemoryPeakBytes), bytesText(c.MemoryLimitBytes), few(float64(c.Reductions))),
	}
	if g := groupOf(m.tree, c); g != nil {
		lines = append(lines, fmt.Sprintf("in group %s, %s, %s, deaths %d/%d in %s",
			printable(g.Name), g.Strategy, g.State, g.BudgetSpent, g.Budget, duration(g.Window)))
	}
	if t := web.Diagnose(c, detail, m.tree.Settings, m.tree.At); t != nil {
		lines = append(lines, m.trouble(t)...)
	} else if c.Reason != "" {
		lines = append(lines, m.wrapped("    "+printable(c.Reason))...)
	}
	if c.Because != "" {
		lines = append(lines, m.wrapped("    restarted because "+shortened(c.Because, 200))...)
	}
	if detail == nil {
		return append(lines, "", "  asking the daemon …")
	}
	lines = append(lines, m.failures(detail)...)
	lines = append(lines, m.calls(detail)...)
	lines = append(lines, m.versions(detail)...)
	return append(lines, m.log(detail)...)
}

// groupOf returns the group that a capsule is in; nil for none.
func groupOf(tree *messages.Tree, c *messages.Capsule) *messages.Supervisor {
	i := slices.IndexFunc(tree.Supervisors, func(g *messages.Supervisor) bool { return g.Path == path.Dir(c.Path) })
	if i < 0 {
		return nil
	}
	return tree.Supervisors[i]
}

// versions returns the last changes of its version, newest first.
func (m *topModel) versions(d *messages.CapsuleDetail) []string {
	lines := m.heading("VERSIONS", len(d.Versions))
	for _, r := range slices.Backward(d.Versions) {
		line := fmt.Sprintf("  %s  %-14s  %s", m.ago(r.At), versionWord(r.Change), printable(r.Version))
		if r.Previous != "" && r.Previous != r.Version {
			line += " from " + printable(r.Previous)
		}
		if r.ModuleHash != "" {
			line += m.painter.paint(faint, "  blake3 "+r.ModuleHash[:min(16, len(r.ModuleHash))])
		}
		if r.Reason != "" {
			line += ": " + shortened(r.Reason, 300)
		}
		lines = append(lines, m.wrapped(line)...)
	}
	return lines
}

// versionWord shortens the name of an event for a list about one capsule: "rolled back".
func versionWord(event string) string {
	return strings.ReplaceAll(strings.TrimPrefix(event, "capsule_"), "_", " ")
}

// failures returns the last failures, newest first, with their stacks.
func (m *topModel) failures(d *messages.CapsuleDetail) []string {
	lines := m.heading("FAILURES", len(d.Failures))
	for _, r := range slices.Backward(d.Failures) {
		f := r.Failure
		lines = append(lines, m.wrapped(fmt.Sprintf("  %s  generation %d, in %s: %s", m.ago(f.At),
			r.Generation, printable(r.During), printable(f.Message)))...)
		if r.Decision != "" {
			lines = append(lines, m.wrapped("    "+m.painter.paint(faint, "decided: ")+printable(r.Decision))...)
		}
		for _, frame := range f.WasmStack {
			lines = append(lines, m.painter.paint(faint, "      "+printable(frame)))
		}
		if f.Stderr != "" {
			for text := range strings.SplitSeq(f.Stderr, "\n") {
				lines = append(lines, m.wrapped("    "+m.painter.paint(faint, "stderr: ")+printable(text))...)
			}
		}
	}
	return lines
}

// calls returns the last calls, newest first.
func (m *topModel) calls(d *messages.CapsuleDetail) []string {
	lines := m.heading("RECENT CALLS", len(d.RecentCalls))
	for _, c := range slices.Backward(d.RecentCalls) {
		line := fmt.Sprintf("  %s  %-11s  %6s  %s (%s)", m.ago(c.At), c.Outcome.String(),
			duration(c.Duration), printable(c.Topic), printable(c.Action))
		if c.FromCapsule != "" {
			line += " from " + printable(c.FromCapsule)
		}
		if c.Reason != "" {
			line += ": " + printable(c.Reason)
		}
		lines = append(lines, line)
	}
	return lines
}

// log returns the end of the capsule's log, newest first.
func (m *topModel) log(d *messages.CapsuleDetail) []string {
	lines := m.heading("LOG", len(d.Log))
	for _, l := range slices.Backward(d.Log) {
		look := map[string]style{"ERROR": bad, "WARN": warning}[l.Level]
		lines = append(lines, fmt.Sprintf("  %s  %s  %s%s", m.ago(l.At),
			m.painter.paint(look, fmt.Sprintf("%-5s", printable(l.Level))), bracketed(l.Principal), printable(l.Message)))
	}
	return lines
}

func (m *topModel) heading(title string, n int) []string {
	if n == 0 {
		title += ": none"
	}
	return []string{"", m.painter.paint(strong, title)}
}

// ago formats the time since at.
func (m *topModel) ago(at time.Time) string {
	return fmt.Sprintf("%10s", duration(max(0, m.clock().Sub(at)).Round(time.Second))+" ago")
}

// wrapped breaks a line that is too long, and keeps its indentation.
func (m *topModel) wrapped(line string) []string {
	rest := strings.TrimLeft(line, " ")
	indent := strings.Repeat(" ", len(line)-len(rest))
	lines := strings.Split(ansi.Wrap(rest, max(20, m.width-len(indent)-2), ""), "\n")
	for i := range lines {
		if i > 0 {
			lines[i] = "  " + lines[i]
		}
		lines[i] = indent + lines[i]
	}
	return lines
}
