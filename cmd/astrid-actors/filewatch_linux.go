package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// openForWriting reports whether a program has a file open for writing: then it is not
// complete, however long nothing has been written. Linux gives out a lease for reading only
// if nobody has. Where it gives none, such as for the file of another user, the answer is
// false.
func openForWriting(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // which also ends the lease
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	return errors.Is(err, unix.EAGAIN)
}
