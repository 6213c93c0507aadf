package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// complainEvery is how often at most the log hears that events are not written.
const complainEvery = time.Minute

// File writes every event to a file, a JSON object a line as `astrid-actors
// events --json` prints them. It reads the record as any other reader does: the
// events that are kept are its queue, and what falls out of them before a slow
// disk has taken it becomes an EventsLost, as does what could not be written. All
// fields but lost and current belong to the goroutine that follows the record.
type File struct {
	path  string
	limit int64 // bytes; a file that would be longer is put aside
	keep  int   // how many of those there are: path.1 is the youngest
	log   *slog.Logger
	lost  atomic.Uint64

	file       *os.File
	current    atomic.Pointer[os.File] // the same, for interrupt
	whole      bool                    // it is no plain file, and is never put aside
	size       int64
	last       uint64    // the newest event that was seen
	unwritten  uint64    // lost since the last line that was written
	complained time.Time // when the log last heard of it
}

// NewFile returns an events file at path, which is put aside before it would be
// longer than limit bytes. Nothing is opened yet.
func NewFile(path string, limit int64, log *slog.Logger) *File {
	return &File{path: path, limit: limit, keep: 3, log: log}
}

// Lost returns how many events could not be written. It may be called from any
// goroutine.
func (f *File) Lost() uint64 { return f.lost.Load() }

// Path returns the path of the file.
func (f *File) Path() string { return f.path }

// Open opens the file for the lines to come.
func (f *File) Open() error {
	// A named pipe without a reader is an error at once, and not a wait.
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return fmt.Errorf("open the events file: %w", err)
	}
	about, err := file.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open the events file: %w", err), file.Close())
	}
	f.file, f.size, f.whole = file, about.Size(), !about.Mode().IsRegular()
	f.current.Store(file)
	return nil
}

// Interrupt ends a write to a pipe that nobody reads. It may be called from any
// goroutine.
func (f *File) Interrupt() {
	if file := f.current.Load(); file != nil {
		_ = file.SetWriteDeadline(time.Now()) // plain files have none
	}
}

// Follow writes the journal's events from where it last ended until the record
// does, and closes the file.
func (f *File) Follow(j *Journal) {
	for e := range j.Events(context.Background(), f.last) {
		f.take(e)
	}
	if f.file == nil {
		return
	}
	var err error
	if !f.whole {
		err = f.file.Sync()
	}
	if err = errors.Join(err, f.file.Close()); err != nil {
		f.complain(err)
	}
	f.file = nil
}

// take writes one event, and before it how many could not be written.
func (f *File) take(e messages.Event) {
	f.last = e.Sequence
	lost, isLost := e.Detail.(messages.EventsLost)
	if isLost {
		f.lost.Add(lost.Count)
	}
	err := error(nil)
	if f.unwritten > 0 {
		err = f.write(messages.Event{
			Sequence: e.Sequence - 1, At: time.Now(),
			Detail: messages.EventsLost{Count: f.unwritten},
		})
		if err == nil {
			f.unwritten = 0
		}
	}
	if err == nil {
		err = f.write(e)
	}
	if err != nil {
		n := max(1, lost.Count)
		f.unwritten += n
		if !isLost {
			f.lost.Add(n)
		}
		f.complain(err)
	}
}

func (f *File) write(e messages.Event) error {
	line, err := e.MarshalJSON()
	if err != nil {
		return fmt.Errorf("write event %d: %w", e.Sequence, err)
	}
	line = append(line, '\n')
	if f.file != nil && !f.whole && f.size > 0 && f.size+int64(len(line)) > f.limit {
		if err := f.rotate(); err != nil {
			return err
		}
	}
	if f.file == nil {
		if err := f.Open(); err != nil {
			return err
		}
	}
	n, err := f.file.Write(line)
	if err != nil {
		if !f.whole {
			_ = f.file.Truncate(f.size) // no half lines, where it can be helped
		}
		return fmt.Errorf("write to the events file: %w", err)
	}
	f.size += int64(n)
	return nil
}

// rotate puts the file aside; write makes the next one.
func (f *File) rotate() error {
	if err := f.file.Close(); err != nil {
		f.complain(fmt.Errorf("close the events file: %w", err))
	}
	f.file = nil
	aside := func(n int) string { return fmt.Sprintf("%s.%d", f.path, n) }
	for n := f.keep; n > 1; n-- {
		if err := os.Rename(aside(n-1), aside(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("put the events file aside: %w", err)
		}
	}
	if err := os.Rename(f.path, aside(1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put the events file aside: %w", err)
	}
	f.size = 0
	return nil
}

func (f *File) complain(err error) {
	if now := time.Now(); f.complained.IsZero() || now.Sub(f.complained) >= complainEvery {
		f.complained = now
		f.log.Error("events are not written to the events file", "err", err, "lost", f.lost.Load())
	}
}
