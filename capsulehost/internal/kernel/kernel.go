// Package kernel is the Extism memory of one guest: kernel.wat, and the host's
// view of an instance of it.
package kernel

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero/api"
)

// Wasm is kernel.wat, built by `make kernel`.
//
//go:embed kernel.wasm
var Wasm []byte

// ErrNoMemory: a block does not fit under the memory limit any more.
var ErrNoMemory = errors.New("the shared memory is full")

// Kernel is the host's view of one instance. It belongs to whoever runs the
// guest: one goroutine at a time, which may be inside one of the guest's calls.
type Kernel struct {
	module api.Module
	memory api.Memory
	do     api.Function // the one function that the host calls

	end                  api.Global
	output, outputLength api.Global
	errorBlock           api.Global
	exhausted            api.Global
	stack                [2]uint64
	copied               uint64
}

// What do is asked for: see kernel.wat.
const (
	opReset = iota
	opAlloc
	opFree
	opLength
)

// View returns the host's view of an instance of Wasm.
func View(m api.Module) *Kernel {
	return &Kernel{
		module: m, memory: m.ExportedMemory("kernel.memory"), do: m.ExportedFunction("kernel.do"),
		end:          m.ExportedGlobal("kernel.end"),
		output:       m.ExportedGlobal("kernel.output"),
		outputLength: m.ExportedGlobal("kernel.output_length"),
		errorBlock:   m.ExportedGlobal("kernel.error"),
		exhausted:    m.ExportedGlobal("kernel.exhausted"),
	}
}

// Reset forgets every block, the output and the error, and makes input the
// guest's input.
func (k *Kernel) Reset(input []byte) error {
	view, err := k.ResetFor(len(input))
	copy(view, input)
	return err
}

// ResetFor is Reset for an input of n bytes that is yet to be written: it returns
// where, good until the kernel or the guest runs.
func (k *Kernel) ResetFor(n int) (input []byte, err error) {
	offset, err := k.call(opReset, uint64(n)) //nolint:gosec // a length
	if err == nil {
		input, err = k.block(offset, n)
	}
	if err != nil {
		return nil, fmt.Errorf("input of %d bytes: %w", n, err)
	}
	return input, nil
}

// Store puts data into a fresh block and returns its offset, 0 for no data.
func (k *Kernel) Store(data []byte) (offset uint64, err error) {
	if len(data) == 0 {
		return 0, nil
	}
	if offset, err = k.call(opAlloc, uint64(len(data))); err != nil {
		return 0, err
	}
	view, err := k.block(offset, len(data))
	copy(view, data)
	return offset, err
}

// block is where the n bytes go that a fresh block was made for.
func (k *Kernel) block(offset uint64, n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	if offset == 0 {
		return nil, ErrNoMemory
	}
	view, ok := k.memory.Read(uint32(offset), uint32(n)) //nolint:gosec // the kernel's offsets and lengths fit its memory
	if !ok {
		return nil, fmt.Errorf("block %d of %d bytes is outside the shared memory", offset, n)
	}
	k.copied += uint64(n) //nolint:gosec // a length
	return view, nil
}

// Room is how many bytes at least a fresh block may have where the memory may grow
// to limit bytes.
func (k *Kernel) Room(limit uint64) uint64 {
	const header, most = 16, 1 << 31
	end := k.end.Get() + header
	if end >= limit {
		return 0
	}
	return min(most, (limit-end)/5*4) // of a class at most a fifth is left over
}

// Free gives a block back. Of what is no block it does nothing.
func (k *Kernel) Free(offset uint64) { _, _ = k.call(opFree, offset) } // it can't fail

// Length returns the length of the block that starts at offset, and whether
// there is one. Offset 0 is the empty block.
func (k *Kernel) Length(offset uint64) (n uint64, ok bool) {
	if offset == 0 {
		return 0, true
	}
	n, err := k.call(opLength, offset)
	return n, err == nil && n > 0 // alloc makes no block of length 0
}

// Bytes copies n bytes at offset, which were found to be a block's, or to be inside.
func (k *Kernel) Bytes(offset, n uint64) []byte {
	if n == 0 {
		return nil
	}
	view, ok := k.memory.Read(uint32(offset), uint32(n)) //nolint:gosec // both were checked by the kernel
	if !ok {
		return nil
	}
	k.copied += n
	return append([]byte(nil), view...)
}

// Output copies what the guest has set as its output.
func (k *Kernel) Output() []byte { return k.Bytes(k.output.Get(), k.outputLength.Get()) }

// ErrorText copies what the guest has set as its error.
func (k *Kernel) ErrorText() []byte {
	offset := k.errorBlock.Get()
	n, ok := k.Length(offset)
	if !ok {
		return nil
	}
	return k.Bytes(offset, n)
}

// Exhausted says whether the guest has asked for more than there is, since Reset.
func (k *Kernel) Exhausted() bool { return k.exhausted.Get() != 0 }

// Copied is how many bytes the host has copied in and out.
func (k *Kernel) Copied() uint64 { return k.copied }

// MemoryBytes is the size of the shared memory.
func (k *Kernel) MemoryBytes() uint64 { return uint64(k.memory.Size()) }

// Close frees the instance.
func (k *Kernel) Close(ctx context.Context) error { return k.module.Close(ctx) }

// call runs the kernel's own code: a fixed number of steps, so no context needs to
// stop it.
func (k *Kernel) call(op, argument uint64) (uint64, error) {
	k.stack = [2]uint64{op, argument}
	if err := k.do.CallWithStack(context.Background(), k.stack[:]); err != nil {
		return 0, fmt.Errorf("kernel: %w", err)
	}
	return k.stack[0], nil
}
