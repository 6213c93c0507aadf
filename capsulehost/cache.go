package capsulehost

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"runtime/debug"

	"lukechampine.com/blake3"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/compiler"
	"github.com/astrid-actors/astrid-actors/capsulehost/internal/modcache"
	"github.com/astrid-actors/astrid-actors/capsulehost/reductions"
)

// cacheFormat is raised when entries of the cache, or how they are compiled, change.
const cacheFormat = 1

// nameOf is the name of a module in the cache: a hash of its bytes, and of all that
// decides what they are compiled to. So a module that a stricter version would
// refuse is not found in the cache of an older one.
func (h *Host) nameOf(kind string, wasm []byte) (name modcache.Name) {
	d := blake3.New(len(name), nil)
	_, _ = fmt.Fprintf(d, "%s %s\n", kind, h.settings) // a hash takes all
	_, _ = d.Write(wasm)
	d.Sum(name[:0])
	return name
}

// settings are what decides the code of a module, but for what the processor can do:
// compiler.Load sees to that.
func settings(c reductions.Config) string {
	return fmt.Sprintf("%d %s %s/%s %d %d %+v", cacheFormat, wazeroVersion(), runtime.GOOS, runtime.GOARCH,
		features, reductions.Version, c)
}

// wazeroVersion is which wazero is in this program.
func wazeroVersion() string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return "" // wazero's own check of versions remains
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/tetratelabs/wazero" {
			for m.Replace != nil {
				m = m.Replace
			}
			return m.Path + "@" + m.Version + " " + m.Sum
		}
	}
	return ""
}

// artifact is what the cache keeps of a module.
type artifact struct {
	code       compiler.Code
	tableBytes uint64 // of each instance, at its start
}

// encode is the content of an entry, in parts: the key, the size of tables, the shell
// behind its size, and the machine code.
func (a artifact) encode() [][]byte {
	sizes := binary.LittleEndian.AppendUint64(nil, a.tableBytes)
	sizes = binary.LittleEndian.AppendUint64(sizes, uint64(len(a.code.Shell)))
	return [][]byte{a.code.Key[:], sizes, a.code.Shell, a.code.Machine}
}

// decodeArtifact is the reverse; false where there is no entry.
func decodeArtifact(content []byte) (a artifact, ok bool) {
	const head = len(a.code.Key) + 16
	if len(content) < head {
		return a, false
	}
	sizes, rest := content[copy(a.code.Key[:], content):head], content[head:]
	a.tableBytes = binary.LittleEndian.Uint64(sizes)
	size := binary.LittleEndian.Uint64(sizes[8:])
	if size > uint64(len(rest)) {
		return a, false
	}
	// wazero keeps the shell as long as the module: it must not hold the machine code, too.
	a.code.Shell, a.code.Machine = append([]byte(nil), rest[:size]...), rest[size:]
	return a, true
}
