package web

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

// pipes is a listener without a network, so that it works inside a bubble. A pipe has no
// buffer: a reader that does not read blocks the writer at once.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.ended:
	default:
		close(p.ended)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// watchedPage is a page in a bubble.
type watchedPage struct {
	t     *testing.T
	sys   *supervisortest.System
	pipes *pipes
	end   func()
}

func inBubble(t *testing.T, test func(*watchedPage)) {
	synctest.Test(t, func(t *testing.T) {
		var capsules []supervisor.Capsule
		for _, id := range []string{"a", "b", "c"} {
			capsules = append(capsules, supervisortest.Func(id, "test."+id, func(_ context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
				return capsulehost.Result{Data: c.Payload}, nil
			}))
		}
		p := &watchedPage{
			t: t, sys: supervisortest.Start(t, supervisor.Config{}, capsules...),
			pipes: &pipes{conns: make(chan net.Conn), ended: make(chan struct{})},
		}
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- Serve(ctx, p.pipes, p.sys.Supervisor, Config{Log: slog.New(slog.DiscardHandler)}) }()
		p.end = func() {
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
			served <- nil
		}
		defer p.end()
		test(p)
	})
}

// streamed is a stream as its browser receives it.
type streamed struct {
	t     *testing.T
	conn  net.Conn
	lines *bufio.Reader
	id    string // of the last update
	at    time.Time
	beats int
}

func (p *watchedPage) open(view, lastEventID string) *streamed {
	p.t.Helper()
	near, far := net.Pipe()
	p.t.Cleanup(func() { near.Close() })
	p.pipes.conns <- far
	request := "GET /stream?view=" + view + " HTTP/1.1\r\nHost: localhost\r\n"
	if lastEventID != "" {
		request += "Last-Event-ID: " + lastEventID + "\r\n"
	}
	if _, err := near.Write([]byte(request + "\r\n")); err != nil {
		p.t.Fatal(err)
	}
	return &streamed{t: p.t, conn: near, lines: bufio.NewReader(near)}
}

// next returns the next update.
func (s *streamed) next() *update {
	s.t.Helper()
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			s.t.Fatalf("the stream ended: %v", err)
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			s.id = strings.TrimSpace(id)
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		if strings.TrimSpace(data) == "{}" {
			s.beats++
			continue
		}
		u := &update{}
		if err := json.Unmarshal([]byte(data), u); err != nil {
			s.t.Fatalf("%s: %v", data, err)
		}
		s.at = time.Now()
		return u
	}
}

func (u *update) has(id string) string {
	for _, set := range u.Set {
		if set[0] == id {
			return set[1]
		}
	}
	return ""
}

// TestStreamChanges checks that the first update has everything, and later ones only the
// changes.
func TestStreamChanges(t *testing.T) {
	inBubble(t, func(p *watchedPage) {
		s := p.open("capsules", "")
		u := s.next()
		for _, id := range []string{"stats", "columns", "r-a", "r-b", "r-c"} {
			if u.has(id) == "" {
				t.Errorf("the first update lacks %s", id)
			}
		}
		if got := fmt.Sprint(u.Lists); got != "map[rows:[r-a r-b r-c]]" {
			t.Errorf("lists %s", got)
		}
		boot := u.Boot
		if err := p.sys.Kill(p.t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		for !strings.Contains(u.has("r-b"), `data-label="Generation">2<`) {
			u = s.next()
			if u.has("r-a") != "" || u.has("r-c") != "" || u.has("columns") != "" || u.Lists != nil {
				t.Errorf("what has not changed is sent again: %v %v", u.Set, u.Lists)
			}
		}
		if want := fmt.Sprintf("%s-%d", boot, p.sys.Snapshot().Sequence); s.id != want {
			t.Errorf("the update's id is %q, want %q", s.id, want)
		}
		s.conn.Close()
	})
}

// TestStreamCoalesces checks that there are at most four updates a second, for any
// number of events.
func TestStreamCoalesces(t *testing.T) {
	inBubble(t, func(p *watchedPage) {
		s := p.open("overview", "")
		s.next()
		ctx, stop := context.WithCancel(p.t.Context())
		done := make(chan int)
		go func() { // some 1,000 events a second
			n := 0
			for tick := time.NewTicker(3 * time.Millisecond); ctx.Err() == nil; n++ {
				<-tick.C
				if err := p.sys.Restart(context.Background(), "a"); err != nil {
					t.Error(err)
				}
			}
			done <- n
		}()
		last := s.at
		for range 20 {
			s.next()
			if gap := s.at.Sub(last); gap < updateEvery {
				t.Errorf("two updates %v apart", gap)
			} else if gap > 3*updateEvery {
				t.Errorf("nothing for %v", gap)
			}
			last = s.at
		}
		stop()
		if n := <-done; n < 100 {
			t.Errorf("only %d restarts: this test tests nothing", n)
		}
		s.conn.Close()
	})
}

// TestStreamBeats checks that a browser receives messages even if nothing happens.
func TestStreamBeats(t *testing.T) {
	inBubble(t, func(p *watchedPage) {
		s := p.open("overview", "")
		began := time.Now()
		n := 0
		for time.Since(began) < time.Minute {
			s.next()
			n++
		}
		if n+s.beats < 15 {
			t.Errorf("%d updates and %d beats in a minute", n, s.beats)
		}
		s.conn.Close()
	})
}

// TestSlowBrowser checks that a browser that does not read is disconnected, and delays
// nothing.
func TestSlowBrowser(t *testing.T) {
	inBubble(t, func(p *watchedPage) {
		slow, quick := p.open("overview", ""), p.open("overview", "")
		slow.next()
		quick.next()
		began := time.Now()
		for time.Since(began) < slowAfter+2*time.Second {
			quick.next()
		}
		synctest.Wait()
		dropped := make(chan error, 1)
		go func() {
			_, err := slow.conn.Write([]byte("x")) // it is closed
			dropped <- err
		}()
		synctest.Wait()
		select {
		case err := <-dropped:
			if err == nil {
				t.Error("it is still connected")
			}
		default:
			t.Error("it is still connected")
		}
		slow.conn.Close()
		quick.next()
		quick.conn.Close()
	})
}

// TestStreamComesBack checks that a browser that reconnects receives the events that it
// missed.
func TestStreamComesBack(t *testing.T) {
	inBubble(t, func(p *watchedPage) {
		s := p.open("events", "")
		s.next()
		id := s.id
		s.conn.Close()
		for range 480 { // an event each, more than the page shows
			if err := p.sys.Restart(p.t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(updateEvery) // a frame may be that old
		missed := p.sys.Snapshot().Sequence
		for _, test := range []struct {
			id   string
			want int
		}{{"", eventRows}, {id, int(missed) - seq(t, id)}, {"OTHER-1", eventRows}, {"nonsense", eventRows}, {id + "x", eventRows}} {
			again := p.open("events", test.id)
			if got := len(again.next().Lists["happenings"]); got != test.want {
				t.Errorf("after %q it is sent %d events, want %d", test.id, got, test.want)
			}
			again.conn.Close()
		}
	})
}

func seq(t *testing.T, id string) int {
	t.Helper()
	var n int
	_, last, _ := strings.Cut(id, "-")
	if _, err := fmt.Sscan(last, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestServeEndsStreams checks that a stream does not delay the end of a daemon.
func TestServeEndsStreams(t *testing.T) {
	inBubble(t, func(p *watchedPage) {
		s := p.open("overview", "")
		s.next()
		began := time.Now()
		go func() {
			for { // read on
				if _, err := s.lines.ReadByte(); err != nil {
					return
				}
			}
		}()
		p.end()
		if took := time.Since(began); took >= time.Second/2 { // it does not wait for the second that open requests have
			t.Errorf("the end took %v", took)
		}
	})
}
