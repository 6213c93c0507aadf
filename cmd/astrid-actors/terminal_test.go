package main

import (
	"fmt"
	"html"
	"image/color"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// terminal is a terminal that runs the real program.
type terminal struct {
	t   *testing.T
	cmd *exec.Cmd
	tty *os.File // the terminal's end

	mu      sync.Mutex
	screen  *vt.Emulator
	output  strings.Builder // all that the program has written
	changed chan struct{}   // receives a value after each write
	over    chan struct{}   // closed when there is no more
}

// startTerminal runs astrid-actors in a terminal of its own.
func startTerminal(t *testing.T, width, height int, env []string, args ...string) *terminal {
	t.Helper()
	term := &terminal{
		t: t, cmd: exec.Command("astrid-actors", args...), screen: vt.NewEmulator(width, height),
		changed: make(chan struct{}, 1), over: make(chan struct{}),
	}
	term.cmd.Env = append(append(os.Environ(), "TERM=xterm-256color", "GORACE=atexit_sleep_ms=0"), env...)
	var err error
	if term.tty, err = pty.StartWithSize(term.cmd, &pty.Winsize{Cols: uint16(width), Rows: uint16(height)}); err != nil {
		t.Fatal(err)
	}
	answered := make(chan struct{})
	go func() { // the answers of a terminal to queries
		defer close(answered)
		_, _ = io.Copy(term.tty, term.screen)
	}()
	go func() {
		defer close(term.over)
		buffer := make([]byte, 32<<10)
		for {
			n, err := term.tty.Read(buffer)
			term.mu.Lock()
			_, _ = term.screen.Write(buffer[:n])
			term.output.Write(buffer[:n])
			term.mu.Unlock()
			poke(term.changed)
			if err != nil { // EIO if the program has ended
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = term.cmd.Process.Kill()
		_ = term.cmd.Wait() // a second Wait if it has ended
		<-term.over
		_ = term.screen.InputPipe().(io.Closer).Close() // Close itself races with Read
		_ = term.tty.Close()
		<-answered
	})
	return term
}

// text returns the text on the screen.
func (term *terminal) text() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.screen.String()
}

// until waits until all patterns match the screen, and returns it.
func (term *terminal) until(patterns ...string) string {
	term.t.Helper()
	timeout := time.After(patience)
	for {
		text, missing := term.text(), ""
		for _, p := range patterns {
			if !regexp.MustCompile(p).MatchString(text) {
				missing = p
			}
		}
		if missing == "" {
			return text
		}
		select {
		case <-term.changed:
		case <-timeout:
			term.t.Fatalf("%q is not on the screen:\n%s", missing, text)
		case <-term.over:
			if text := term.text(); !regexp.MustCompile(missing).MatchString(text) {
				term.t.Fatalf("the program has ended, and %q is not on the screen:\n%s", missing, text)
			}
		}
	}
}

// press types keys.
func (term *terminal) press(keys string) {
	term.t.Helper()
	if _, err := io.WriteString(term.tty, keys); err != nil {
		term.t.Fatal(err)
	}
}

// resize changes the terminal's size.
func (term *terminal) resize(width, height int) {
	term.t.Helper()
	term.mu.Lock()
	term.screen.Resize(width, height)
	term.mu.Unlock()
	if err := pty.Setsize(term.tty, &pty.Winsize{Cols: uint16(width), Rows: uint16(height)}); err != nil {
		term.t.Fatal(err)
	}
}

// ended waits for the program's end, and returns its exit status and all its output.
func (term *terminal) ended() (status int, output string) {
	term.t.Helper()
	timer := time.AfterFunc(patience, func() { _ = term.cmd.Process.Kill() })
	defer timer.Stop()
	_ = term.cmd.Wait()
	<-term.over
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.cmd.ProcessState.ExitCode(), term.output.String()
}

// picture draws the screen.
func (term *terminal) picture() string {
	const wide, high, margin = 8.4, 18, 14
	term.mu.Lock()
	defer term.mu.Unlock()
	s := term.screen
	width, height := wide*float64(s.Width())+2*margin, high*float64(s.Height())+2*margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14">`+"\n", width, height, width)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="8" fill="%s"/>`+"\n", paper)
	for y := range s.Height() {
		for x := 0; x < s.Width(); {
			from, look, text := x, uv.Style{}, ""
			for ; x < s.Width(); x++ {
				cell := s.CellAt(x, y)
				if cell == nil {
					cell = &uv.EmptyCell
				}
				if x == from {
					look = cell.Style
				}
				if !cell.Style.Equal(&look) {
					break
				}
				text += cell.Content
			}
			ink, weight := inkOf(look.Fg), ""
			if look.Attrs&uv.AttrReverse != 0 {
				fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`, margin+wide*float64(from), margin+high*y, wide*float64(x-from), high, ink)
				ink = paper
			}
			if look.Attrs&uv.AttrFaint != 0 {
				ink = "#8b949e"
			}
			if look.Attrs&uv.AttrBold != 0 {
				weight = ` font-weight="700"`
			}
			if trimmed := strings.TrimRight(text, " "); trimmed != "" {
				fmt.Fprintf(&b, `<text x="%.1f" y="%d" xml:space="preserve" textLength="%.1f" fill="%s"%s>%s</text>`+"\n", margin+wide*float64(from),
					margin+high*y+13, wide*float64(ansi.StringWidth(trimmed)), ink, weight, html.EscapeString(trimmed))
			}
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

const paper = "#0d1117"

// inkOf returns one of a theme's colours.
func inkOf(c color.Color) string {
	if basic, ok := c.(ansi.BasicColor); ok {
		return map[ansi.BasicColor]string{ansi.Red: "#ff7b72", ansi.Green: "#56d364", ansi.Yellow: "#e3b341", ansi.Cyan: "#76e3ea"}[basic]
	}
	return "#e6edf3"
}
