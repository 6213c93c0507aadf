package capsulelog

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

// Callers choose principals, so the number of directories created for them is limited.
func TestTooManyPrincipals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{}, func(h home.Home) {
			if err := os.MkdirAll(h.PrincipalDir("resident"), 0o700); err != nil {
				t.Fatal(err)
			}
		})
		for i := range MaxPrincipals + 10 {
			w.Write(capsulehost.LevelInfo, fmt.Sprintf("p%d", i), fmt.Sprintf("from %d", i))
		}
		w.Write(capsulehost.LevelInfo, "resident", "from a resident")
		w.Write(capsulehost.LevelInfo, "p0", "again")
		files := w.files()
		if len(files) != MaxPrincipals+2 {
			t.Errorf("%d files", len(files))
		}
		if got := files["home/resident/.local/log/greeter/"+firstDay]; !strings.HasSuffix(got, "from a resident\n") {
			t.Errorf("the resident's log: %q", got)
		}
		if got := files["home/p0/.local/log/greeter/"+firstDay]; !strings.HasSuffix(got, "from 0\n946684800.000 INFO [greeter] again\n") {
			t.Errorf("p0's log: %q", got)
		}
		if got := strings.Count(files[own+firstDay], "\n"); got != 10 {
			t.Errorf("the capsule's own log: %q", files[own+firstDay])
		}
		w.checkProcess()
	})
}

// Lines that can't be written are counted, and reported to the process's log in summary.
func TestLostLines(t *testing.T) {
	lost := func(n int) string { return fmt.Sprintf(`"lines":%d,"message":"log lines of the capsule are lost"}`, n) }
	check := func(w *world, want ...string) {
		t.Helper()
		var got []string
		for line := range strings.Lines(w.process.String()) {
			_, after, _ := strings.Cut(line, `"lines":`)
			got = append(got, strings.TrimSpace(`"lines":`+after))
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		w.process.Reset()
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{}, func(h home.Home) { write(t, h.PrincipalDir("alice"), "in the way") })
		w.Write(capsulehost.LevelInfo, "alice", "x")
		check(w, lost(1))
		for range 3 {
			pass(10 * time.Second)
			w.Write(capsulehost.LevelInfo, "alice", "x")
		}
		check(w)
		pass(31 * time.Second)
		w.Write(capsulehost.LevelInfo, "alice", "x")
		check(w, lost(4))
		w.Write(capsulehost.LevelInfo, "", "mine")
		if err := w.own.file.Close(); err != nil { // as if the disk had failed
			t.Fatal(err)
		}
		w.Write(capsulehost.LevelInfo, "", "mine too")
		check(w)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		check(w, lost(1))
		w.check(map[string]string{"home/alice": "in the way", own + firstDay: "946684861.000 INFO [greeter] mine\n"})
	})
}

// Lines from concurrent goroutines stay whole.
func TestConcurrent(t *testing.T) {
	w := newWorld(t, Config{Rate: -1}, nil)
	const each = 200
	var writers sync.WaitGroup
	for i, principal := range []string{"", "default", "alice", "alice", "bob"} {
		writers.Go(func() {
			for n := range each {
				w.Write(capsulehost.LevelInfo, principal, fmt.Sprintf("writer %d line %d", i, n))
			}
		})
	}
	writers.Wait()
	next := map[string]int{}
	for _, text := range w.files() {
		for line := range strings.Lines(text) {
			var at float64
			var level, capsule string
			var writer, n int
			if _, err := fmt.Sscanf(line, "%f %s %s writer %d line %d\n", &at, &level, &capsule, &writer, &n); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			key := fmt.Sprint(writer)
			if n != next[key] {
				t.Fatalf("%q comes out of order: want line %d", line, next[key])
			}
			next[key]++
		}
	}
	for i := range 5 {
		if got := next[fmt.Sprint(i)]; got != each {
			t.Errorf("writer %d: %d lines", i, got)
		}
	}
}
