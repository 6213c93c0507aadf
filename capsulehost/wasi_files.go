package capsulehost

import "encoding/binary"

// stream is the target of a file descriptor.
type stream uint8

// The streams.
const (
	closed         stream = iota
	standardInput         // always at its end
	standardOutput        // its tail is kept, as for standardError
	standardError
)

// files are a guest's three file descriptors. It cannot open others.
type files [3]file

type file struct {
	to    stream
	flags uint16 // set by the guest; they have no effect, since nothing blocks
}

func standardStreams() files {
	return files{{to: standardInput}, {to: standardOutput}, {to: standardError}}
}

// file returns the open file with this number, or nil.
func (w *wasi) file(fd uint64) *file {
	n := uint32(fd) //nolint:gosec // an i32 in 64 bits
	if n >= uint32(len(w.files)) || w.files[n].to == closed {
		return nil
	}
	return &w.files[n]
}

// onFile returns a function that returns e for every open descriptor.
func onFile(e errno) func(*wasi, []uint64) errno {
	return func(w *wasi, p []uint64) errno {
		if w.file(p[0]) == nil {
			return errnoBadFile
		}
		return e
	}
}

func fdClose(w *wasi, p []uint64) errno {
	f := w.file(p[0])
	if f == nil {
		return errnoBadFile
	}
	*f = file{}
	return errnoSuccess
}

func fdRenumber(w *wasi, p []uint64) errno {
	from, to := w.file(p[0]), w.file(p[1])
	switch {
	case from == nil || to == nil:
		return errnoBadFile
	case from != to:
		*to, *from = *from, file{}
	}
	return errnoSuccess
}

// The supported rights and flags.
const (
	rightRead         = 1 << 1
	rightSetFlags     = 1 << 3
	rightWrite        = 1 << 6
	rightFilestat     = 1 << 21
	rightPoll         = 1 << 27
	flagAppend        = 1 << 0
	flagNonblock      = 1 << 2
	fileIsBlockDevice = 1 // neither a terminal nor seekable
)

func fdFdstatGet(w *wasi, p []uint64) errno {
	b, ok := w.view(uint32(p[1]), 24) //nolint:gosec // an i32 in 64 bits
	if !ok {
		return errnoFault
	}
	f := w.file(p[0])
	if f == nil {
		return errnoBadFile
	}
	rights := uint64(rightSetFlags | rightFilestat | rightPoll)
	if f.to == standardInput {
		rights |= rightRead
	} else {
		rights |= rightWrite
	}
	clear(b)
	b[0] = fileIsBlockDevice
	binary.LittleEndian.PutUint16(b[2:], f.flags)
	binary.LittleEndian.PutUint64(b[8:], rights)
	return errnoSuccess
}

func fdFdstatSetFlags(w *wasi, p []uint64) errno {
	f, flags := w.file(p[0]), uint16(p[1]) //nolint:gosec // 16 bits of an i32
	switch {
	case f == nil:
		return errnoBadFile
	case flags&^(flagAppend|flagNonblock) != 0:
		return errnoInvalid
	}
	f.flags = flags
	return errnoSuccess
}

func fdFilestatGet(w *wasi, p []uint64) errno {
	b, ok := w.view(uint32(p[1]), 64) //nolint:gosec // an i32 in 64 bits
	if !ok {
		return errnoFault
	}
	if w.file(p[0]) == nil {
		return errnoBadFile
	}
	clear(b)
	b[16] = fileIsBlockDevice
	b[24] = 1 // number of links
	return errnoSuccess
}

// vectors returns the guest's buffers. It refuses more than vectorLimit, like Linux, so
// it can charge for all of them at once.
func (w *wasi) vectors(at, count uint64) ([][]byte, errno) {
	n := uint32(count) //nolint:gosec // an i32 in 64 bits
	if n > vectorLimit {
		return nil, errnoInvalid
	}
	list, ok := w.view(uint32(at), n*8) //nolint:gosec // an i32 in 64 bits
	if !ok {
		return nil, errnoFault
	}
	w.instance.meter.charge(uint64(n))
	all := make([][]byte, 0, n)
	for ; len(list) > 0; list = list[8:] {
		size := binary.LittleEndian.Uint32(list[4:])
		if size == 0 {
			continue
		}
		b, ok := w.view(binary.LittleEndian.Uint32(list), size)
		if !ok {
			return nil, errnoFault
		}
		all = append(all, b)
	}
	return all, errnoSuccess
}

// fdRead always reports the end of the file.
func fdRead(w *wasi, p []uint64) errno {
	if f := w.file(p[0]); f == nil || f.to != standardInput {
		return errnoBadFile
	}
	if _, e := w.vectors(p[1], p[2]); e != errnoSuccess {
		return e
	}
	return w.put32(p[3], 0)
}

// writeLimit is the maximum number of bytes that one fd_write accepts. The rest is a
// short write, after which every language's library continues. All buffers may be the
// same memory, and so add up to terabytes.
const writeLimit = 1 << 20

func fdWrite(w *wasi, p []uint64) errno {
	f := w.file(p[0])
	if f == nil || f.to == standardInput {
		return errnoBadFile
	}
	all, e := w.vectors(p[1], p[2])
	if e != errnoSuccess {
		return e
	}
	if e := w.put32(p[3], 0); e != errnoSuccess { // before anything is written
		return e
	}
	into, line, stream := &w.instance.stderr, &w.instance.errLine, "stderr"
	if f.to == standardOutput {
		into, line, stream = &w.instance.stdout, &w.instance.outLine, "stdout"
	}
	emit := w.instance.emitter(stream)
	written := 0
	for _, b := range all {
		b = b[:min(len(b), writeLimit-written)]
		w.instance.pieces(b, func(piece []byte) {
			_, _ = into.Write(piece)
			line.write(piece, emit)
		})
		written += len(b)
	}
	return w.put32(p[3], uint32(written))
}
