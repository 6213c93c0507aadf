//go:build !linux && !darwin

package catalog

import "errors"

// exchange is for systems that can't exchange two directories in one step.
func exchange(string, string) error { return errors.ErrUnsupported }
