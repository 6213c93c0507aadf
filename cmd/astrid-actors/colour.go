package main

import (
	"os"
	"strings"
	"unicode/utf8"

	"github.com/astrid-actors/astrid-actors/messages"
)

// style is the style of text at a terminal: the parameters of SGR. The terminal's theme
// defines the colours.
type style string

const (
	plain    style = ""
	strong   style = "1"
	faint    style = "2"
	marked   style = "7"
	good     style = "32"
	warning  style = "33"
	bad      style = "1;31"
	underway style = "36"
)

// stateStyles are the styles of the states.
var stateStyles = map[messages.CapsuleState]style{
	messages.StateLoading:  underway,
	messages.StateStarting: underway,
	messages.StateReady:    good,
	messages.StateCrashed:  warning,
	messages.StateFailed:   bad,
	messages.StateStopping: underway,
	messages.StateStopped:  faint,
}

// painter adds colours to text if it is true: at a terminal, unless the user wants no
// colours.
type painter bool

// painter returns the one for the standard output.
func (a *app) painter() painter { return painter(isTerminal(a.stdout) && !colourless()) }

// colourless reports whether the user wants no colours (no-color.org), or the
// terminal has none.
func colourless() bool { return os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" }

// paint returns printable text in the style s.
func (p painter) paint(s style, text string) string {
	if !bool(p) || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[m"
}

// table is the function table, with each cell in the style that look returns.
func (p painter) table(rows [][]string, look func(row, column int, text string) string) string {
	if !p {
		return table(rows)
	}
	var widths []int
	for _, row := range rows {
		for column, text := range row {
			if column == len(widths) {
				widths = append(widths, 0)
			}
			widths[column] = max(widths[column], utf8.RuneCountInString(text))
		}
	}
	var b strings.Builder
	for i, row := range rows {
		last := len(row) - 1
		for last >= 0 && row[last] == "" {
			last--
		}
		for column, text := range row[:last+1] {
			b.WriteString(look(i, column, text))
			if column < last {
				b.WriteString(strings.Repeat(" ", widths[column]-utf8.RuneCountInString(text)+3))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
