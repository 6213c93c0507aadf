package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// TestMain makes this test's binary act as parents and children, too.
func TestMain(m *testing.M) {
	if len(os.Args) != 2 || !strings.HasPrefix(os.Args[1], "act-") {
		goleak.VerifyTestMain(m)
		return
	}
	var err error
	switch os.Args[1] {
	case "act-priority": // answers with its priority
		err = Serve(os.Stdin, os.Stdout, func(request []byte) ([][]byte, error) {
			nice, err := unix.Getpriority(unix.PRIO_PGRP, 0)
			return [][]byte{request, []byte(" "), []byte(strconv.Itoa(nice))}, err
		})
	case "act-busy": // says who it is, and is busy for ever
		err = Serve(os.Stdin, os.Stdout, func([]byte) ([][]byte, error) {
			runtime.GOMAXPROCS(1)
			fmt.Fprintln(os.Stderr, os.Getpid())
			for n := 0; ; n++ {
				runtime.KeepAlive(n)
			}
		})
	case "act-parent": // asks one that is busy
		command := exec.Command(os.Args[0], "act-busy")
		command.Stderr = os.Stdout
		var stdin io.WriteCloser
		if stdin, err = command.StdinPipe(); err == nil {
			if err = command.Start(); err == nil {
				err = errors.Join(writeFrame(stdin, nil), command.Wait())
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The answer comes from a process with a low priority, and needs all of the request.
func TestAsk(t *testing.T) {
	answer, err := Ask(context.Background(), []string{os.Args[0], "act-priority"}, []byte("a re"), []byte("quest"))
	own, failed := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if failed != nil {
		t.Fatal(failed)
	}
	nice := min(own+10, 19)
	if runtime.GOOS == "linux" { // it returns 1 for the lowest priority
		nice = max(own-10, 1)
	}
	if want := fmt.Sprintf("a request %d", nice); err != nil || string(answer) != want {
		t.Errorf("got %q, %v; want %q", answer, err, want)
	}
}

// A context that has ended, or ends meanwhile, is the error.
func TestAskEndsWithItsContext(t *testing.T) {
	cause := errors.New("not wanted any more")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	if _, err := Ask(ctx, []string{os.Args[0], "act-busy"}, nil); !errors.Is(err, context.Canceled) && !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

// When a parent is killed, its child ends, however busy it is.
func TestChildEndsWithItsParent(t *testing.T) {
	parent := exec.Command(os.Args[0], "act-parent")
	output, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanln(output, new(int)); err != nil { // its process id
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// The child holds the other end of the pipe: this returns when it has ended.
	if rest, err := io.ReadAll(output); err != nil || len(bytes.TrimSpace(rest)) > 0 && !strings.Contains(string(rest), ErrAbandoned.Error()) {
		t.Errorf("%q, %v", rest, err)
	}
	_ = parent.Wait() // killed
}

// FuzzFrame: a frame is read as it was written, and nothing else is a frame.
func FuzzFrame(f *testing.F) {
	for _, at := range []int{3, len(mark), headSize - 1, headSize, headSize + 6} { // each part of a frame
		f.Add([]byte("content"), at, byte(1))
	}
	f.Fuzz(func(t *testing.T, content []byte, at int, flip byte) {
		var b bytes.Buffer
		if err := writeFrame(&b, content[:len(content)/2], content[len(content)/2:]); err != nil {
			t.Fatal(err)
		}
		if got, err := readFrame(bytes.NewReader(b.Bytes())); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%q, %v", got, err)
		}
		whole := b.Bytes()
		at = max(at, -at, 0) % len(whole) // the least integer has no positive one
		if _, err := readFrame(bytes.NewReader(whole[:at])); err == nil {
			t.Errorf("%d bytes of %d are a frame", at, len(whole))
		}
		whole[at] ^= flip
		if _, err := readFrame(bytes.NewReader(whole)); err == nil && flip != 0 {
			t.Errorf("a frame that is damaged at %d is read", at)
		}
	})
}
