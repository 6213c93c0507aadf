package runloop

import (
	"errors"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"
)

//go:wasmexport run
func run() int32 {
	if loop == nil {
		return abi.Fail(errors.New("the capsule imports guest/runloop and registers no loop"))
	}
	if err := loop(); err != nil {
		return abi.Fail(err)
	}
	return 0
}
