package catalog

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// exchange exchanges two directories in one step, so that both names always exist. The
// error is errors.ErrUnsupported where the file system can't.
func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return errors.ErrUnsupported
	}
	return os.NewSyscallError("renameat2", err)
}
