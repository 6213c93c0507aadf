package capsulehost

import "regexp"

// refusals maps errors of the rewriting and of wazero to sentences for a person. Each
// names a WebAssembly proposal that a compiler may use and this host does not support,
// and how to build without it.
var refusals = []struct {
	pattern  *regexp.Regexp
	sentence string // $1 is the pattern's first group
}{
	{
		regexp.MustCompile(`unknown instruction (0x06|0x07|0x09|0x18|0x19)$`),
		"legacy exceptions (opcode $1)" + withoutExceptions,
	},
	{
		regexp.MustCompile(`(try_table|throw|throw_ref|tag section) .*feature "exception-handling" is disabled`),
		"exceptions ($1)" + withoutExceptions,
	},
	{
		regexp.MustCompile(`unknown instruction (0xfd 0x1[0-9a-f]{2})$`),
		"relaxed SIMD (opcode $1): rebuild it without -mrelaxed-simd (Rust: without the target feature relaxed-simd); plain SIMD runs",
	},
	{
		regexp.MustCompile(`(unknown instruction 0xfb|of the form 0x(?:4e|4f|50|5e|5f)|invalid value type: 1(?:0[6-9]|10|1[345])\b)`),
		"the types of garbage collection ($1): there is no setting for them; use a compiler for linear memory",
	},
	{
		regexp.MustCompile(`((?:[\w.]+) invalid as feature "threads" is disabled|shared memory)`),
		"threads ($1), and a guest has only one: rebuild it without -pthread, -matomics and shared memory (Rust: without the target feature atomics)",
	},
	{
		regexp.MustCompile(`(a second memory|at most one memory allowed in module, but read \d+)`),
		"several memories ($1): rebuild it with one (without --enable-multi-memory or the target feature multimemory)",
	},
	{
		regexp.MustCompile(`limits with the flags (0x0[4-7])$`),
		"64-bit memory or tables (flags $1): rebuild it for wasm32 (Emscripten: without -sMEMORY64)",
	},
	{
		regexp.MustCompile(`limits with the flags (0x0[89a-f])$`),
		"custom page sizes (flags $1): rebuild it with pages of 64 KiB",
	},
	{
		regexp.MustCompile(`unknown instruction (0xfc 0x1[3-6])$`),
		"wide arithmetic (opcode $1): rebuild it without the target feature wide-arithmetic",
	},
	{
		regexp.MustCompile(`min (\d+) pages .* over limit of (\d+) pages`), // the MiB in the message are rounded
		"a memory that begins with $1 pages of 64 KiB, over the limit of $2: raise MemoryLimitPages to $1 or more, or link it with a smaller initial memory",
	},
}

// withoutExceptions is the advice for both forms of exceptions. wazero 1.12 supports the
// newer form, but hides exceptions from Go's garbage collector, and copies the guest's
// whole stack for each block that catches: see RATIONALE.
const withoutExceptions = ", which a guest could bring the host down with: rebuild it without them " +
	"(C++: -fno-exceptions; Emscripten: -sDISABLE_EXCEPTION_CATCHING=1 and -sSUPPORT_LONGJMP=0; Rust: panic=abort)"

// refusal returns the failure for a module that does not compile.
func refusal(err error) *Failure {
	line := firstLine(err)
	for _, r := range refusals {
		if at := r.pattern.FindStringSubmatchIndex(line); at != nil {
			return badModule("it uses "+string(r.pattern.ExpandString(nil, r.sentence, line, at)), err)
		}
	}
	return badModule("the module does not compile: "+line, err)
}
