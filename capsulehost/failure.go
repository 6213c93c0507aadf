package capsulehost

import "fmt"

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
	// Message is one line for a person: what happened, with which value.
	Message string
	// Stack is the guest's call stack, innermost frame first; nil where there was none.
	Stack []string
	// ExitCode is proc_exit's argument, for KindExit.
	ExitCode uint32
	// Stderr is the end of what the guest wrote to its standard error, at most
	// 4 KiB: where a Go or Rust guest says why it panicked.
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

// GuestError is a guest's own report that a call failed: a non-zero result,
// with the text that it stored with error_set. Its instance is as good as before.
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
