package guest

import "github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"

//go:wasmexport astrid_hook_trigger
func hookTrigger() int32 {
	output, err := serve([]byte(abi.Input()))
	if err != nil {
		return abi.Fail(err)
	}
	abi.Output(output)
	return 0
}
