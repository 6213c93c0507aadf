//go:build unix

package store

import (
	"errors"
	"os"
	"syscall"
)

// lockShared excludes writers, which lock a file exclusively, as bbolt does.
func lockShared(f *os.File) (unlock func(), err error) {
	fd := int(f.Fd())
	err = syscall.Flock(fd, syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, ErrLocked
	}
	return func() { _ = syscall.Flock(fd, syscall.LOCK_UN) }, err // closing would unlock it, too
}
