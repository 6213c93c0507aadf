package manifest

import "github.com/astrid-actors/astrid-actors/internal/tomlfile"

// Problem is one fault in one file.
type Problem = tomlfile.Problem

// Problems lists all faults, in the order of their lines. A non-nil error of this type is
// never empty.
type Problems = tomlfile.Problems
