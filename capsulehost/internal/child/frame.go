package child

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"lukechampine.com/blake3"
)

const (
	// mark begins a frame. The last byte is the version of the format.
	mark    = "astrid\x00\x01"
	sumSize = 32
	// headSize is the size of what precedes the content: mark, size of the content, hash.
	headSize = len(mark) + 8 + sumSize
	// maxContent limits what is read of a process that may be another one than expected.
	maxContent = 512 << 20
)

// writeFrame writes the concatenated parts as one frame.
func writeFrame(w io.Writer, parts ...[]byte) error {
	size, sum := 0, blake3.New(sumSize, nil)
	for _, p := range parts {
		size += len(p)
		_, _ = sum.Write(p) // writing to a hash cannot fail
	}
	if size > maxContent {
		return fmt.Errorf("%d bytes are more than %d, the limit", size, maxContent)
	}
	head := binary.LittleEndian.AppendUint64([]byte(mark), uint64(size))
	for _, p := range append([][]byte{sum.Sum(head)}, parts...) {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// readFrame returns the content of a frame. It returns io.EOF if there is nothing to read.
func readFrame(r io.Reader) ([]byte, error) {
	head := make([]byte, headSize)
	if n, err := io.ReadFull(r, head); err != nil && (n == 0 || bytes.HasPrefix(head, []byte(mark))) {
		return nil, err
	}
	if !bytes.HasPrefix(head, []byte(mark)) {
		return nil, fmt.Errorf("it begins with %q, and not with the mark of a frame", bytes.TrimRight(head[:len(mark)], "\x00"))
	}
	size, sum := binary.LittleEndian.Uint64(head[len(mark):]), head[len(mark)+8:]
	if size > maxContent {
		return nil, fmt.Errorf("it has %d bytes, more than %d, the limit", size, maxContent)
	}
	content := make([]byte, size)
	if _, err := io.ReadFull(r, content); err != nil {
		return nil, fmt.Errorf("it is cut off: %w", err)
	}
	if got := blake3.Sum256(content); !bytes.Equal(got[:], sum) {
		return nil, errors.New("it is damaged: its hash is another one")
	}
	return content, nil
}
