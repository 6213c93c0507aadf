package capsulelog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

// What a capsule may write, unless Config says otherwise.
const (
	DefaultRate  = 100
	DefaultBurst = 1000
)

// MaxPrincipals is for how many principals that have no directory yet a Writer
// makes one: callers name them, and must not be able to fill the disk with
// directories. The lines of any more go to the capsule's own log.
const MaxPrincipals = 64

// How long the Writer collects before it reports.
const (
	reportAfter   = time.Second // suppressed lines, to the capsule's log
	complainAfter = time.Minute // lost lines, to the process's log
)

// openAgainAfter is how long a log that could not be opened is left alone.
const openAgainAfter = 5 * time.Second

// Config says whose lines a Writer takes, and where they go.
type Config struct {
	// Home is where the files are; with the zero Home there are none.
	Home      home.Home
	Principal home.Principal // the capsule's own
	Capsule   string         // its id

	// Files bounds the open files of all Writers that have the same; nil means one of
	// the Writer's own.
	Files *Files
	// Log receives the lines if there is no log file, and the Writer's own
	// problems; nil is silent.
	Log *slog.Logger

	// Rate is how much may be written a second in the long run, and Burst at
	// once. A line counts one, and one more for each KiB. 0 means DefaultRate
	// and DefaultBurst; a negative Rate means no limit.
	Rate  float64
	Burst float64
	// Suppressed, where it is set, is told how many lines the limit has kept out
	// whenever the log is told, on any goroutine. It must not call the Writer.
	Suppressed func(lines uint64)
	// Written, where it is set, is told each line that the limit lets through, in
	// order, whatever becomes of it. It must neither block nor call the Writer.
	Written func(at time.Time, level capsulehost.LogLevel, principal, message string)
}

// Writer takes the astrid_log lines of one capsule, from any goroutine. It keeps
// at most one file open, and has no goroutine of its own.
type Writer struct {
	cfg Config

	mu     sync.Mutex
	limit  limit
	day    day                     // of own
	own    *logFile                // nil until a line needs it, and while it can't be opened
	none   bool                    // the capsule can't have files
	again  time.Time               // own could not be opened, and is not tried again before; zero otherwise
	warned time.Time               // when the process's log last heard of that; zero while it can be opened
	made   map[home.Principal]bool // whom directories were made for
	closed bool
	line   []byte // reused

	suppressed uint64      // lines, not reported yet
	report     *time.Timer // is to report them; nil where there are none
	lost       uint64      // lines that could not be written, not reported yet
	complained time.Time   // when lost lines were reported last
}

// New returns the Writer of a capsule that is being loaded, and deletes what is
// too old in the capsule's log. It never fails: where no file can be written,
// the lines go to the process's log.
func New(cfg Config) *Writer {
	if cfg.Rate == 0 {
		cfg.Rate = DefaultRate
	}
	if cfg.Burst <= 0 {
		cfg.Burst = DefaultBurst
	}
	if cfg.Files == nil {
		cfg.Files = NewFiles(1)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	now := time.Now()
	w := &Writer{
		cfg: cfg, limit: limit{rate: cfg.Rate, burst: cfg.Burst, tokens: cfg.Burst, at: now},
		day: dayOf(now), made: map[home.Principal]bool{},
	}
	if w.none = !w.hasFiles(); !w.none {
		w.prune(cfg.Principal, w.day)
	}
	return w
}

// hasFiles says whether the capsule can have log files at all. Its names become
// parts of paths.
func (w *Writer) hasFiles() bool {
	_, err := home.ParsePrincipal(string(w.cfg.Principal))
	return err == nil && home.ValidCapsule(w.cfg.Capsule) && w.cfg.Home != home.Home{}
}

// Write takes one line of a capsule that runs for a principal, or for nobody
// (""). It goes to the principal's log where that is a valid one and not the
// capsule's own, else to the capsule's own, else to the process's.
func (w *Writer) Write(level capsulehost.LogLevel, principal, message string) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.limit.take(now, 1+float64(len(message)>>10)) {
		w.suppressed++
		if w.report == nil && !w.closed {
			w.report = time.AfterFunc(reportAfter, w.reportSuppressed)
		}
		return
	}
	w.written(now, level, principal, message)
	if p, ok := w.other(principal); ok && w.writeFor(p, now, level, message) {
		return
	}
	w.writeOwn(now, level, message)
}

func (w *Writer) written(at time.Time, level capsulehost.LogLevel, principal, message string) {
	if w.cfg.Written != nil {
		w.cfg.Written(at, level, principal, message)
	}
}

// other says whether a line is for another principal than the capsule's own.
func (w *Writer) other(principal string) (home.Principal, bool) {
	if principal == "" || principal == string(w.cfg.Principal) || w.closed || !w.hasFiles() {
		return "", false
	}
	p, err := home.ParsePrincipal(principal)
	return p, err == nil
}

// writeFor writes to another principal's log, and says false where that has none
// and gets none. The file is not kept open: there may be thousands.
func (w *Writer) writeFor(p home.Principal, now time.Time, level capsulehost.LogLevel, message string) bool {
	f, err := w.open(p, dayOf(now))
	if errors.Is(err, errTooMany) {
		return false
	}
	if err == nil {
		w.line = appendLine(w.line[:0], now, level, w.cfg.Capsule, message)
		err = f.write(w.line)
		err = errors.Join(err, w.cfg.Files.close(f))
	}
	if err != nil {
		w.lose(now, fmt.Errorf("write to the log of principal %q: %w", p, err))
	}
	return true
}

// errTooMany: directories were made for MaxPrincipals already.
var errTooMany = errors.New("no more directories are made")

// open opens a log of today, in use. The first line of a day makes the file, and then
// old ones go.
func (w *Writer) open(p home.Principal, today day) (*logFile, error) {
	return w.cfg.Files.add(func() (*os.File, error) {
		f, err := openLog(w.cfg.Home, p, w.cfg.Capsule, today, false)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		if !w.mayMake(p) {
			return nil, errTooMany
		}
		if f, err = openLog(w.cfg.Home, p, w.cfg.Capsule, today, true); err == nil {
			w.prune(p, today)
		}
		return f, err
	})
}

// mayMake says whether p may have directories made.
func (w *Writer) mayMake(p home.Principal) bool {
	if p == w.cfg.Principal || w.made[p] || hasHome(w.cfg.Home, p) {
		return true
	}
	if len(w.made) < MaxPrincipals {
		w.made[p] = true
		return true
	}
	return false
}

// writeOwn writes to the capsule's own log, or to the process's.
func (w *Writer) writeOwn(now time.Time, level capsulehost.LogLevel, message string) {
	f := w.ownFile(now)
	if f == nil {
		w.cfg.Log.Log(context.Background(), slogLevel(level), string(appendEscaped(nil, message)), "plugin", w.cfg.Capsule)
		return
	}
	w.line = appendLine(w.line[:0], now, level, w.cfg.Capsule, message)
	if err := f.write(w.line); err != nil {
		w.lose(now, fmt.Errorf("write to the capsule's log: %w", err))
		_ = w.closeOwn() // the next line opens it, and sees where this one ends
		return
	}
	w.cfg.Files.done(f)
}

// ownFile returns the capsule's own file of today, in use, or nil where it has none.
func (w *Writer) ownFile(now time.Time) *logFile {
	if w.closed || w.none {
		return nil
	}
	if today := dayOf(now); today != w.day {
		if err := w.closeOwn(); err != nil {
			w.lose(now, err)
		}
		w.day, w.again = today, time.Time{}
	}
	if w.own != nil && w.cfg.Files.use(w.own) {
		return w.own
	}
	w.own = nil
	if now.Before(w.again) {
		return nil
	}
	f, err := w.open(w.cfg.Principal, w.day)
	w.opened(now, err)
	if err != nil {
		return nil
	}
	w.own = f
	return f
}

// opened tells the process's log when the capsule's can't be opened, and when it can
// again.
func (w *Writer) opened(now time.Time, err error) {
	log := w.cfg.Log.With("plugin", w.cfg.Capsule)
	if err == nil {
		if !w.warned.IsZero() {
			log.Info("the capsule's log was opened again")
		}
		w.again, w.warned = time.Time{}, time.Time{}
		return
	}
	w.again = now.Add(openAgainAfter)
	if w.warned.IsZero() || now.Sub(w.warned) >= complainAfter {
		w.warned = now
		log.Warn("the capsule's log can't be opened: its lines go to this one", "err", err)
	}
}

// prune deletes a log's old files.
func (w *Writer) prune(p home.Principal, today day) {
	if err := deleteOld(w.cfg.Home, p, w.cfg.Capsule, today); err != nil {
		w.cfg.Log.Warn("old log files can't be deleted", "err", err, "plugin", w.cfg.Capsule)
	}
}

// reportSuppressed tells the log, and whoever counts, what the limit kept out.
// It runs on a timer's goroutine, or on that of Close.
func (w *Writer) reportSuppressed() {
	w.mu.Lock()
	n := w.suppressed
	w.suppressed, w.report = 0, nil
	if n > 0 {
		now, message := time.Now(), fmt.Sprintf("%d lines suppressed: the capsule logs too fast", n)
		w.written(now, capsulehost.LevelWarn, "", message)
		w.writeOwn(now, capsulehost.LevelWarn, message)
	}
	w.mu.Unlock()
	if n > 0 && w.cfg.Suppressed != nil {
		w.cfg.Suppressed(n)
	}
}

// lose accounts for a line that could not be written. The guest never hears of
// it; the process's log does, but not of each.
func (w *Writer) lose(now time.Time, err error) {
	w.lost++
	if w.complained.IsZero() || now.Sub(w.complained) >= complainAfter {
		w.complain(err)
		w.complained = now
	}
}

func (w *Writer) complain(err error) {
	w.cfg.Log.Warn("log lines of the capsule are lost", "err", err, "plugin", w.cfg.Capsule, "lines", w.lost)
	w.lost = 0
}

// Close reports what is not reported yet, and closes the file. Lines written
// after it go to the process's log.
func (w *Writer) Close() error {
	w.mu.Lock()
	if w.report != nil {
		w.report.Stop()
	}
	w.mu.Unlock()
	w.reportSuppressed()

	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost > 0 {
		w.complain(nil)
	}
	w.closed = true
	return w.closeOwn()
}

func (w *Writer) closeOwn() error {
	if w.own == nil {
		return nil
	}
	own := w.own
	w.own = nil
	return w.cfg.Files.close(own)
}
