package journal

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// something is an event that changes nothing.
func something() messages.Event {
	return messages.Event{Detail: messages.SystemStarted{}}
}

// A reader receives every event once and in order, or is told how many it missed, at any
// speed; and the journal counts those.
func TestReaders(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		kept := rapid.IntRange(1, 20).Draw(rt, "kept")
		bursts := rapid.SliceOfN(rapid.IntRange(0, 50), 1, 20).Draw(rt, "bursts")
		stops := rapid.SliceOfN(rapid.Bool(), 3, 3).Draw(rt, "readers that stop")
		synctest.Test(t, func(t *testing.T) {
			r := New(Config{Kept: kept})
			type reader struct{ next, missed uint64 }
			readers := make([]reader, len(stops))
			turns := make([]chan struct{}, len(stops))
			for i := range readers {
				turns[i] = make(chan struct{})
				go func() {
					for e := range r.Events(context.Background(), 0) {
						me := &readers[i]
						if lost, ok := e.Detail.(messages.EventsLost); ok {
							me.next += lost.Count
							me.missed += lost.Count
						} else {
							me.next++
						}
						if me.next != e.Sequence {
							t.Errorf("reader %d: event %d in the place of %d", i, e.Sequence, me.next)
						}
						if stops[i] {
							<-turns[i] // slow
						}
					}
				}()
			}
			total := 0
			for _, n := range bursts {
				for range n {
					r.Observe(something())
				}
				total += n
				synctest.Wait()
				for i, stop := range stops {
					if stop {
						select {
						case turns[i] <- struct{}{}:
						default:
						}
					}
				}
				synctest.Wait()
			}
			for i := range stops {
				close(turns[i])
			}
			synctest.Wait()
			r.End(nil)
			synctest.Wait()
			missed := uint64(0)
			for i, me := range readers {
				if me.next != uint64(total) {
					rt.Errorf("reader %d has come to event %d of %d", i, me.next, total)
				}
				missed += me.missed
			}
			if got := r.Snapshot().EventsLost; got > missed {
				rt.Errorf("the journal counts %d lost events, the readers %d", got, missed)
			}
		})
	})
}

// A reader that never returns delays nothing. Events that were gone before it began are
// not counted as lost.
func TestAReaderThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Kept: 4})
		for range 10 {
			r.Observe(something())
		}
		blocked, free := make(chan struct{}), make(chan struct{})
		var got []string
		go func() {
			for e := range r.Events(context.Background(), 0) {
				lost, _ := e.Detail.(messages.EventsLost)
				got = append(got, fmt.Sprintf("%d %d", e.Sequence, lost.Count))
				if e.Sequence == 7 {
					close(blocked)
					<-free
				}
			}
		}()
		<-blocked
		if lost := r.Snapshot().EventsLost; lost != 0 {
			t.Errorf("%d events count as lost that were gone before", lost)
		}
		began := time.Now()
		for range 1000 {
			r.Observe(something())
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("events waited %v for a reader", took)
		}
		close(free)
		synctest.Wait()
		r.End(nil)
		synctest.Wait()
		// It had already fetched the batch up to 10.
		want := []string{"6 6", "7 0", "8 0", "9 0", "10 0", "1006 996", "1007 0", "1008 0", "1009 0", "1010 0"}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
		if lost := r.Snapshot().EventsLost; lost != 996 {
			t.Errorf("%d events count as lost, want 996", lost)
		}
	})
}

// Events that can't be written are counted, and the file reports them as soon as it can.
func TestEventsFileThatFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	mkdir := func() {
		t.Helper()
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	mkdir()
	var log strings.Builder
	f := &File{path: filepath.Join(dir, "events"), limit: 350, keep: 1, log: slog.New(slog.NewJSONHandler(&log, nil))}
	if err := f.open(); err != nil {
		t.Fatal(err)
	}
	r := New(Config{Kept: 100})
	take := func(n int) {
		for range n {
			r.Observe(something())
			kept, _, _ := r.after(r.Snapshot().Sequence - 1)
			f.take(kept[0])
		}
	}
	take(3) // until it is full
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	take(3)
	mkdir()
	take(2)
	r.End(nil)
	f.follow(r)
	text, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], `"event":"events_lost","count":3`) ||
		!strings.Contains(lines[1], `"sequence":7`) || !strings.Contains(lines[2], `"sequence":8`) {
		t.Errorf("the file says\n%s", text)
	}
	if f.lost.Load() != 3 || strings.Count(log.String(), "events are not written") != 1 {
		t.Errorf("%d lost; the log says\n%s", f.lost.Load(), log.String())
	}
}

// Suppressed lines are reported by at most one event a minute, which counts all since
// the last.
func TestSuppressedLinesAreSummedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Kept: 100})
		r.Enter(&messages.Capsule{ID: "c", Path: "capsules/c"})
		for _, wait := range []time.Duration{0, time.Second, 30 * time.Second, 30 * time.Second, time.Hour} {
			<-time.After(wait)
			r.Suppressed("c", 10)
		}
		r.End(nil)
		var got []string
		for e := range r.Events(t.Context(), 0) {
			d, _ := e.Detail.(messages.LogSuppressed)
			got = append(got, fmt.Sprintf("%s %d of %d", e.Path, d.Lines, d.Total))
		}
		if d := cmp.Diff([]string{"capsules/c 10 of 10", "capsules/c 30 of 40", "capsules/c 10 of 50"}, got); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
	})
}

// The end of a log stays within its bounds, can be read from any line, and can be
// followed until the end of Serve.
func TestLogTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tail LogTail
		write := func(n int) {
			for i := range n {
				tail.Add(time.Now(), capsulehost.LevelInfo, "ada", fmt.Sprintf("line %d", i))
			}
		}
		read := func(since uint64) (n int, first, last, lost uint64) {
			for line := range tail.Lines(context.Background(), since, false) {
				if n++; n == 1 {
					first = line.Sequence
				}
				last = line.Sequence
				lost += line.Lost
			}
			return n, first, last, lost
		}
		check := func(since uint64, want ...uint64) {
			t.Helper()
			n, first, last, lost := read(since)
			if d := cmp.Diff(want, []uint64{uint64(n), first, last, lost}); d != "" {
				t.Errorf("since %d: number, first, last, lost: -want +got\n%s", since, d)
			}
		}
		check(0, 0, 0, 0, 0)
		write(150)
		check(0, 150, 1, 150, 0)
		check(149, 1, 150, 150, 0)
		check(150, 0, 0, 0, 0)
		check(999, 0, 0, 0, 0)
		write(100)
		check(0, 200, 51, 250, 0) // a new reader has not missed earlier lines
		check(10, 200, 51, 250, 40)

		var followed []uint64
		go func() {
			for line := range tail.Lines(context.Background(), 248, true) {
				followed = append(followed, line.Sequence)
			}
			followed = append(followed, 0)
		}()
		synctest.Wait()
		write(1)
		synctest.Wait()
		tail.end(true)
		synctest.Wait()
		if d := cmp.Diff([]uint64{249, 250, 251, 0}, followed); d != "" {
			t.Errorf("followed: -want +got\n%s", d)
		}

		tail.end(false)
		long := strings.Repeat("é", 8<<10)
		for range 50 {
			tail.Add(time.Now(), capsulehost.LevelError, "", "x"+long)
		}
		bytes, n := 0, 0
		for line := range tail.Lines(context.Background(), 0, false) {
			n++
			bytes += len(line.Message)
			if len(line.Message) > lineKept+100 || strings.ContainsRune(line.Message, '\uFFFD') {
				t.Fatalf("a line of %d bytes: %.20q…", len(line.Message), line.Message)
			}
		}
		if bytes > bytesKept || n < 20 {
			t.Errorf("%d lines of %d bytes are kept", n, bytes)
		}
	})
}
