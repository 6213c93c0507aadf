package lifecycle

import "github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"

//go:wasmexport astrid_install
func astridInstall() int32 {
	if err := install(); err != nil {
		return abi.Fail(err)
	}
	return 0
}

//go:wasmexport astrid_upgrade
func astridUpgrade() int32 {
	if err := upgrade(abi.Input()); err != nil {
		return abi.Fail(err)
	}
	return 0
}
