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

// cacheFormat must be increased when the format of the cache's entries, or the way
// they are compiled, changes.
const cacheFormat = 1

// nameOf returns a module's name in the cache: a hash of its bytes and of all settings
// that affect its compiled code. So a cache written by an older version never returns
// a module that a stricter version would refuse.
func (h *Host) nameOf(kind string, wasm []byte) (name modcache.Name) {
	d := blake3.New(len(name), nil)
	_, _ = fmt.Fprintf(d, "%s %s\n", kind, h.settings) // writing to a hash cannot fail
	_, _ = d.Write(wasm)
	d.Sum(name[:0])
	return name
}

// settings describes all settings that affect a module's compiled code, except the
// features of the processor, which compiler.Load checks.
func settings(c reductions.Config) string {
	return fmt.Sprintf("%d %s %s/%s %d %d %+v", cacheFormat, wazeroVersion(), runtime.GOOS, runtime.GOARCH,
		features, reductions.Version, c)
}

// wazeroVersion returns the version of wazero in this program.
func wazeroVersion() string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return "" // wazero's own version check remains
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

// artifact is the content of a module's cache entry.
type artifact struct {
	code       compiler.Code
	tableBytes uint64 // initial size of each instance's tables
}

// encode returns the content of an entry in parts: the key, the size of the tables,
// the size of the shell, the shell, and the machine code.
func (a artifact) encode() [][]byte {
	sizes := binary.LittleEndian.AppendUint64(nil, a.tableBytes)
	sizes = binary.LittleEndian.AppendUint64(sizes, uint64(len(a.code.Shell)))
	return [][]byte{a.code.Key[:], sizes, a.code.Shell, a.code.Machine}
}

// decodeArtifact reverses encode. ok is false if content is too short, as for a missing entry.
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
	// wazero keeps the shell as long as the module. A copy keeps it from holding the
	// machine code in memory as well.
	a.code.Shell, a.code.Machine = append([]byte(nil), rest[:size]...), rest[size:]
	return a, true
}
