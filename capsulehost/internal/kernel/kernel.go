// Package kernel implements the Extism memory of one guest: the module kernel.wat, and the
// host's access to an instance of it.
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

// ErrNoMemory reports that a block does not fit within the memory limit.
var ErrNoMemory = errors.New("the shared memory is full")

// Kernel is the host's access to one instance. Only the goroutine that runs the guest may
// use it, also during a host call.
type Kernel struct {
	module api.Module
	memory api.Memory
	do     api.Function // the only function that the host calls

	end                  api.Global
	output, outputLength api.Global
	errorBlock           api.Global
	exhausted            api.Global
	stack                [2]uint64
	copied               uint64
}

// Operations of do: see kernel.wat.
const (
	opReset = iota
	opAlloc
	opFree
	opLength
)

// View returns the Kernel for an instance of Wasm.
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

// Reset frees all blocks, clears the output and the error, and sets the guest's input.
func (k *Kernel) Reset(input []byte) error {
	view, err := k.ResetFor(len(input))
	copy(view, input)
	return err
}

// ResetFor is like Reset, for an input of n bytes that the caller writes afterwards into
// the returned slice. The slice is valid until the kernel or the guest runs.
func (k *Kernel) ResetFor(n int) (input []byte, err error) {
	offset, err := k.call(opReset, uint64(n)) //nolint:gosec // a length is not negative
	if err == nil {
		input, err = k.block(offset, n)
	}
	if err != nil {
		return nil, fmt.Errorf("input of %d bytes: %w", n, err)
	}
	return input, nil
}

// Store copies data into a new block and returns its offset; 0 if data is empty.
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

// block returns the memory of a new block of n bytes.
func (k *Kernel) block(offset uint64, n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	if offset == 0 {
		return nil, ErrNoMemory
	}
	view, ok := k.memory.Read(uint32(offset), uint32(n)) //nolint:gosec // the kernel's offsets and lengths fit in its memory
	if !ok {
		return nil, fmt.Errorf("block %d of %d bytes is outside the shared memory", offset, n)
	}
	k.copied += uint64(n) //nolint:gosec // a length is not negative
	return view, nil
}

// Room returns the size in bytes of a block that certainly still fits, if the memory may
// grow to limit bytes.
func (k *Kernel) Room(limit uint64) uint64 {
	const header, most = 16, 1 << 31
	end := k.end.Get() + header
	if end >= limit {
		return 0
	}
	return min(most, (limit-end)/5*4) // size classes waste at most a fifth
}

// Free frees a block. It ignores an offset that is not a block's.
func (k *Kernel) Free(offset uint64) { _, _ = k.call(opFree, offset) } // it cannot fail

// Length returns the length of the block that starts at offset; ok is false if there is no
// block. Offset 0 is the empty block.
func (k *Kernel) Length(offset uint64) (n uint64, ok bool) {
	if offset == 0 {
		return 0, true
	}
	n, err := k.call(opLength, offset)
	return n, err == nil && n > 0 // alloc returns no blocks of length 0
}

// Bytes copies n bytes at offset. The caller must have checked that they lie within a block.
func (k *Kernel) Bytes(offset, n uint64) []byte {
	if n == 0 {
		return nil
	}
	view, ok := k.memory.Read(uint32(offset), uint32(n)) //nolint:gosec // the kernel checked both
	if !ok {
		return nil
	}
	k.copied += n
	return append([]byte(nil), view...)
}

// Output copies the guest's output.
func (k *Kernel) Output() []byte { return k.Bytes(k.output.Get(), k.outputLength.Get()) }

// ErrorText copies the guest's error text.
func (k *Kernel) ErrorText() []byte {
	offset := k.errorBlock.Get()
	n, ok := k.Length(offset)
	if !ok {
		return nil
	}
	return k.Bytes(offset, n)
}

// Exhausted reports whether an allocation of the guest has failed since Reset.
func (k *Kernel) Exhausted() bool { return k.exhausted.Get() != 0 }

// Copied returns the number of bytes copied in and out by the host.
func (k *Kernel) Copied() uint64 { return k.copied }

// MemoryBytes returns the size of the shared memory.
func (k *Kernel) MemoryBytes() uint64 { return uint64(k.memory.Size()) }

// Close frees the instance.
func (k *Kernel) Close(ctx context.Context) error { return k.module.Close(ctx) }

// call runs the kernel's own code. It needs no context to stop it, since it runs a fixed
// number of steps.
func (k *Kernel) call(op, argument uint64) (uint64, error) {
	k.stack = [2]uint64{op, argument}
	if err := k.do.CallWithStack(context.Background(), k.stack[:]); err != nil {
		return 0, fmt.Errorf("kernel: %w", err)
	}
	return k.stack[0], nil
}
