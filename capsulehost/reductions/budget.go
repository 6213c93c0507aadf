package reductions

import (
	"fmt"
	"math"
	"time"
)

// Budget limits the cost of compiling a module with wazero 1.12, on one processor
// core of the year 2023.
type Budget struct {
	// Time and Memory apply to a module without code; each byte of code adds to them
	// (timePerByte, memoryPerByte). 0 means no limit.
	Time   time.Duration
	Memory uint64 // bytes
}

// DefaultBudget returns a budget that accepts ordinary modules: all but a few of those
// in package registries, and larger ones.
func DefaultBudget() Budget { return Budget{Time: 10 * time.Second, Memory: 256 << 20} }

// Cost is an upper bound of the processor time and of the additional memory that
// compiling a module needs. Most modules need half of that.
type Cost struct {
	Time   time.Duration
	Memory uint64
	// TableElements is the initial number of elements in an instance's tables and
	// passive segments. Memory does not include it.
	TableElements uint64
}

const (
	// timePerByte and memoryPerByte are added to the budget for each byte of code.
	// Ordinary code needs 1 to 3 µs per byte, and most of the memory is used by the
	// largest function. maxMemory limits the sum.
	timePerByte   = 6 * time.Microsecond
	memoryPerByte = 256
	maxMemory     = 3 << 29

	// maxTables is the maximum number of tables; compilers emit one or two.
	maxTables = 100
	// maxDepth is the maximum nesting of blocks.
	maxDepth = 50_000
)

// LimitError reports the limit that a module exceeds, and by what.
type LimitError struct{ message string }

func (e *LimitError) Error() string { return e.message }

func tooMuch(format string, args ...any) error {
	return &LimitError{fmt.Sprintf(format, args...)}
}

// within returns the budget for the given size of code in bytes.
func (b Budget) within(size int) Budget {
	if b.Time > 0 {
		b.Time += time.Duration(size) * timePerByte
	}
	if b.Memory > 0 {
		b.Memory = max(b.Memory, min(b.Memory+uint64(size)*memoryPerByte, maxMemory)) //nolint:gosec // not negative
	}
	return b
}

// unit is the cost of compiling one of something.
type unit struct {
	time   float64 // nanoseconds
	memory float64 // bytes, at the peak
}

// measure is a part of a function's cost. The compiler reuses the memory for the
// next function, so only the largest function's memory counts.
type measure struct {
	of   func(*shape) uint64
	unit unit
	say  func(*shape) string
}

// measures holds first the parts that are proportional to a function's size, then
// those that grow faster. The units were measured with modules that have much of
// one part and little of the others: see TestCompileBudget.
var measures = [...]measure{
	{
		// SSA instructions, machine instructions, virtual registers.
		func(h *shape) uint64 { return h.instructions }, unit{1200, 440},
		func(h *shape) string { return fmt.Sprintf("%d instructions", h.instructions) },
	}, {
		// Their values, edges and definition maps; the table for common dominators.
		func(h *shape) uint64 { return uint64(h.here.blocks) }, unit{5000, 3000},
		func(h *shape) string { return fmt.Sprintf("%d basic blocks", h.here.blocks) },
	}, {
		// The compiler reloads all mutable globals after each call, and later discards
		// most of these loads.
		func(h *shape) uint64 { return h.calls * uint64(h.mutable) }, unit{450, 240},
		func(h *shape) string {
			return fmt.Sprintf("%d calls in a module of %d mutable globals", h.calls, h.mutable)
		},
	}, {
		// The compiler climbs the tree to find dominators, loop headers and the loop forest.
		func(h *shape) uint64 { return h.climbs }, unit{30, 0},
		func(h *shape) string {
			return fmt.Sprintf("%d basic blocks behind or inside each other, %d deep", h.here.blocks, h.longest)
		},
	}, {
		// For each new edge, the compiler scans all edges to the same block.
		func(h *shape) uint64 { return h.joins }, unit{5, 0},
		func(h *shape) string { return fmt.Sprintf("%d branches to one label", h.widest) },
	}, {
		// Lists of live values; the position of a spill is found by climbing the tree.
		func(h *shape) uint64 { return h.live }, unit{150, 20},
		(*shape).sayLive,
	}, {
		func(h *shape) uint64 { return h.stacked }, unit{150, 24},
		func(h *shape) string {
			return fmt.Sprintf("up to %d values on the stack across %d basic blocks", h.highest, h.here.blocks)
		},
	}, {
		// A map entry and a value each.
		func(h *shape) uint64 { return h.found }, unit{2000, 150},
		(*shape).sayLive,
	}, {
		// If a local has the same value on all edges, each join's value becomes an alias
		// of the one at the join before. The compiler then follows all aliases.
		func(h *shape) uint64 { return h.aliases }, unit{1.5, 0},
		(*shape).sayLive,
	}, {
		func(h *shape) uint64 { return h.steps }, unit{40, 0},
		(*shape).sayLive,
	}, {
		func(h *shape) uint64 { return h.arguments }, unit{100, 250},
		func(h *shape) string { return fmt.Sprintf("branches that carry %d values", h.arguments) },
	}, {
		// The set of known bounds is copied from block to block.
		func(h *shape) uint64 { return h.known }, unit{60, 32},
		func(h *shape) string {
			return fmt.Sprintf("memory accesses all through %d basic blocks", h.here.blocks)
		},
	}, {
		// The compiler searches for redundant block parameters: each parameter with all
		// others of its block, repeated for each level of nested loops.
		func(h *shape) uint64 { return h.iterations }, unit{1.5, 0},
		func(h *shape) string {
			if h.deepest > 1 {
				return fmt.Sprintf("%d locals in use in loops that are %d deep inside each other", h.reached, h.deepest)
			}
			return h.sayLive()
		},
	},
}

func (h *shape) sayLive() string {
	return fmt.Sprintf("%d locals in use across %d basic blocks", h.reached, h.here.blocks)
}

// volume sums up a module.
type volume struct {
	totals  [len(measures)]uint64
	largest [len(measures)]struct {
		shape
		value    uint64
		function uint32
	}
	locals, importCalls, code, names    uint64
	tableElements, typeValues, elements uint64
	segments, exports, imports          uint32
}

// add adds a function.
func (v *volume) add(h *shape, function uint32, locals uint64, size int) {
	v.code += uint64(size) //nolint:gosec // not negative
	v.locals += locals
	v.importCalls += h.imports
	for i := range measures {
		n := measures[i].of(h)
		v.totals[i] += n
		if l := &v.largest[i]; n > l.value {
			l.shape, l.value, l.function = *h, n, function
			l.shape.locals, l.shape.sources, l.shape.crossing, l.shape.carried = nil, nil, nil, nil
		}
	}
}

// withinBudget checks the time for one function alone: a large module does not
// excuse an expensive function. Memory is checked for the whole module, in cost.
func (m *module) withinBudget(h *shape, function uint32, size int) error {
	limit := m.cfg.Budget.within(size).Time
	if limit == 0 {
		return nil
	}
	var sum, most float64
	worst := 0
	for i := range measures {
		time := float64(measures[i].of(h)) * measures[i].unit.time
		if sum += time; time > most {
			worst, most = i, time
		}
	}
	if sum <= float64(limit) {
		return nil
	}
	return tooMuch("function %s: %s, which would take up to %.0f s to compile, over the limit of %.0f s",
		m.named(function), measures[worst].say(h), sum/1e9, limit.Seconds())
}

// cost sums up the cost of compiling the module, and compares it with the budget.
func (m *module) cost() (Cost, error) {
	v := &m.volume
	var time, memory, mostTime, mostMemory float64
	var sayTime, sayMemory func() string
	part := func(t, b float64, say func() string) {
		time, memory = time+t, memory+b
		if t > mostTime {
			mostTime, sayTime = t, say
		}
		if b > mostMemory {
			mostMemory, sayMemory = b, say
		}
	}
	count := func(n uint64, u unit, what string) {
		part(float64(n)*u.time, float64(n)*u.memory, func() string { return fmt.Sprintf("%d %s", n, what) })
	}
	pairs := func(a, b uint64, time float64, what string) {
		part(float64(a)*float64(b)*time, 0, func() string { return fmt.Sprintf(what, a, b) })
	}
	functions := uint64(len(m.functionTypes))
	for i, f := range measures {
		l := &v.largest[i]
		part(float64(v.totals[i])*f.unit.time, float64(l.value)*f.unit.memory, func() string {
			if l.value > v.totals[i]/2 {
				return fmt.Sprintf("function %s: %s", m.named(l.function), f.say(&l.shape))
			}
			return fmt.Sprintf("%d functions, of which number %s has %s", functions, m.named(l.function), f.say(&l.shape))
		})
	}
	count(v.code, unit{0, 12}, "bytes of code")
	count(v.names, unit{100, 100}, "names of functions and locals")
	count(uint64(m.types), unit{3000, 400}, "types")
	count(v.typeValues, unit{500, 100}, "parameters and results of types")
	count(v.locals, unit{16, 8}, "locals of all functions together")
	count(functions, unit{8000, 700}, "functions")
	count(v.elements, unit{400, 60}, "elements of segments")
	count(uint64(v.segments), unit{200, 120}, "segments")
	count(uint64(m.globals), unit{300, 150}, "globals")
	count(uint64(v.exports), unit{1000, 250}, "exports")
	count(uint64(v.imports), unit{1000, 400}, "imports")
	pairs(functions, uint64(m.globals), 20, "%d functions in a module of %d globals")
	pairs(functions, uint64(v.exports), 9, "%d functions in a module of %d exports")
	pairs(functions, uint64(v.imports), 9, "%d functions in a module of %d imports")
	pairs(v.importCalls, uint64(v.imports), 3, "%d calls in a module of %d imports")
	// For each function, the compiler scans a table as large as the largest function's.
	pairs(functions, v.largest[1].value, 8, "%d functions, one of them with %d basic blocks")

	cost := Cost{Time: saturated(time), Memory: uint64(memory), TableElements: v.tableElements}
	limit := m.cfg.Budget.within(len(m.content(codeSection)))
	switch {
	case limit.Memory > 0 && cost.Memory > limit.Memory:
		return cost, tooMuch("%s, to compile this would take up to %d MiB, over the limit of %d MiB",
			sayMemory(), cost.Memory>>20, limit.Memory>>20)
	case limit.Time > 0 && cost.Time > limit.Time:
		return cost, tooMuch("%s, to compile this would take up to %.0f s, over the limit of %.0f s",
			sayTime(), cost.Time.Seconds(), limit.Time.Seconds())
	}
	return cost, nil
}

// maxInstructions returns the maximum number of instructions in a function. The
// memory budget allows no more, and reading on would itself need memory.
func (m *module) maxInstructions() uint64 {
	if m.cfg.Budget.Memory == 0 {
		return math.MaxUint64
	}
	return m.cfg.Budget.within(len(m.content(codeSection))).Memory / uint64(measures[0].unit.memory)
}

// maxCarried returns the maximum number of entries in shape.carried over all loops.
// Each entry costs one search for a local.
func (m *module) maxCarried() uint64 {
	if m.cfg.Budget.Time == 0 {
		return math.MaxUint64
	}
	return uint64(m.cfg.Budget.within(len(m.content(codeSection))).Time.Microseconds()) //nolint:gosec // not negative
}

func saturated(ns float64) time.Duration {
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(ns)
}
