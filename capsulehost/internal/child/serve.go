package child

import (
	"errors"
	"fmt"
	"io"
)

// ErrAbandoned reports that the parent has ended, or does not want the answer any more.
var ErrAbandoned = errors.New("nobody waits for the answer")

// Serve reads a request, and writes the concatenated parts that answer returns for it. If
// answer fails, Serve writes nothing and returns the error. If the parent ends or gives up,
// Serve returns ErrAbandoned at once, while answer may still run: the caller must end the
// process.
func Serve(in io.Reader, out io.Writer, answer func(request []byte) ([][]byte, error)) error {
	request, err := readFrame(in)
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	type result struct {
		parts [][]byte
		err   error
	}
	answered := make(chan result, 1)
	go func() {
		parts, err := answer(request)
		answered <- result{parts, err}
	}()
	abandoned := make(chan struct{})
	go func() {
		defer close(abandoned)
		_, _ = io.Copy(io.Discard, in) // nothing follows the request but the end
	}()
	select {
	case <-abandoned:
		return ErrAbandoned
	case r := <-answered:
		if r.err != nil {
			return r.err
		}
		return writeFrame(out, r.parts...)
	}
}
