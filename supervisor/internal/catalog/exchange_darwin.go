package catalog

import (
	"os"

	"golang.org/x/sys/unix"
)

// exchange exchanges two directories in one step, so that both names always exist. The
// error is errors.ErrUnsupported where the file system can't.
func exchange(a, b string) error {
	return os.NewSyscallError("renamex_np", unix.RenamexNp(a, b, unix.RENAME_SWAP))
}
