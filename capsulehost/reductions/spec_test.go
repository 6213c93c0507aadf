package reductions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/astrid-actors/astrid-actors/capsulehost/reductions"
)

// The proposals with suites in wazero, by directory name.
var suites = map[string]api.CoreFeatures{
	"v1":                        api.CoreFeaturesV1,
	"v2":                        api.CoreFeaturesV2,
	"extended-const":            api.CoreFeaturesV2 | experimental.CoreFeaturesExtendedConst,
	"tail-call":                 api.CoreFeaturesV2 | experimental.CoreFeaturesTailCall,
	"threads":                   api.CoreFeaturesV2 | experimental.CoreFeaturesThreads,
	"typed-function-references": api.CoreFeaturesV2 | experimental.CoreFeaturesTailCall | experimental.CoreFeaturesTypedFunctionReferences,
	"exception-handling": api.CoreFeaturesV2 | experimental.CoreFeaturesTailCall |
		experimental.CoreFeaturesTypedFunctionReferences | experimental.CoreFeaturesExceptionHandling,
}

// The official test suite, which is included in wazero's module. Each script is run twice side
// by side, unmodified and rewritten. Both must do the same, command by command, including the
// bytes in memory.
func TestSpecification(t *testing.T) {
	root := filepath.Join(wazeroDir(t), "internal", "integration_test", "spectest")
	found, err := filepath.Glob(filepath.Join(root, "*", "testdata", "*.json"))
	if err != nil || len(found) < 200 {
		t.Fatalf("%d scripts below %s (%v): the suite has moved", len(found), root, err)
	}
	scripts := map[string][]string{}
	for _, path := range found {
		suite := filepath.Base(filepath.Dir(filepath.Dir(path)))
		if _, ok := suites[suite]; !ok {
			t.Errorf("the suite %q is not known here", suite)
		}
		scripts[suite] = append(scripts[suite], path)
	}
	for suite, features := range suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			if len(scripts[suite]) == 0 {
				t.Fatal("no scripts")
			}
			seen := map[string]int{}
			for _, path := range scripts[suite] {
				runScript(t, suite, path, filepath.Join(root, "testdata", "spectest.wasm"), features, seen)
			}
			t.Logf("%d scripts: %v", len(scripts[suite]), seen)
		})
	}
}

const nullIsFunction0 = "wazero takes the type of `ref.null func` for that of `ref.func 0`, which is our import where there was no function"

// differences lists known differences in the outcome, with their reasons.
var differences = map[string]string{
	"typed-function-references/table.json line 57, assert_invalid ": nullIsFunction0,
	"typed-function-references/table.json line 61, assert_invalid ": nullIsFunction0,
}

func wazeroDir(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").Output()
	if err != nil {
		t.Fatalf("find wazero's sources: %v", err)
	}
	return strings.TrimSpace(string(out))
}

type command struct {
	Type, Name, Filename, As string
	Text                     string
	Line                     int
	ModuleType               string `json:"module_type"`
	Action                   struct {
		Type, Field, Module string
		Args                []struct {
			Type     string
			LaneType string `json:"lane_type"`
			Value    any
		}
	}
}

// side is one of the two runtimes that run a script.
type side struct {
	runtime wazero.Runtime
	rewrite bool
	last    api.Module
	named   map[string]api.Module
	ticks   int
	why     error // error of the last module that did not compile
}

func newSide(t *testing.T, features api.CoreFeatures, rewrite bool, spectest []byte) *side {
	ctx := context.Background()
	s := &side{runtime: wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(features)), rewrite: rewrite, named: map[string]api.Module{}}
	if rewrite {
		link(t, s.runtime, 7, &s.ticks)
	}
	if _, err := s.instantiate(spectest, "spectest"); err != nil {
		t.Fatal(err)
	}
	return s
}

// link instantiates a tick that always continues.
func link(t testing.TB, r wazero.Runtime, quantum uint64, ticks *int) {
	t.Helper()
	tick := func(_ context.Context, m api.Module, _ []uint64) {
		*ticks++
		m.ExportedGlobal(reductions.Counter).(api.MutableGlobal).Set(quantum)
	}
	if _, err := r.NewHostModuleBuilder(reductions.ImportModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(tick), nil, nil).Export(reductions.Tick).
		Instantiate(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func (s *side) instantiate(wasm []byte, name string) (api.Module, error) {
	if s.rewrite {
		var err error
		if wasm, _, err = reductions.Rewrite(wasm, reductions.Config{}); err != nil {
			return nil, fmt.Errorf("compile: %w", err)
		}
	}
	ctx := context.Background()
	compiled, err := s.runtime.CompileModule(ctx, wasm)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	return s.runtime.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName(name))
}

// do runs a command and returns its outcome as text.
func (s *side) do(t *testing.T, dir string, c command, registered string) string {
	m := s.last
	if c.Action.Module != "" {
		m = s.named[c.Action.Module]
	}
	switch {
	case c.Type == "register": // done with the module
		return ""
	case c.Filename != "":
		wasm, err := os.ReadFile(filepath.Join(dir, c.Filename))
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.instantiate(wasm, registered)
		if c.Type == "module" && err == nil {
			s.last = m
			if c.Name != "" {
				s.named[c.Name] = m
			}
		}
		if err != nil && strings.HasPrefix(err.Error(), "compile: ") {
			s.why = err
			return "does not compile"
		}
		return outcome(nil, nil, err)
	case c.Action.Type == "get":
		return fmt.Sprint(m.ExportedGlobal(c.Action.Field).Get())
	case c.Action.Type == "invoke":
		var args []uint64
		for _, a := range c.Action.Args {
			args = append(args, argument(a.Type, a.LaneType, a.Value)...)
		}
		f := m.ExportedFunction(c.Action.Field)
		if f == nil {
			t.Fatalf("line %d: no function %q", c.Line, c.Action.Field)
		}
		results, err := f.Call(context.Background(), args...)
		return outcome(f.Definition().ResultTypes(), results, err)
	default:
		t.Fatalf("line %d: the command %q is not known here", c.Line, c.Type)
		return ""
	}
}

var number = regexp.MustCompile(`\d+`)

// outcome returns the results, or the error without its stack trace. Numbers are removed from
// errors, because function indices differ.
func outcome(types []api.ValueType, results []uint64, err error) string {
	if err != nil {
		line, _, _ := strings.Cut(err.Error(), "\n")
		return "error: " + number.ReplaceAllString(line, "N")
	}
	results = append([]uint64(nil), results...)
	if len(types) == len(results) {
		for i, typ := range types {
			if typ != api.ValueTypeI32 && typ != api.ValueTypeI64 && typ != api.ValueTypeF32 && typ != api.ValueTypeF64 {
				results[i] = min(results[i], 1) // a reference is an address
			}
		}
	}
	return fmt.Sprint(results)
}

func argument(typ, lane string, value any) []uint64 {
	parse := func(v any, bits int) uint64 {
		text, _ := v.(string)
		switch {
		case text == "" || text == "null":
			return 0
		case strings.HasPrefix(text, "nan"):
			if bits == 32 {
				return 0x7fc00000
			}
			return 0x7ff8000000000000
		case strings.HasPrefix(text, "-"):
			n, _ := strconv.ParseInt(text, 10, 64)
			return uint64(n)
		}
		n, _ := strconv.ParseUint(text, 10, 64)
		return n
	}
	switch typ {
	case "i32", "f32":
		return []uint64{uint64(uint32(parse(value, 32)))}
	case "externref":
		if value == "null" || value == nil {
			return []uint64{0}
		}
		return []uint64{parse(value, 64) + 1}
	case "v128":
		lanes, _ := value.([]any)
		width, _ := strconv.Atoi(lane[1:])
		var out [2]uint64
		for i, v := range lanes {
			at := i * width
			out[at/64] |= parse(v, width) & (1<<width - 1) << (at % 64)
		}
		return out[:]
	default:
		return []uint64{parse(value, 64)}
	}
}

func runScript(t *testing.T, suite, path, spectest string, features api.CoreFeatures, seen map[string]int) {
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var script struct{ Commands []command }
	if err := json.Unmarshal(raw, &script); err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile(spectest)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	plain, counted := newSide(t, features, false, wasm), newSide(t, features, true, wasm)
	defer plain.runtime.Close(ctx)
	defer counted.runtime.Close(ctx)
	for i, c := range script.Commands {
		seen[c.Type]++
		if c.ModuleType == "text" {
			seen["as text, without a module"]++
			continue
		}
		registered := ""
		if i+1 < len(script.Commands) && script.Commands[i+1].Type == "register" {
			registered = script.Commands[i+1].As
		}
		want, got := plain.do(t, filepath.Dir(path), c, registered), counted.do(t, filepath.Dir(path), c, registered)
		where := fmt.Sprintf("%s line %d, %s %s", filepath.Base(path), c.Line, c.Type, c.Action.Field)
		if reason := differences[suite+"/"+where]; got != want && reason != "" {
			seen["known difference: "+reason]++
			continue
		} else if got != want {
			t.Fatalf("%s: %s when counted, %s as it is (%v)", where, got, want, errors.Join(plain.why, counted.why))
		}
		// The suite's expectation, so that the same mistake on both sides is noticed.
		failed := strings.HasPrefix(want, "error") || want == "does not compile"
		if c.Text == "out of bounds table access" && c.Type == "assert_uninstantiable" {
			continue // wazero keeps such an instance on purpose
		}
		if mustFail := strings.HasPrefix(c.Type, "assert") && c.Type != "assert_return"; failed != mustFail {
			t.Errorf("%s: came to %q as it is", where, want)
		}
		if c.Action.Type == "invoke" && !bytes.Equal(memory(plain.last), memory(counted.last)) {
			t.Errorf("%s: other bytes in memory when counted", where)
		}
	}
	seen["ticks"] += counted.ticks
}

// memory returns a module's memory, or nil if it has none.
func memory(m api.Module) []byte {
	if m == nil || m.Memory() == nil || reflect.ValueOf(m.Memory()).IsNil() { // wazero returns a typed nil
		return nil
	}
	b, _ := m.Memory().Read(0, m.Memory().Size())
	return b
}
