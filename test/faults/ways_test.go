package faults

import "time"

// way is a way to misbehave. The function impossible reports the rows that can't exist.
type way struct {
	name string
	// letter is the instruction for the guest: see test/capsules/gen/lib/misbehave.wat.
	letter byte
	// loop: the guest is a run loop.
	loop bool
	// panics: the host panics when the guest next reads the clock.
	panics bool
	// endless: it never ends by itself. A call has a limit of reductions for it; a start
	// has only a time limit, and no time passes while the guest runs.
	endless bool
	// dear: it is slow. It runs under two settings only: no policy depends on the kind of a
	// failure.
	dear bool
	// deep: it takes 50 MB of stack each time. It is dear, and misbehaves once in each row.
	deep bool
	// deadline is the triggers', if it passes meanwhile.
	deadline time.Duration
	// queued: the deadline passes before the guest is invoked.
	queued bool
	// file changes the module's file before the guest starts.
	file func(module []byte) []byte
}

// limit is the time limit of a call, and of a start.
const limit = 800 * time.Millisecond

func ways() []way {
	inCalls := []way{
		{name: "trap", letter: 'a'},
		{name: "out-of-bounds", letter: 'b'},
		{name: "division-by-zero", letter: 'c'},
		{name: "endless-recursion", letter: 'd', dear: true, deep: true},
		{name: "exponential-recursion", letter: 'e', endless: true},
		{name: "memory-bomb", letter: 'f', dear: true},
		{name: "endless-loop", letter: 'g', endless: true},
		{name: "endless-host-calls", letter: 'h', endless: true, dear: true},
		{name: "endless-writes", letter: 'u', endless: true},
		{name: "endless-polls", letter: 'v', endless: true, dear: true},
		{name: "endless-allocation", letter: 'i', dear: true},
		{name: "huge-allocation", letter: 'j'},
		{name: "bad-offset", letter: 'k'},
		{name: "stale-offset", letter: 'l'},
		{name: "exit-0", letter: 'm'},
		{name: "exit-3", letter: 'n'},
		{name: "error-without-text", letter: 'o'},
		{name: "error-with-text", letter: 'p'},
		{name: "output-over-the-limit", letter: 'q'},
		{name: "panic-in-a-host-call", letter: 'r', panics: true},
		{name: "limit-passes", letter: 's'},
		{name: "deadline-in-the-guest", letter: 's', deadline: 250 * time.Millisecond},
		{name: "deadline-in-a-nested-trigger", letter: 't', deadline: 250 * time.Millisecond},
		{name: "deadline-in-the-queue", deadline: 250 * time.Millisecond, queued: true},
		{name: "module-gone", file: func([]byte) []byte { return nil }},
		{name: "module-changed", file: func(module []byte) []byte { return append(module, 0, 1, 0) }}, // an empty custom section
		{name: "module-damaged", file: func(module []byte) []byte { return module[:len(module)/2] }},
	}
	inLoops := []way{
		{name: "run-traps", letter: 'a'},
		{name: "run-returns", letter: '0'},
		{name: "run-is-silent", letter: '1'},
		{name: "run-fails-without-text", letter: 'o'},
		{name: "run-fails-with-text", letter: 'p'},
		{name: "run-exits-0", letter: 'm'},
		{name: "run-exits-3", letter: 'n'},
		{name: "run-recurses", letter: 'd', dear: true, deep: true},
		{name: "run-takes-all-memory", letter: 'f'},
		{name: "run-misuses-the-host", letter: 'k'},
		{name: "run-meets-a-panic", letter: 'r', panics: true},
	}
	for i := range inLoops {
		inLoops[i].loop = true
	}
	return append(inCalls, inLoops...)
}

// impossible returns why a way can't occur at a moment, or "". It excludes ways that are
// tested elsewhere: a run loop that spins is not a fault, and
// TestASpinningGuestIsStopped stops it.
func impossible(w way, m moment) string {
	inAStart := m.name == "first start" || m.name == "a start again"
	switch {
	case w.file != nil && !inAStart:
		return "a module is read at the first start, and at an operator's"
	case w.file != nil:
		return ""
	case w.queued && m.name != "calls wait":
		return "the guest does not run: only calls that wait are"
	case w.queued:
		return ""
	case inAStart && w.deadline > 0:
		return "a start has no trigger, and so no deadline"
	case w.loop && m.calls:
		return "a run loop is not called, and is interrupted as soon as it is to stop"
	case !w.loop && m.name == "idle":
		return "a guest that is not called does nothing"
	case inAStart && !w.loop && (w.letter == 'o' || w.letter == 'p' || w.letter == 'q'):
		return "_initialize has neither a result nor an output"
	case m.name == "idle" && w.letter == '1':
		return "it has signalled by then"
	default:
		return ""
	}
}
