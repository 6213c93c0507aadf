//go:build unix

package capsulelog

import (
	"math"
	"syscall"
)

// descriptorLimit is how many files the process may open.
func descriptorLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)) //nolint:unconvert // an int32; it is signed on some systems
}
