//go:build !unix

package capsulelog

import "math"

// descriptorLimit is how many files the process may open.
func descriptorLimit() int { return math.MaxInt32 }
