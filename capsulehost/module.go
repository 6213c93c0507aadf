package capsulehost

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-actors/astrid-actors/capsulehost/reductions"
)

// Modules that a guest may import from.
const (
	envModuleName  = "extism:host/env"
	userModuleName = "extism:host/user"
	shimModuleName = "shim"
	wasiModuleName = "wasi_snapshot_preview1"
)

// Exports that the host calls.
const (
	ExportInterceptor = "astrid_hook_trigger"
	ExportRun         = "run"
	ExportInstall     = "astrid_install"
	ExportUpgrade     = "astrid_upgrade"

	exportInitialize   = "_initialize"
	exportConstructors = "__wasm_call_ctors"
	exportHaskell      = "hs_init"
)

// recognise refuses a file that is not a core WebAssembly module, by its first bytes.
func recognise(wasm []byte) *Failure {
	const magic = "\x00asm"
	switch {
	case len(wasm) == 0:
		return badModule("the file is empty", nil)
	case !bytes.HasPrefix(wasm, []byte(magic[:min(len(wasm), 4)])):
		return badModule("not a WebAssembly module: it does not begin with \\0asm", nil)
	case len(wasm) < 8:
		return badModule(fmt.Sprintf("the module is truncated: it has only %d bytes", len(wasm)), nil)
	case wasm[6] == 1:
		return badModule("a WebAssembly component, not a core module: build it with an Extism PDK, for a core wasm target", nil)
	case !bytes.Equal(wasm[4:8], []byte{1, 0, 0, 0}):
		return badModule(fmt.Sprintf("WebAssembly of a version that this host does not know (% x)", wasm[4:8]), nil)
	}
	return nil
}

// link checks the module's imports and exports, so that errors are found before it is
// instantiated.
func (s *sharedModule) link() *Failure {
	var none missing
	var mismatch *Failure // the first one found
	for _, d := range s.compiled.ImportedFunctions() {
		module, name, _ := d.Import()
		var want api.FunctionDefinition
		switch module {
		case envModuleName:
			if !strings.HasPrefix(name, "kernel.") {
				want = s.host.kernel.ExportedFunctions()[name]
			}
		case userModuleName:
			want = s.host.user.ExportedFunctionDefinitions()[name]
		case shimModuleName:
			want = s.host.shim.ExportedFunctionDefinitions()[name]
		case reductions.ImportModule:
			continue // added by Rewrite, which refuses it in a guest
		case wasiModuleName:
			want = s.host.wasi.ExportedFunctionDefinitions()[name]
		default:
			if offered := s.host.offered[module]; offered != nil {
				want = offered.ExportedFunctionDefinitions()[name]
			}
		}
		if want == nil {
			none.add(module, name)
			continue
		}
		if got, want := signature(d), signature(want); got != want && mismatch == nil {
			mismatch = linkFailure("it imports %q from %q as %s, which is %s", name, module, got, want)
		}
	}
	if failure := cmp.Or(none.failure(), mismatch); failure != nil {
		return failure
	}
	for _, export := range []struct{ name, signature string }{
		{ExportInterceptor, "() -> i32"},
		{ExportRun, "() -> i32"},
		{ExportInstall, "() -> i32"},
		{ExportUpgrade, "() -> i32"},
		{exportInitialize, "() -> ()"},
		{exportConstructors, "() -> ()"},
	} {
		if d := s.compiled.ExportedFunctions()[export.name]; d != nil && signature(d) != export.signature {
			return linkFailure("its export %q is %s, and must be %s", export.name, signature(d), export.signature)
		}
	}
	return nil
}

// startUp returns the exports to call after the module is instantiated, in the order of
// Extism. A Haskell module calls _initialize, if exported, and then hs_init. Otherwise
// constructors replace _initialize. _start is an ordinary export.
func (m *Module) startUp() []string {
	initialize := m.HasExport(exportInitialize)
	haskell := m.compiled.ExportedFunctions()[exportHaskell]
	switch {
	case haskell != nil && slices.Equal(haskell.ParamTypes(), []api.ValueType{i32, i32}):
		if initialize {
			return []string{exportInitialize, exportHaskell}
		}
		return []string{exportHaskell}
	case m.HasExport(exportConstructors):
		return []string{exportConstructors}
	case initialize:
		return []string{exportInitialize}
	default:
		return nil
	}
}

// HasExport reports whether the module exports a function with this name.
func (m *Module) HasExport(name string) bool { return m.compiled.ExportedFunctions()[name] != nil }

// RunLoop reports whether the module is a run-loop capsule: it exports `run`.
func (m *Module) RunLoop() bool { return m.HasExport(ExportRun) }

// Serves checks that the module can serve the given number of interceptors in its
// manifest. The error is a *Failure of KindLink.
func (m *Module) Serves(interceptors int) error {
	if interceptors == 0 || m.RunLoop() || m.HasExport(ExportInterceptor) {
		return nil
	}
	return linkFailure("it exports neither %q, which would answer the interceptors of its manifest (there are %d), nor %q",
		ExportInterceptor, interceptors, ExportRun)
}

// signature returns a function's type as text: "(i64, i64) -> i32".
func signature(d api.FunctionDefinition) string {
	list := func(types []api.ValueType) string {
		names := make([]string, len(types))
		for i, t := range types {
			names[i] = api.ValueTypeName(t)
		}
		return strings.Join(names, ", ")
	}
	results := list(d.ResultTypes())
	if len(d.ResultTypes()) != 1 {
		results = "(" + results + ")"
	}
	return "(" + list(d.ParamTypes()) + ") -> " + results
}

func badModule(message string, cause error) *Failure {
	return &Failure{Kind: KindBadModule, Message: message, cause: cause}
}

func linkFailure(format string, args ...any) *Failure {
	return &Failure{Kind: KindLink, Message: fmt.Sprintf(format, args...)}
}
