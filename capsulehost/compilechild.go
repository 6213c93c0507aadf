package capsulehost

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/child"
	"github.com/astrid-actors/astrid-actors/capsulehost/internal/compiler"
)

// The kinds of answer of a process that compiles: the first byte.
const (
	answerCompiled = 'c' // the content of a cache entry follows
	answerRefused  = 'r' // the compiler's error follows
)

// compileInChild compiles a rewritten module with the compile command. inChild is false if
// the command is of no use; then the module must be compiled here. If ctx ends, or the host
// is closed, the process is killed, and the error is ctx's or ErrClosed.
func (h *Host) compileInChild(ctx context.Context, counted []byte, id [32]byte) (code compiler.Code, inChild bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-h.closing:
			cancel(ErrClosed)
		case <-ctx.Done():
		}
	}()
	request := compileRequest{pages: uint32(h.memoryLimit >> 16), settings: h.settings, id: id} //nolint:gosec // it was a uint32
	answer, err := child.Ask(ctx, h.compileCommand, request.encode(), counted)
	if ctx.Err() != nil {
		return code, true, context.Cause(ctx)
	}
	if err == nil && len(answer) > 0 && answer[0] == answerRefused {
		return code, true, errors.New(string(answer[1:]))
	}
	if err == nil {
		if code, err = codeOf(answer); err == nil {
			return code, true, nil
		}
	}
	h.childFailed.Do(func() {
		h.log.Warn("the command that compiles modules in a process of their own has failed: this process compiles them, and calls beside that may be slow",
			"command", h.compileCommand, "error", err)
	})
	return code, false, nil
}

// codeOf returns the code of an answer.
func codeOf(answer []byte) (compiler.Code, error) {
	if len(answer) > 0 && answer[0] == answerCompiled {
		if a, ok := decodeArtifact(answer[1:]); ok && len(a.code.Machine) > 0 {
			return a.code, nil
		}
	}
	return compiler.Code{}, fmt.Errorf("its answer of %d bytes is not a compiled module", len(answer))
}

// compileRequest is what precedes the rewritten module in a request.
type compileRequest struct {
	pages    uint32 // limit of the memory
	settings string // Host.settings, for the comparison with those of the process
	id       [32]byte
}

func (r *compileRequest) encode() []byte {
	b := binary.LittleEndian.AppendUint32(nil, r.pages)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.settings))) //nolint:gosec // it is short
	b = append(b, r.settings...)
	return append(b, r.id[:]...)
}

// decodeCompileRequest reverses encode, and returns the module that follows.
func decodeCompileRequest(b []byte) (r compileRequest, counted []byte, ok bool) {
	if len(b) < 8 {
		return r, nil, false
	}
	r.pages = binary.LittleEndian.Uint32(b)
	size, b := uint64(binary.LittleEndian.Uint32(b[4:])), b[8:]
	if uint64(len(b)) < size+uint64(len(r.id)) {
		return r, nil, false
	}
	r.settings, b = string(b[:size]), b[size:]
	return r, b[copy(r.id[:], b):], true
}

// A process that compiles may let its garbage grow: it is short-lived, and collecting costs
// it a fifth of its time. Above childMemory it collects as often as it must. The budget of a
// compilation limits what is not garbage.
const (
	childGCPercent = 400
	childMemory    = 512 << 20
)

// ServeCompile is what the program of a [Config.CompileCommand] calls: it compiles the one
// module that a Host in another process asks for. The program must then exit; if there is an
// error, with a status other than 0, and the error on its standard error, for the Host's log.
// ServeCompile returns early if the Host does not want the result any more, or has died.
//
// It is the only work of its process, whose use of processors and memory it limits, and which
// ignores SIGTERM and SIGHUP from then on: systemd sends them to the Host's process as well,
// which decides. It loads and runs nothing. A program of another version than the Host's
// returns an error.
func ServeCompile(in io.Reader, out io.Writer) error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(childGCPercent)
	debug.SetMemoryLimit(childMemory)
	if err := child.Serve(in, out, compileFor); err != nil {
		return fmt.Errorf("compile for another process: %w", err)
	}
	return nil
}

// compileFor answers a request.
func compileFor(request []byte) (answer [][]byte, err error) {
	r, counted, ok := decodeCompileRequest(request)
	if !ok || r.pages == 0 || r.pages > MaxMemoryLimitPages {
		return nil, errors.New("the request is damaged")
	}
	if own := settings(countingConfig(r.pages)); own != r.settings {
		return nil, fmt.Errorf("the request is from another version of this program: %q, and this one is %q", r.settings, own)
	}
	ctx := context.Background()
	c := compiler.New(ctx, runtimeConfig(r.pages))
	defer c.Close(ctx)
	code, err := c.Compile(ctx, counted, r.id)
	if err != nil {
		return [][]byte{{answerRefused}, []byte(err.Error())}, nil
	}
	return append([][]byte{{answerCompiled}}, artifact{code: code}.encode()...), nil
}
