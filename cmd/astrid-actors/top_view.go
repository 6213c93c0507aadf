package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor/web"
)

// screen draws the screen: as many lines as the terminal has, none of them wider than
// it.
func (m *topModel) screen() string {
	lines := m.head()
	room := max(1, m.height-len(lines)-2)
	var body []string
	if m.open != "" {
		body = m.drawDetails(room)
	} else {
		lines = append(lines, m.titles())
		room = max(1, room-1)
		body = m.list(room)
	}
	for len(body) < room {
		body = append(body, "")
	}
	lines = append(lines, body[:room]...)
	lines = append(lines, m.prompt(), m.keys())
	if len(lines) > m.height && m.height > 0 {
		lines = lines[len(lines)-m.height:]
	}
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, m.width, "…")
	}
	return strings.Join(lines, "\n")
}

// head returns the lines above the list.
func (m *topModel) head() []string {
	p, tree := m.painter, m.tree
	up := "starting"
	switch {
	case tree.Stopping:
		up = "stopping"
	case !tree.Started.IsZero():
		up = "up " + duration(max(0, m.clock().Sub(tree.Started)).Round(time.Second))
	}
	link := p.paint(good, "connected")
	switch {
	case m.paused:
		link = p.paint(warning, "paused")
	case m.stale != nil:
		link = p.paint(bad, "stale for "+duration(max(0, m.now.Sub(m.at)).Round(time.Second))) + ": " + shortened(m.stale.Error(), 60)
	}
	first := p.paint(strong, "astrid-actors") + "  " + up + "  " + link

	in := map[messages.CapsuleState]int{}
	for _, c := range tree.Capsules {
		in[c.State]++
	}
	counts := []string{fmt.Sprintf("capsules %d", len(tree.Capsules))}
	for state := messages.StateUnknown; state <= messages.StateStopped; state++ {
		if in[state] > 0 {
			counts = append(counts, p.paint(stateStyles[state], fmt.Sprintf("%s %d %s", stateGlyph(state), in[state], state)))
		}
	}
	if n := len(tree.Rejected); n > 0 {
		counts = append(counts, p.paint(bad, fmt.Sprintf("rejected %d", n)))
	}
	base := m.base()
	seconds := tree.At.Sub(base.At).Seconds()
	triggers := 0.0
	if seconds > 0 {
		triggers = rate(tree.Triggers, base.Triggers, seconds)
	}
	third := []string{
		fmt.Sprintf("triggers %s/s, open %d", few(triggers), tree.OpenTriggers),
		fmt.Sprintf("restarts %d/h", len(m.deaths)), "memory " + bytesText(tree.ProcessMemoryBytes),
	}
	for _, name := range []string{"registry", "hook-router", "event-bus", "capsules"} {
		if n := tree.SystemRestarts[name]; n > 0 {
			third = append(third, p.paint(warning, fmt.Sprintf("%s restarted: %d", name, n)))
		}
	}
	lines := []string{first, strings.Join(counts, "  "), strings.Join(third, "  ")}
	if groups := m.groups(); groups != "" {
		lines = append(lines, groups)
	}
	return lines
}

// groups returns the line about the groups, the worst first; "" if there are none.
func (m *topModel) groups() string {
	all := slices.Clone(m.tree.Supervisors)
	slices.SortStableFunc(all, func(a, b *messages.Supervisor) int {
		return cmp.Compare(groupRank(a.State), groupRank(b.State))
	})
	var parts []string
	for _, g := range all {
		look := groupStyles[g.State]
		parts = append(parts, fmt.Sprintf("%s %s %s %d/%d", printable(g.Name), m.painter.paint(look, g.State), g.Strategy, g.BudgetSpent, g.Budget))
	}
	if len(parts) == 0 {
		return ""
	}
	return "groups " + strings.Join(parts, "  ")
}

// groupStates are the states of a group, the worst first.
var groupStates = []string{
	messages.SupervisorHasFailed, messages.SupervisorRestarting, messages.SupervisorStarting, messages.SupervisorHasStopped, messages.SupervisorRunning,
}

func groupRank(state string) int { return slices.Index(groupStates, state) }

// groupStyles are the styles of the states of groups.
var groupStyles = map[string]style{
	messages.SupervisorHasFailed: bad, messages.SupervisorRestarting: warning, messages.SupervisorRunning: good,
}

// widths returns the width of each column; 0 if there is no room for it.
func (m *topModel) widths() []int {
	const leastID, mostID, cursor = 14, 24, 2
	widths := make([]int, len(m.columns))
	left := m.width - cursor - leastID
	for i, c := range m.columns {
		if c.title == "ID" {
			widths[i] = leastID
		}
	}
	// The most important columns come first; the cause of a trouble is shown below its row.
	for _, title := range []string{"STATE", "RESTARTS", "QUEUE", "CALLS/S", "P99", "P50", "MEMORY", "GEN", "RED/S", "LAST CAUSE"} {
		i := slices.IndexFunc(m.columns, func(c topColumn) bool { return c.title == title })
		if need := m.columns[i].width + 1; need <= left {
			widths[i] = m.columns[i].width
			left -= need
		}
	}
	for i, c := range m.columns {
		switch {
		case c.title == "ID":
			more := min(max(0, left), mostID-leastID)
			widths[i] += more
			left -= more
		case c.title == "LAST CAUSE" && widths[i] > 0:
			widths[i] += max(0, left)
		}
	}
	return widths
}

// titles returns the line of titles, and marks the column of the sort order.
func (m *topModel) titles() string {
	return m.line(m.painter, m.widths(), "  ", func(i int) (string, style) {
		if i == m.order {
			return m.columns[i].title, "1;4"
		}
		return m.columns[i].title, faint
	})
}

// line formats cells as one line.
func (m *topModel) line(p painter, widths []int, cursor string, cell func(column int) (string, style)) string {
	var b strings.Builder
	b.WriteString(cursor)
	for i, width := range widths {
		if width == 0 {
			continue
		}
		text, look := cell(i)
		text = ansi.Truncate(text, width, "…")
		gap := strings.Repeat(" ", width-ansi.StringWidth(text))
		if m.columns[i].numeric {
			b.WriteString(gap + p.paint(look, text) + " ")
			continue
		}
		b.WriteString(p.paint(look, text) + gap + " ")
	}
	return strings.TrimRight(b.String(), " ")
}

// list draws only the rows that fit, the selected one among them.
func (m *topModel) list(room int) []string {
	if len(m.rows) == 0 {
		none := "There are no capsules."
		if m.filter != "" {
			none = fmt.Sprintf("No capsule matches %q: esc shows all.", m.filter)
		}
		return []string{"", "  " + none}
	}
	place, widths := m.place(), m.widths()
	m.first = min(m.first, place)
	// From the selected row upwards, as far as there is room.
	top, height := place, len(m.row(place, widths, place))
	for top > m.first {
		height += len(m.row(top-1, widths, place))
		if height > room {
			break
		}
		top--
	}
	m.first = top
	var lines []string
	for i := m.first; i < len(m.rows) && len(lines) < room; i++ {
		lines = append(lines, m.row(i, widths, place)...)
	}
	return lines
}

// row draws one row, with its trouble below it.
func (m *topModel) row(i int, widths []int, selected int) []string {
	r, p, cursor := &m.rows[i], m.painter, "  "
	if i == selected {
		cursor, p = "> ", false
	}
	line := m.line(p, widths, cursor, func(column int) (string, style) {
		text := m.columns[column].text(r)
		switch {
		case m.columns[column].title == "STATE":
			return text, stateStyles[r.capsule.State]
		case m.columns[column].title == "ID" && r.trouble != nil:
			return text, strong
		case text == "0" || text == "-":
			return text, faint
		}
		return text, plain
	})
	if i == selected {
		line = m.painter.paint(marked, line+strings.Repeat(" ", max(0, m.width-ansi.StringWidth(line))))
	}
	if r.trouble == nil {
		return []string{line}
	}
	return append([]string{line}, m.trouble(r.trouble)...)
}

// trouble describes the cause, the decision, and the next step.
func (m *topModel) trouble(t *web.Trouble) []string {
	look := warning
	if t.Bad {
		look = bad
	}
	const indent = "    "
	decided, next := shortened(t.Decision, 300), m.next(t)
	lines := m.wrapped(indent + m.painter.paint(look, t.What) + ": " + shortened(cmp.Or(t.Cause, "no cause is known"), 300))
	if text := indent + "decided: " + decided + "; next: " + next; ansi.StringWidth(text) <= m.width {
		return append(lines, indent+m.painter.paint(faint, "decided: ")+decided+m.painter.paint(faint, "; next: ")+next)
	}
	for _, line := range []string{m.painter.paint(faint, "decided: ") + decided, m.painter.paint(faint, "next: ") + next} {
		lines = append(lines, m.wrapped(indent+line)...)
	}
	return lines
}

// next describes the next step, and its time.
func (m *topModel) next(t *web.Trouble) string {
	text := shortened(t.Next, 300)
	if t.Due.IsZero() {
		return text
	}
	if left := t.Due.Sub(m.clock()); left > 0 {
		return text + " in " + duration(max(time.Second, left.Round(time.Second)))
	}
	return text + " now"
}

// prompt returns the line for the filter, questions and results.
func (m *topModel) prompt() string {
	switch {
	case m.asking.do != topNothing:
		return m.painter.paint(strong, m.asking.do.String()+" "+printable(m.asking.id)+"? y/n")
	case m.typing:
		return "/" + m.filter + m.painter.paint(marked, "_")
	case m.note != "":
		return m.note
	case m.filter != "":
		return fmt.Sprintf("shown are %d of %d: %s", len(m.rows), len(m.tree.Capsules), m.filter)
	}
	return ""
}

// keys lists the keys.
func (m *topModel) keys() string {
	pause := "pause"
	if m.paused {
		pause = "go on"
	}
	keys := []string{ // the most important ones first: a narrow screen cuts the rest off
		"enter", "detail", "/", "filter", "s", "sort:" + strings.ToLower(m.sortedBy()), "r", "restart",
		"u", "reload", "x", "remove", "q", "quit", "space", pause,
	}
	switch {
	case m.asking.do != topNothing:
		keys = []string{"y", m.asking.do.String() + " it", "any other key", "leave it"}
	case m.typing:
		keys = []string{"enter", "keep", "esc", "show all"}
	case m.open != "":
		keys = append([]string{"esc", "back", "up/down", "scroll"}, keys[6:]...)
	}
	var parts []string
	for i := 0; i < len(keys); i += 2 {
		parts = append(parts, m.painter.paint(strong, keys[i])+" "+keys[i+1])
	}
	return strings.Join(parts, "  ")
}

// sortedBy returns the name of the order.
func (m *topModel) sortedBy() string {
	if m.order == 0 {
		return "trouble"
	}
	return m.columns[m.order].title
}
