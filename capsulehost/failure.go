package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/kernel"
	"github.com/astrid-actors/astrid-actors/capsulehost/reductions"
)

// Kind says in one word why an instance died, or could not be made.
type Kind string

// The kinds of failure.
const (
	KindTrap          Kind = "trap"           // unreachable, out of bounds, division by zero ...
	KindExit          Kind = "exit"           // the guest called proc_exit; see Failure.ExitCode
	KindTimeout       Kind = "timeout"        // the context's deadline passed
	KindBudget        Kind = "budget"         // its reductions are spent
	KindCancelled     Kind = "cancelled"      // the context was cancelled; see Failure.Unwrap
	KindMemoryLimit   Kind = "memory_limit"   // it died with its memory at the limit
	KindStackOverflow Kind = "stack_overflow" // recursion without end
	KindHostCall      Kind = "host_call"      // it misused one of the host's functions
	KindLink          Kind = "link"           // its imports can't be satisfied, or an export is missing
	KindBadModule     Kind = "bad_module"     // not a module that can be compiled, or not the one it should be
)

// Failure is how a guest's misbehaviour comes back, always as the one error of
// the call that it broke. The instance is lost with it: Close it and
// instantiate anew.
type Failure struct {
	Kind Kind
	// Export is the guest function that was being called; empty where the
	// instance was being made.
	Export string
	// Message is one line for a person: what happened, with which value. Where the guest
	// has set an error (error_set), it is that text.
	Message string
	// Stack is the guest's call stack, innermost frame first; nil where there was none.
	Stack []string
	// ExitCode is proc_exit's argument, for KindExit.
	ExitCode uint32
	// Stderr is the end of what the guest wrote to its standard error, at most
	// 4 KiB. Where a Go or Rust guest panicked in the call, it is what it said from
	// there on, however much more it wrote.
	Stderr string

	cause error
}

// Error returns what failed and why, on one line.
func (f *Failure) Error() string {
	if f.Export == "" {
		return fmt.Sprintf("%s: %s", f.Kind, f.Message)
	}
	return fmt.Sprintf("%s in %s: %s", f.Kind, f.Export, f.Message)
}

// Unwrap returns what is behind the failure, where there is something: the
// context's cause for KindTimeout and KindCancelled, the call's error for
// KindHostCall.
func (f *Failure) Unwrap() error { return f.cause }

// GuestError is a guest's own report that a call failed: a text that it stored with
// error_set, or a non-zero result, or both. Its instance is as good as before.
type GuestError struct {
	Export string
	Code   int32
	Text   string
}

// Error returns the guest's text, or its result where it left none.
func (e *GuestError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("%s returned %d without an error text", e.Export, e.Code)
	}
	return e.Text
}

// failure turns what ended a call into the one type of error, and gives the
// instance up.
func (i *Instance) failure(ctx context.Context, export string, err error) *Failure {
	what, stack := splitStack(err)
	message, inStart := strings.CutPrefix(firstLine(err), "start ")
	if inStart { // as wazero calls a trap there
		_, message, _ = strings.Cut(message, " failed: ")
	}
	written, word := i.stderr.end()
	if word == "" { // TinyGo says there why it panics
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
	if errors.As(err, &misuse) && ctx.Err() != nil { // it was waiting for something
		stop = interrupted(ctx)
	}
	ours := false // it was not the guest's doing
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
	case text != "" && !ours: // the guest's own account counts for more than ours
		f.Message = text
	case word != "":
		f.Message += "; its last word: " + word
	}
	return f
}

// outOfMemory guesses whether a guest ended for want of memory. Some say so. With
// the others it can't be known: allocators give up with the same instruction as
// any panic. They grow in steps that leave up to a quarter of the limit unused.
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

// splitStack parts what went wrong from the guest's call stack, as wazero's
// errors show both. The names in the latter are the guest's; where it was stopped
// by a tick is where it called that.
func splitStack(err error) (what string, frames []string) {
	what, trace, _ := strings.Cut(err.Error(), "wasm stack trace:\n")
	for line := range strings.Lines(trace) {
		if frame := strings.TrimSpace(line); frame != "" && !strings.HasPrefix(frame, reductions.ImportModule) {
			frames = append(frames, frame)
		}
	}
	return what, frames
}
