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

// fileGrace limits how long the end of Serve waits until a disk, or a log, has received
// the last events.
const fileGrace = 2 * time.Second

// complainEvery is the shortest time between two log lines about events that are not
// written.
const complainEvery = time.Minute

// File writes every event to a file, one JSON object a line, as `astrid-actors events
// --json` prints them. It reads the journal as any other reader does. The kept events
// are its queue: those that leave the journal before a slow disk has received them
// become an EventsLost, as do those that could not be written. All fields in the last
// group belong to the goroutine that follows the journal.
type File struct {
	path  string
	limit int64 // bytes; the file is rotated before it would be longer
	keep  int   // how many rotated files are kept: path.1 is the newest
	log   *slog.Logger
	lost  atomic.Uint64

	current     atomic.Pointer[os.File] // the file, for interrupt
	interrupted atomic.Bool
	followed    chan struct{} // closed when the follower has ended; belongs to Serve

	file       *os.File
	torn       bool // it ends in the middle of a line
	whole      bool // it is not a regular file, and is never rotated
	size       int64
	last       uint64    // the newest event that was read
	unwritten  uint64    // lost since the last line that was written
	complained time.Time // when it was last logged
}

// NewFile returns an events file at path, which is rotated before it would be longer
// than limit bytes. It opens nothing yet.
func NewFile(path string, limit int64, log *slog.Logger) *File {
	return &File{path: path, limit: limit, keep: 3, log: log}
}

// Lost returns how many events could not be written. It may be called from any
// goroutine.
func (f *File) Lost() uint64 { return f.lost.Load() }

// Path returns the path of the file.
func (f *File) Path() string { return f.path }

// open opens the file for appending.
func (f *File) open() error {
	// A named pipe without a reader is an error at once, instead of a wait.
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return fmt.Errorf("open the events file: %w", err)
	}
	about, err := file.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open the events file: %w", err), file.Close())
	}
	f.file, f.size, f.whole = file, about.Size(), !about.Mode().IsRegular()
	if !f.whole {
		f.torn = endsTorn(f.path, about)
	}
	f.current.Store(file)
	if f.interrupted.Load() {
		_ = file.SetWriteDeadline(time.Now())
	}
	return nil
}

// endsTorn reports whether a file's last line has no end: a crash, or a full disk, has
// cut it. A file that can't be read is treated as complete.
func endsTorn(path string, about fs.FileInfo) bool {
	if about.Size() == 0 {
		return false
	}
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	last := make([]byte, 1)
	_, err = file.ReadAt(last, about.Size()-1)
	return err == nil && last[0] != '\n'
}

// Begin opens the file and follows the journal on a goroutine of its own. It fails if
// the previous follower still hangs.
func (f *File) Begin(j *Journal) error {
	if f.followed != nil {
		select {
		case <-f.followed:
		default:
			return errors.New("open the events file: writing the last events of the last time still hangs")
		}
	}
	f.interrupted.Store(false)
	if err := f.open(); err != nil {
		return err
	}
	followed := make(chan struct{})
	f.followed = followed
	go func() {
		defer close(followed)
		f.follow(j)
	}()
	return nil
}

// End waits until the journal's last events are written, or lost. Only a disk can delay
// it longer: a write to a pipe is interrupted.
func (f *File) End() {
	for range 2 {
		select {
		case <-f.followed:
			return
		case <-time.After(fileGrace):
			f.log.Error("the last events may be missing in the events file: writing it hangs", "file", f.path)
			f.interrupt()
		}
	}
}

// interrupt ends a write to a pipe that is not read, and all later ones. It may be
// called from any goroutine.
func (f *File) interrupt() {
	f.interrupted.Store(true)
	if file := f.current.Load(); file != nil {
		_ = file.SetWriteDeadline(time.Now()) // regular files have none
	}
}

// follow writes the journal's events from where it last ended until the journal ends,
// and closes the file.
func (f *File) follow(j *Journal) {
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

// take writes one event, and before it the number of those that could not be written.
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
		if err := f.open(); err != nil {
			return err
		}
	}
	if f.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := f.file.Write(line)
	if err != nil {
		if f.whole || f.file.Truncate(f.size) != nil { // avoid half lines if possible
			f.size += int64(n)
			if n > 0 {
				f.torn = line[n-1] != '\n'
			}
		}
		return fmt.Errorf("write to the events file: %w", err)
	}
	f.size += int64(n)
	f.torn = false
	return nil
}

// rotate renames the file; write creates the next one.
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
