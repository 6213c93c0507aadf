//go:build unix

package capsulelog

import (
	"math"
	"syscall"
)

// descriptorLimit returns the maximum number of open files of the process.
func descriptorLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)) //nolint:unconvert // Cur is signed on some systems; the result fits in an int32
}
