package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// beatEvery is the time between two messages to a browser if nothing changes, so
	// that it can detect a lost connection.
	beatEvery = 3 * time.Second
	// slowAfter limits how long a browser may take to read an update before it is
	// disconnected. It reconnects by itself, and then receives the current state.
	slowAfter = 5 * time.Second
	// maxStreams limits how many browsers watch at once.
	maxStreams = 64
)

// update is one message to a browser, as JSON.
type update struct {
	Now   int64       `json:"now"` // Unix milliseconds
	Title string      `json:"title"`
	Set   [][2]string `json:"set,omitempty"` // an element's id, and its HTML
	// Lists has the ids of the elements of a list, in their order, if the list has
	// changed.
	Lists map[string][]string `json:"lists,omitempty"`
	// Boot identifies our process: if it has changed, the browser loads the page again.
	Boot string `json:"boot"`
}

// stream sends the changes of one page until its browser disconnects.
func (p *page) stream(w http.ResponseWriter, r *http.Request) {
	if p.watch.watchers.Load() >= maxStreams {
		refuse(w, http.StatusServiceUnavailable, "too many browsers watch already")
		return
	}
	p.watch.enter()
	defer p.watch.leave()
	name := r.URL.Query().Get("view")
	since := p.lastEvent(r)
	f := p.watch.fresh()
	v, err := p.view(name, r, f, since)
	if err != nil {
		refuse(w, statusOf(err), err.Error())
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	s := &streamTo{w: w, out: http.NewResponseController(w)}
	_ = s.out.SetReadDeadline(time.Time{}) // a stream has no time limit
	if s.write("retry: 1000\n\n") != nil {
		return
	}

	has, order, seed := sent{}, map[string][]string{}, maphash.MakeSeed()
	for {
		began := time.Now()
		if err := s.send(p, v, has, order, seed); err != nil {
			return
		}
		// A browser with a large page must not use all the processor's time.
		pause := time.NewTimer(max(updateEvery, 10*time.Since(began)))
		select {
		case <-r.Context().Done():
		case <-p.ended:
		case <-pause.C:
		}
		pause.Stop()
		next := f.next
		for waiting := true; waiting; {
			beat := time.NewTimer(beatEvery)
			select {
			case <-r.Context().Done():
				return
			case <-p.ended:
				return
			case <-next:
				waiting = false
			case <-beat.C:
				if s.write("event: beat\ndata: {}\n\n") != nil {
					return
				}
			}
			beat.Stop()
		}
		f = p.watch.frame()
		if v, err = p.view(name, r, f, since); err != nil {
			_ = s.write("event: gone\ndata: {}\n\n") // the page is loaded again, and says so
			return
		}
	}
}

// lastEvent returns the last event that a reconnecting browser has received, 0 for a new
// browser.
func (p *page) lastEvent(r *http.Request) uint64 {
	boot, sequence, _ := strings.Cut(r.Header.Get("Last-Event-ID"), "-")
	if boot != p.boot {
		return 0
	}
	n, err := strconv.ParseUint(sequence, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// streamTo is one browser's stream.
type streamTo struct {
	w   http.ResponseWriter
	out *http.ResponseController
}

func (s *streamTo) write(text string) error {
	if err := s.out.SetWriteDeadline(time.Now().Add(slowAfter)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.out.Flush()
}

// send sends the changes in a view. has and order describe the state of the browser.
func (s *streamTo) send(p *page, v *view, has sent, order map[string][]string, seed maphash.Seed) error {
	u := update{Now: time.Now().UnixMilli(), Title: v.title(), Boot: p.boot}
	var err error
	if u.Set, err = p.changed(v, has, seed); err != nil {
		p.cfg.Log.Error("a page can't be shown", "err", err, "page", v.Name)
		return err
	}
	for _, l := range v.Lists {
		ids := make([]string, len(l.Parts))
		for i, q := range l.Parts {
			ids[i] = q.ID
		}
		if old, ok := order[l.ID]; !ok || !slices.Equal(old, ids) {
			if u.Lists == nil {
				u.Lists = map[string][]string{}
			}
			u.Lists[l.ID], order[l.ID] = ids, ids
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "id: %s-%d\ndata: ", p.boot, v.Sequence)
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(u); err != nil { // its line ends with a newline
		return err
	}
	b.WriteByte('\n')
	return s.write(b.String())
}
