package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/kernel"
	"github.com/astrid-actors/astrid-actors/capsulehost/reductions"
)

// Kind is the reason why an instance died, or could not be created.
type Kind string

// The kinds of failure.
const (
	KindTrap          Kind = "trap"           // unreachable, out of bounds, division by zero, ...
	KindExit          Kind = "exit"           // the guest called proc_exit; see Failure.ExitCode
	KindTimeout       Kind = "timeout"        // the context's deadline expired
	KindBudget        Kind = "budget"         // the call used up its reductions
	KindCancelled     Kind = "cancelled"      // the context was cancelled; see Failure.Unwrap
	KindMemoryLimit   Kind = "memory_limit"   // it died while its memory was at the limit
	KindStackOverflow Kind = "stack_overflow" // recursion too deep
	KindHostCall      Kind = "host_call"      // it misused a host function
	KindLink          Kind = "link"           // an import can't be resolved, or an export is missing
	KindBadModule     Kind = "bad_module"     // it can't be compiled, or is not the expected module
)

// Failure is the error for a module that can't be compiled or instantiated, and for a
// call that killed its instance: through a fault of the guest, or because a limit or the
// context ended it. After such a call, close the instance, and instantiate the module
// again.
type Failure struct {
	Kind Kind
	// Export is the guest function that was called; "" if the instance was being
	// created.
	Export string
	// Message is one line for a person: what happened, and with which value. If the
	// guest set an error text (error_set), Message is that text.
	Message string
	// Stack is the guest's call stack, innermost frame first; nil if there was none.
	Stack []string
	// ExitCode is proc_exit's argument, for KindExit.
	ExitCode uint32
	// Stderr is the end of the guest's standard error output, at most 4 KiB. If a Go or
	// Rust guest panicked in the call, it starts at the panic message instead, regardless
	// of the length of the output after it.
	Stderr string

	cause error
}

// Error returns the kind, the export and the message on one line.
func (f *Failure) Error() string {
	if f.Export == "" {
		return fmt.Sprintf("%s: %s", f.Kind, f.Message)
	}
	return fmt.Sprintf("%s in %s: %s", f.Kind, f.Export, f.Message)
}

// Unwrap returns the underlying error, or nil: the context's cause for KindTimeout and
// KindCancelled, the host function's error for KindHostCall.
func (f *Failure) Unwrap() error { return f.cause }

// GuestError is a guest's own report that a call failed: a text stored with error_set,
// a non-zero result, or both. The instance stays usable.
type GuestError struct {
	Export string
	Code   int32
	Text   string
}

// Error returns the guest's text, or names its result if there is no text.
func (e *GuestError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("%s returned %d without an error text", e.Export, e.Code)
	}
	return e.Text
}

// failure converts the error that ended a call to a Failure, and marks the instance
// as lost.
func (i *Instance) failure(ctx context.Context, export string, err error) *Failure {
	what, stack := splitStack(err)
	message, inStart := strings.CutPrefix(firstLine(err), "start ")
	if inStart { // wazero's prefix for a trap in a start function
		_, message, _ = strings.Cut(message, " failed: ")
	}
	i.outputFlushed()
	written, word := i.stderr.end()
	if word == "" { // TinyGo prints its panic messages to stdout
		_, word = i.stdout.end()
	}
	f := &Failure{Kind: KindTrap, Export: export, Message: message, Stack: stack, Stderr: written, cause: err}
	i.lost = f
	if inStart {
		defer func() { f.Message = "in the module's start function: " + f.Message }()
	}
	var exit *exited
	var misuse *hostCallError
	var stop *stopped
	if errors.As(err, &misuse) && ctx.Err() != nil { // a host function returned because the context ended
		stop = interrupted(ctx)
	}
	ours := false // the host caused it, not the guest
	switch {
	case stop != nil || errors.As(err, &stop):
		stop.fill(f)
		return f
	case errors.As(err, &exit):
		f.Kind, f.ExitCode = KindExit, exit.code
		f.Message = fmt.Sprintf("the guest exited with code %d", f.ExitCode)
	case errors.As(err, &misuse):
		f.Kind, f.Message, f.cause = KindHostCall, misuse.Error(), misuse.err
	case strings.Contains(what, "recovered by wazero"):
		f.Kind, ours = KindHostCall, true
	case errors.Is(err, kernel.ErrNoMemory):
		f.Kind, ours = KindMemoryLimit, true
	case strings.Contains(what, "stack overflow"):
		f.Kind, f.Message = KindStackOverflow, "stack overflow: recursion without end?"
	case export == "" && strings.Contains(what, "import"):
		f.Kind = KindLink
	}
	if i.outOfMemory(f.Kind, what, word) {
		f.Kind, f.Message = KindMemoryLimit, fmt.Sprintf("%s, with a memory limit of %d bytes", f.Message, i.module.host.memoryLimit)
	}
	text := ""
	if i.kernel != nil {
		text = strings.ReplaceAll(strings.TrimSpace(lossy(i.kernel.ErrorText())), "\n", " ")
	}
	switch {
	case text != "" && !ours: // the guest's own text explains more than the host's
		f.Message = text
	case word != "":
		f.Message += "; its last word: " + word
	}
	return f
}

// outOfMemory guesses whether a guest ended because it ran out of memory. Some guests
// say so. For others it is uncertain: allocators give up with the same instruction as
// any panic. Allocators grow in steps that leave up to a quarter of the limit unused.
func (i *Instance) outOfMemory(kind Kind, what, word string) bool {
	switch kind {
	case KindTrap:
		return i.kernel != nil && i.kernel.Exhausted() || strings.Contains(word, "out of memory") ||
			strings.Contains(what, "unreachable") && i.guestMemory() >= i.module.host.memoryLimit/4*3
	case KindExit:
		return strings.Contains(word, "out of memory")
	default:
		return false
	}
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// splitStack separates an error of wazero into its message and the guest's call stack,
// whose names are the guest's. A tick's own frame is dropped, so the stack starts at
// the function that called the tick.
func splitStack(err error) (what string, frames []string) {
	what, trace, _ := strings.Cut(err.Error(), "wasm stack trace:\n")
	for line := range strings.Lines(trace) {
		if frame := strings.TrimSpace(line); frame != "" && !strings.HasPrefix(frame, reductions.ImportModule) {
			frames = append(frames, frame)
		}
	}
	return what, frames
}
