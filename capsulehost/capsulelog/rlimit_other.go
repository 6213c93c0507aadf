//go:build !unix

package capsulelog

import "math"

// descriptorLimit returns the maximum number of open files of the process.
func descriptorLimit() int { return math.MaxInt32 }
