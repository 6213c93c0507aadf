// Package lifecycle lets a capsule take part in its own installation: prepare
// what it needs the first time, or move on what an older version left.
//
//	func init() {
//		lifecycle.HandleInstall(func() error { ... })
//		lifecycle.HandleUpgrade(func(from string) error { ... })
//	}
//
// It is a package of its own because importing it adds the exports
// `astrid_install` and `astrid_upgrade` to the module.
package lifecycle

var (
	install = func() error { return nil }
	upgrade = func(string) error { return nil }
)

// HandleInstall registers what happens at the capsule's first installation. Call
// it from an init function. An error fails the installation.
func HandleInstall(f func() error) { install = f }

// HandleUpgrade registers what happens where a version is installed over an
// older one, which is from. Call it from an init function. An error fails the
// installation.
func HandleUpgrade(f func(from string) error) { upgrade = f }

// InvokeInstall and InvokeUpgrade run what was registered, as the host would.
// They are meant for tests.
func InvokeInstall() error { return install() }

// InvokeUpgrade is described at InvokeInstall.
func InvokeUpgrade(from string) error { return upgrade(from) }
