package main

import (
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/astrid-actors/astrid-actors/messages"
)

// oneOfEach returns a tree with a capsule in each state, whose guests write terminal
// control sequences.
func oneOfEach() *messages.Tree {
	at := time.Unix(1000, 0)
	tree := &messages.Tree{At: at, Started: at.Add(-time.Hour), SystemRestarts: map[string]uint64{"registry": 1}}
	for n := messages.StateLoading; n <= messages.StateStopped; n++ {
		c := &messages.Capsule{
			ID: "is-" + n.String(), Path: "capsules/is-" + n.String(), Version: "1.0.0", State: n, Generation: uint64(n), Budget: 5, Restart: "permanent",
			Window: time.Minute, Reason: "é \x1b]0;owned\x07\x1b[31m", Since: at.Add(-time.Second),
			RestartAt:   at.Add(12 * time.Second),
			LastFailure: &messages.Failure{Kind: "trap", Message: "trap: \x1b[2J\u009b2J\nunreachable", At: at.Add(-time.Minute)},
		}
		if n == messages.StateReady {
			c.Uptime, c.Reason = time.Minute, ""
		}
		tree.Capsules = append(tree.Capsules, c)
	}
	return tree
}

func TestPainted(t *testing.T) {
	for name, text := range map[string]func(*messages.Tree, painter) string{"ps": psText, "tree": treeText} {
		t.Run(name, func(t *testing.T) {
			unpainted, painted := text(oneOfEach(), false), text(oneOfEach(), true)
			if strings.ContainsAny(unpainted, "\x1b\u009b\x07") {
				t.Errorf("not plain: %q", unpainted)
			}
			if diff := cmp.Diff(unpainted, ansi.Strip(painted)); diff != "" {
				t.Errorf("painting changes the text (-plain +painted):\n%s", diff)
			}
			for _, want := range []string{"\x1b[32mready\x1b[m", "\x1b[33mcrashed\x1b[m", "\x1b[1;31mfailed\x1b[m", "\x1b[36mloading\x1b[m", "\x1b[2mstopped\x1b[m"} {
				if !strings.Contains(painted, want) {
					t.Errorf("%q is not in %q", want, painted)
				}
			}
		})
	}
}

func TestFitted(t *testing.T) {
	text := "one\n\x1b[32mtwo is long\x1b[m\nthree\nfour\n"
	for _, c := range []struct {
		name          string
		width, height int
		want          string
	}{
		{"room", 20, 10, "\x1b[Hone\x1b[m\x1b[K\r\n\x1b[32mtwo is long\x1b[m\x1b[m\x1b[K\r\nthree\x1b[m\x1b[K\r\nfour\x1b[m\x1b[K\r\n\x1b[J"},
		{"narrow", 5, 10, "\x1b[Hone\x1b[m\x1b[K\r\n\x1b[32mtwo …\x1b[m\x1b[m\x1b[K\r\nthree\x1b[m\x1b[K\r\nfour\x1b[m\x1b[K\r\n\x1b[J"},
		{"low", 20, 4, "\x1b[Hone\x1b[m\x1b[K\r\n\x1b[32mtwo is long\x1b[m\x1b[m\x1b[K\r\n… lines below: 2\x1b[m\x1b[K\r\n\x1b[J"},
		{"one line", 20, 1, "\x1b[H… lines below: 4\x1b[m\x1b[K\r\n\x1b[J"},
	} {
		if diff := cmp.Diff(c.want, fitted(text, c.width, c.height)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
