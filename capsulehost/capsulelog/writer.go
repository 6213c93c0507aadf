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

// Default limits for a capsule's log: see Config.
const (
	DefaultRate  = 100
	DefaultBurst = 1000
)

// MaxPrincipals is the maximum number of principals without a directory for which a
// Writer creates one. Callers choose the principal, and must not be able to fill the disk
// with directories. The lines of further principals go to the capsule's own log.
const MaxPrincipals = 64

// Delays before the Writer reports lines in summary.
const (
	reportAfter   = time.Second // suppressed lines, to the capsule's log
	complainAfter = time.Minute // lost lines, to the process's log
)

// openAgainAfter is the delay before a failed open is tried again.
const openAgainAfter = 5 * time.Second

// Config configures a Writer.
type Config struct {
	// Home contains the files; a zero Home disables them.
	Home      home.Home
	Principal home.Principal // the capsule's own principal
	Capsule   string         // the capsule's id

	// Files limits the open files of all Writers that share it; nil means a limit for
	// this Writer only.
	Files *Files
	// Log receives the lines if there is no log file, and the Writer's own problems;
	// nil discards them.
	Log *slog.Logger

	// Rate and Burst limit the lines: Rate per second over time, Burst at once. A line
	// costs one token, plus one for each full KiB. 0 means DefaultRate and DefaultBurst;
	// a negative Rate means no limit.
	Rate  float64
	Burst float64
	// Suppressed, if not nil, receives the number of dropped lines each time the log
	// reports them, on any goroutine. It must not call the Writer.
	Suppressed func(lines uint64)
	// Written, if not nil, receives each line that passes the limit, in order, even if
	// writing it then fails. It must neither block nor call the Writer.
	Written func(at time.Time, level capsulehost.LogLevel, principal, message string)
}

// Writer writes the astrid_log lines of one capsule. It is safe for concurrent use, keeps
// at most one file open, and has no permanent goroutine.
type Writer struct {
	cfg Config

	mu     sync.Mutex
	limit  limit
	day    day                     // the day of own
	own    *logFile                // nil until a line needs it, and while it can't be opened
	none   bool                    // the capsule can't have files
	again  time.Time               // time of the next attempt after a failed open; else zero
	warned time.Time               // last report of a failed open to the process's log; zero after a success
	made   map[home.Principal]bool // principals for which directories were created
	closed bool
	line   []byte // reused

	suppressed uint64      // number of dropped lines, not yet reported
	report     *time.Timer // reports them; nil if there are none
	lost       uint64      // number of lines lost in failed writes, not yet reported
	complained time.Time   // last report of lost lines
}

// New returns the Writer of a capsule that is being loaded, and deletes the capsule's old
// log files. It never fails: if no file can be written, the lines go to the process's
// log.
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

// hasFiles reports whether the capsule can have log files at all. The names it checks
// become parts of paths.
func (w *Writer) hasFiles() bool {
	_, err := home.ParsePrincipal(string(w.cfg.Principal))
	return err == nil && home.ValidCapsule(w.cfg.Capsule) && w.cfg.Home != home.Home{}
}

// Write writes one line of a capsule that runs for a principal, or for none (""). The
// line goes to the principal's log if that is valid and not the capsule's own, else to the
// capsule's own, else to the process's.
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

// WriteHost writes one line of the host about the capsule to the capsule's own log. The
// limit does not apply: there are few of them, and a capsule that logs too fast must not
// hide why it died.
func (w *Writer) WriteHost(level capsulehost.LogLevel, message string) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written(now, level, "", message)
	w.writeOwn(now, level, message)
}

func (w *Writer) written(at time.Time, level capsulehost.LogLevel, principal, message string) {
	if w.cfg.Written != nil {
		w.cfg.Written(at, level, principal, message)
	}
}

// other returns the line's principal, and reports whether it differs from the capsule's own.
func (w *Writer) other(principal string) (home.Principal, bool) {
	if principal == "" || principal == string(w.cfg.Principal) || w.closed || !w.hasFiles() {
		return "", false
	}
	p, err := home.ParsePrincipal(principal)
	return p, err == nil
}

// writeFor writes to another principal's log. It returns false if the principal has no log
// directory and may not get one. It closes the file, since there may be thousands.
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

// errTooMany reports that directories were already created for MaxPrincipals principals.
var errTooMany = errors.New("no more directories are made")

// open opens today's log, in use. The first line of a day creates the file and deletes
// old ones.
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

// mayMake reports whether directories may be created for p.
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

// writeOwn writes to the capsule's own log, or else to the process's.
func (w *Writer) writeOwn(now time.Time, level capsulehost.LogLevel, message string) {
	f := w.ownFile(now)
	if f == nil {
		w.cfg.Log.Log(context.Background(), slogLevel(level), string(appendEscaped(nil, message)), "plugin", w.cfg.Capsule)
		return
	}
	w.line = appendLine(w.line[:0], now, level, w.cfg.Capsule, message)
	if err := f.write(w.line); err != nil {
		w.lose(now, fmt.Errorf("write to the capsule's log: %w", err))
		_ = w.closeOwn() // the next line reopens it, and checks its end
		return
	}
	w.cfg.Files.done(f)
}

// ownFile returns the capsule's own file for today, in use, or nil if it has none.
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

// opened reports in the process's log that the capsule's log can't be opened, or can be
// opened again.
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

// reportSuppressed reports the dropped lines to the log and to Config.Suppressed. It runs
// on a timer's goroutine, or on the goroutine of Close.
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

// lose counts a line that could not be written. The guest is never told; the process's log
// receives a summary at most once per complainAfter.
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

// Close reports pending counts, and closes the file. Lines written after it go to the
// process's log.
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
