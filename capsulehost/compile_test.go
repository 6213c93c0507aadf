package capsulehost

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/compiler"
	"github.com/astrid-actors/astrid-actors/capsulehost/internal/kernel"
)

// warnings is a log with one line per warning.
type warnings struct {
	mu    sync.Mutex
	lines []string
}

func (w *warnings) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, string(p))
	return len(p), nil
}

// host returns a host with a cache that logs to w.
func (w *warnings) host(t testing.TB, dir string) *Host {
	t.Helper()
	return newHost(t, Config{CacheDir: dir, Log: slog.New(slog.NewTextHandler(w, nil))})
}

// expect checks the number of warnings since the last call.
func (w *warnings) expect(t *testing.T, n int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.lines) != n {
		t.Errorf("%d warnings, want %d: %q", len(w.lines), n, w.lines)
	}
	w.lines = nil
}

// mustEcho checks that a host runs the echo capsule.
func mustEcho(t *testing.T, h *Host) {
	t.Helper()
	i := mustInstantiate(t, h, fixture(t, "echo"), &world{})
	if got, err := i.Invoke(context.Background(), "a", []byte("ping")); err != nil || string(got.Data) != "ping" {
		t.Errorf("echo answers %q, %v", got.Data, err)
	}
}

// counting makes a host count its compilations.
func counting(h *Host) *atomic.Int32 {
	n, compile := new(atomic.Int32), h.compile
	h.compile = func(ctx context.Context, wasm []byte, id [32]byte) (compiler.Code, error) {
		n.Add(1)
		return compile(ctx, wasm, id)
	}
	return n
}

// entries returns the cache files of the kernel and of the echo capsule.
func entries(t *testing.T, h *Host, dir string) (kernelFile, echoFile string) {
	t.Helper()
	path := func(kind string, wasm []byte) string {
		name := h.nameOf(kind, wasm)
		return filepath.Join(dir, hex.EncodeToString(name[:])+".module")
	}
	return path("kernel", kernel.Wasm), path("capsule", fixture(t, "echo"))
}

// A cached module is neither rewritten nor compiled again, and behaves the same.
func TestCachedModule(t *testing.T) {
	var log warnings
	dir := t.TempDir()
	first := log.host(t, dir)
	compiled := counting(first)
	mustEcho(t, first)
	second := log.host(t, dir)
	again := counting(second)
	mustEcho(t, second)
	if compiled.Load() != 1 || again.Load() != 0 {
		t.Errorf("compiled %d times, then %d times", compiled.Load(), again.Load())
	}
	// Traps of a cached module include the guest's stack.
	for _, h := range []*Host{first, second} {
		i := mustInstantiate(t, h, fixture(t, "trap"), &world{})
		_, err := i.Invoke(context.Background(), "a", nil)
		var failure *Failure
		if !errors.As(err, &failure) || failure.Kind != KindTrap || len(failure.Stack) == 0 {
			t.Errorf("got %v", err)
		}
	}
	// Another limit needs another rewriting.
	other := newHost(t, Config{CacheDir: dir, MemoryLimitPages: 7})
	limited := counting(other)
	mustEcho(t, other)
	if limited.Load() != 1 {
		t.Errorf("with another limit it was compiled %d times", limited.Load())
	}
	log.expect(t, 0)
}

// With any damage to a cache entry, hosts start and capsules run; the damage is logged once,
// and the entry is replaced.
func TestDamagedCache(t *testing.T) {
	dir := t.TempDir()
	pristine := newHost(t, Config{CacheDir: dir})
	mustEcho(t, pristine)
	kernelFile, echoFile := entries(t, pristine, dir)
	elsewhere := t.TempDir()
	other := newHost(t, Config{CacheDir: elsewhere})
	mustEcho(t, other)

	for _, file := range []string{kernelFile, echoFile} {
		good := read(t, file)
		damaged := map[string][]byte{
			"emptied": {}, "one byte": good[:1], "cut in two": good[:len(good)/2], "cut at the end": good[:len(good)-1],
			"longer": append(bytes.Clone(good), 0), "not ours": []byte(strings.Repeat("WAZEVO", 100)),
			"of another key": read(t, filepath.Join(elsewhere, filepath.Base(file))),
		}
		if file == kernelFile {
			damaged["another module's"] = read(t, echoFile)
		} else {
			damaged["another module's"] = read(t, kernelFile)
		}
		// All bytes of the head, with its sizes; then samples of shell, offsets and code.
		for at := 0; at < len(good); at += 1 + at/20 {
			bit := bytes.Clone(good)
			bit[at] ^= 1 << (at % 8)
			damaged[fmt.Sprintf("bit in byte %d of %d", at, len(good))] = bit
		}
		for name, entry := range damaged {
			if err := os.WriteFile(file, entry, 0o600); err != nil {
				t.Fatal(err)
			}
			var log warnings
			mustEcho(t, log.host(t, dir))
			log.expect(t, 1)
			mustEcho(t, log.host(t, dir))
			log.expect(t, 0)
			if t.Failed() {
				t.Fatalf("%s: %s", filepath.Base(file), name)
			}
		}
	}
}

// A cache that can't be used is logged once, and has no other effect. The same holds for a
// cache with a wrong key.
func TestCacheThatCannotBeUsed(t *testing.T) {
	for name, dir := range map[string]func(dir string) (string, error){
		"a plain file": func(dir string) (string, error) { return dir + "/f", os.WriteFile(dir+"/f", nil, 0o600) },
		"under a file": func(dir string) (string, error) { return dir + "/f/cache", os.WriteFile(dir+"/f", nil, 0o600) },
		"of a system":  func(string) (string, error) { return "/proc/self/cache", nil },
		"a key for all": func(dir string) (string, error) {
			return dir, os.WriteFile(dir+"/key", bytes.Repeat([]byte("k"), 32), 0o644)
		},
		"half a key": func(dir string) (string, error) { return dir, os.WriteFile(dir+"/key", []byte("k"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			path, err := dir(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			var log warnings
			h := log.host(t, path)
			mustEcho(t, h)
			i := mustInstantiate(t, h, fixture(t, "counter"), &world{})
			if _, err := i.Invoke(context.Background(), "a", nil); err != nil {
				t.Error(err)
			}
			log.expect(t, 1)
		})
	}
}

// Hosts that start at the same time can share a cache.
func TestSharedCache(t *testing.T) {
	var log warnings
	dir := filepath.Join(t.TempDir(), "cache")
	var group sync.WaitGroup
	for range 8 {
		h := make(chan *Host)
		group.Go(func() { h <- log.host(t, dir) })
		group.Go(func() {
			m, err := (<-h).Compile(context.Background(), fixture(t, "echo"))
			if err != nil {
				t.Error(err)
				return
			}
			_ = m.Close(context.Background())
		})
	}
	group.Wait()
	last := log.host(t, dir)
	compiled := counting(last)
	mustEcho(t, last)
	if n := compiled.Load(); n != 0 {
		t.Errorf("compiled %d times after all", n)
	}
	log.expect(t, 0)
}

// gate blocks a host's compilations of heavy modules once they have started.
type gate struct {
	started chan struct{} // one value per compilation
	open    chan struct{}
	running atomic.Int32
}

func newGate(h *Host) *gate {
	g := &gate{started: make(chan struct{}, 100), open: make(chan struct{})}
	compile := h.compile
	h.compile = func(ctx context.Context, wasm []byte, id [32]byte) (compiler.Code, error) {
		if len(wasm) >= largeBytes {
			g.running.Add(1)
			defer g.running.Add(-1)
			g.started <- struct{}{}
			<-g.open
		}
		return compile(ctx, wasm, id)
	}
	return g
}

// largeBytes is larger than any other module in this file.
const largeBytes = 64 << 10

// heavy returns a module that is heavy to compile, a different one for each n. Its output is
// empty.
func heavy(n int) []byte {
	const functions = 600
	body := []byte{0x01, 0x08, 0x7f, 0x41, byte(n), 0x21, 0x00} // eight i32; local 0 = n
	for i := range 120 {
		a, b, c := byte(i%8), byte(i*3%8), byte(i*5%8)
		body = append(body, 0x20, a, 0x20, b, 0x6c, 0x20, c, 0x73, 0x21, c) // c = a * b ^ c
	}
	body = append(body, 0x41, 0x00, 0x0b) // return 0
	body = append(binary.AppendUvarint(nil, uint64(len(body))), body...)
	section := func(out []byte, id byte, content []byte) []byte {
		return append(binary.AppendUvarint(append(out, id), uint64(len(content))), content...)
	}
	count := binary.AppendUvarint(nil, functions)
	out := section([]byte("\x00asm\x01\x00\x00\x00"), 1, []byte("\x01\x60\x00\x01\x7f")) // () -> i32
	out = section(out, 3, append(bytes.Clone(count), make([]byte, functions)...))
	out = section(out, 7, append([]byte{1, byte(len(ExportInterceptor))}, ExportInterceptor+"\x00\x00"...))
	return section(out, 10, append(count, bytes.Repeat(body, functions)...))
}

// compileLater compiles on its own goroutine.
func compileLater(ctx context.Context, h *Host, wasm []byte) <-chan error {
	done := make(chan error, 1)
	go func() {
		m, err := h.Compile(ctx, wasm)
		if err == nil {
			err = m.Close(context.Background())
		}
		done <- err
	}()
	return done
}

// Compile returns when its context is cancelled. The compilation continues, serves later
// callers while it runs, and then stores its result in the cache.
func TestAbandonedCompilation(t *testing.T) {
	dir := t.TempDir()
	h := newHost(t, Config{CacheDir: dir})
	compiled, g := counting(h), newGate(h)
	ctx, cancel := context.WithCancelCause(context.Background())
	first := compileLater(ctx, h, heavy(1))
	<-g.started
	why := errors.New("stopped by the operator")
	cancel(why)
	var failure *Failure
	if err := <-first; !errors.As(err, &failure) || failure.Kind != KindCancelled || !errors.Is(err, why) {
		t.Errorf("the first caller: %v", err)
	}
	if g.running.Load() != 1 {
		t.Error("the compilation does not run any more")
	}
	second := compileLater(context.Background(), h, heavy(1))
	awaitHolders(t, h, 1)
	close(g.open)
	if err := <-second; err != nil {
		t.Errorf("who came later: %v", err)
	}
	awaitBuilds(t, h)
	if n := compiled.Load(); n != 1 {
		t.Errorf("compiled %d times", n)
	}
	if len(h.modules) != 0 {
		t.Errorf("%d modules are still held", len(h.modules))
	}

	// No caller waits for the end of this one, and the next start finds it in the cache.
	third := compileLater(ctxOf(t, g.started), h, heavy(2))
	if err := <-third; !errors.As(err, &failure) {
		t.Errorf("got %v", err)
	}
	awaitBuilds(t, h)
	next := newHost(t, Config{CacheDir: dir})
	again := counting(next)
	if err := <-compileLater(context.Background(), next, heavy(2)); err != nil || again.Load() != 0 || len(h.modules) != 0 {
		t.Errorf("%v; compiled %d times again; %d modules held", err, again.Load(), len(h.modules))
	}
}

// ctxOf returns a context that ends with the next event.
func ctxOf(t *testing.T, event <-chan struct{}) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-event; cancel() }()
	return ctx
}

// awaitHolders waits until the host's modules have n holders, including waiting callers.
func awaitHolders(t *testing.T, h *Host, n int) {
	t.Helper()
	await(t, h, func() bool {
		holders := 0
		for _, s := range h.modules {
			holders += s.holders
		}
		return holders == n
	})
}

// awaitBuilds waits until no compilation is running.
func awaitBuilds(t *testing.T, h *Host) {
	t.Helper()
	await(t, h, func() bool { return h.builds == 0 })
}

func await(t *testing.T, h *Host, condition func() bool) {
	t.Helper()
	for t.Context().Err() == nil {
		h.mu.Lock()
		met := condition()
		h.mu.Unlock()
		if met {
			return
		}
		runtime.Gosched()
	}
}

// A running compilation is abandoned, and the host is closed meanwhile.
func TestCloseWhileCompiling(t *testing.T) {
	h := newHost(t, Config{CacheDir: t.TempDir()})
	compile, started, abandoned := h.compile, make(chan struct{}), make(chan struct{})
	h.compile = func(ctx context.Context, wasm []byte, id [32]byte) (compiler.Code, error) {
		close(started)
		defer func() { <-abandoned }() // regardless of the machine's speed
		return compile(ctx, wasm, id)
	}
	ctx, cancel := context.WithCancel(context.Background())
	wasm := heavy(1)
	first, second := compileLater(ctx, h, wasm), compileLater(context.Background(), h, wasm)
	<-started
	awaitHolders(t, h, 2)
	cancel()
	var failure *Failure
	if err := <-first; !errors.As(err, &failure) || failure.Kind != KindCancelled {
		t.Errorf("got %v", err)
	}
	if err := h.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-second; !errors.Is(err, ErrClosed) {
		t.Errorf("who waited when the host was closed: %v", err)
	}
	close(abandoned)
	awaitBuilds(t, h)
	if _, err := h.Compile(context.Background(), fixture(t, "echo")); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// While the maximum number of heavy modules is compiled, a small one is compiled without
// waiting. A waiting compilation is not started if its caller has left.
func TestSmallModulesPassHeavyOnes(t *testing.T) {
	h := newHost(t, Config{})
	compiled, g := counting(h), newGate(h)
	ctx, cancel := context.WithCancel(context.Background())
	places := max(1, runtime.GOMAXPROCS(0)-1)
	var waiting []<-chan error
	for n := range 20 {
		waiting = append(waiting, compileLater(ctx, h, heavy(n)))
	}
	for range places {
		<-g.started
	}
	awaitHolders(t, h, 20)
	mustEcho(t, h)
	if n := g.running.Load(); int(n) != places {
		t.Errorf("%d heavy compilations run, want %d", n, places)
	}
	cancel()
	for n, done := range waiting {
		var failure *Failure
		if err := <-done; !errors.As(err, &failure) || failure.Kind != KindCancelled {
			t.Errorf("heavy %d: %v", n, err)
		}
	}
	await(t, h, func() bool { return h.builds == places }) // the others no longer wait for a slot
	close(g.open)
	awaitBuilds(t, h)
	if n := compiled.Load(); int(n) != places+1 {
		t.Errorf("%d compilations, want %d", n, places+1)
	}
}

// A caller that ran out of time keeps its place among those that wait to compile, and then
// the result, for ten minutes.
func TestUnclaimedModules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, Config{})
		compiled, g := counting(h), newGate(h)
		places := cap(h.heavy)
		first := 0
		timeOut := func() {
			t.Helper()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var waiting []<-chan error
			for n := range places + 1 {
				waiting = append(waiting, compileLater(ctx, h, heavy(first+n)))
			}
			for _, done := range waiting {
				var failure *Failure
				if err := <-done; !errors.As(err, &failure) || failure.Kind != KindTimeout {
					t.Errorf("got %v", err)
				}
			}
		}
		expect := func(after time.Duration, builds, modules int) {
			t.Helper()
			<-time.After(after)
			synctest.Wait()
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.builds != builds || len(h.modules) != modules {
				t.Errorf("%d modules, of which %d are not built; want %d and %d", len(h.modules), h.builds, modules, builds)
			}
		}
		timeOut()
		expect(unclaimedTime-time.Second, places+1, places+1)
		expect(time.Second, places, places) // the last one has left its place; the others can't be stopped
		for range places {
			g.open <- struct{}{}
		}
		expect(0, 0, 0)

		first = 10
		timeOut()
		close(g.open)
		expect(unclaimedTime-time.Second, 0, places+1)
		if err := <-compileLater(context.Background(), h, heavy(first)); err != nil {
			t.Error(err)
		}
		if n := compiled.Load(); int(n) != 2*places+1 {
			t.Errorf("compiled %d times, want %d", n, 2*places+1)
		}
		expect(time.Second, 0, 0)
	})
}

// Callers with the same bytes share one compilation, and the code is freed when the last of
// them closes its module.
func TestModulesAreShared(t *testing.T) {
	h := newHost(t, Config{})
	compiled, g := counting(h), newGate(h)
	modules := make(chan *Module, 8)
	for range cap(modules) {
		go func() {
			m, err := h.Compile(context.Background(), heavy(1))
			if err != nil {
				t.Error(err)
			}
			modules <- m
		}()
	}
	awaitHolders(t, h, cap(modules))
	close(g.open)
	var last *Module
	for n := range cap(modules) {
		if last != nil {
			for range 2 { // the second call does nothing
				if err := last.Close(context.Background()); err != nil {
					t.Error(err)
				}
			}
		}
		last = <-modules
		if len(h.modules) != 1 {
			t.Errorf("after %d were closed: %d modules", n, len(h.modules))
		}
	}
	i, err := last.Instantiate(context.Background(), &world{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.Invoke(context.Background(), "a", nil); err != nil {
		t.Errorf("the last one: %v", err)
	}
	_, _ = i.Close(context.Background()), last.Close(context.Background())
	if compiled.Load() != 1 || len(h.modules) != 0 {
		t.Errorf("compiled %d times; %d modules left", compiled.Load(), len(h.modules))
	}
}

// A panic of the compiler is a failure for all waiting callers, and the next call tries again.
// The same holds for an error.
func TestCompilerThatPanics(t *testing.T) {
	h := newHost(t, Config{})
	compile, open := h.compile, make(chan struct{})
	h.compile = func(context.Context, []byte, [32]byte) (compiler.Code, error) {
		<-open
		panic("regalloc: no registers left")
	}
	var tries []<-chan error
	for range 3 {
		tries = append(tries, compileLater(context.Background(), h, heavy(1)))
	}
	held, _ := h.share(context.Background(), heavy(1))
	awaitHolders(t, h, 4)
	close(open)
	for _, try := range tries {
		var failure *Failure
		if err := <-try; !errors.As(err, &failure) || failure.Kind != KindBadModule ||
			!strings.Contains(err.Error(), "compiler panic: regalloc: no registers left") {
			t.Errorf("got %v", err)
		}
	}
	awaitBuilds(t, h)
	h.compile = compile
	for range cap(h.heavy) + 1 { // no slot is lost
		if err := <-compileLater(context.Background(), h, heavy(1)); err != nil {
			t.Error(err)
		}
	}
	h.release(context.Background(), held) // a holder of the failed module does not disturb others
	if len(h.modules) != 0 {
		t.Errorf("%d modules left", len(h.modules))
	}
}

// Instantiating a module with an endless start function ends with its context.
func TestInstantiateEndsWithItsContext(t *testing.T) {
	h := newHost(t, Config{})
	m, err := h.Compile(context.Background(), []byte("\x00asm\x01\x00\x00\x00"+
		"\x01\x04\x01\x60\x00\x00"+ // type 0: () -> ()
		"\x03\x02\x01\x00"+ // a function
		"\x08\x01\x00"+ // it is the start function
		"\x0a\x09\x01\x07\x00\x03\x40\x0c\x00\x0b\x0b")) // loop br 0 end end
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	cancelled, cancelNow := context.WithCancel(context.Background())
	cancelNow()
	for want, ctx := range map[Kind]context.Context{KindTimeout: ctx, KindCancelled: cancelled} {
		_, err := m.Instantiate(ctx, &world{})
		var failure *Failure
		if !errors.As(err, &failure) || failure.Kind != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
