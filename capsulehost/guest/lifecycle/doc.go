// Package lifecycle lets a capsule take part in its own installation: set up its data the
// first time, or migrate the data of an older version.
//
//	func init() {
//		lifecycle.HandleInstall(func() error { ... })
//		lifecycle.HandleUpgrade(func(from string) error { ... })
//	}
//
// It is a separate package because importing it adds the exports `astrid_install` and
// `astrid_upgrade` to the module.
package lifecycle

var (
	install = func() error { return nil }
	upgrade = func(string) error { return nil }
)

// HandleInstall registers the function for the capsule's first installation. Call it from
// an init function. An error fails the installation.
func HandleInstall(f func() error) { install = f }

// HandleUpgrade registers the function for an installation over an older version, which is
// passed as from. Call it from an init function. An error fails the installation.
func HandleUpgrade(f func(from string) error) { upgrade = f }

// InvokeInstall runs the registered install function as the host does. Use it in tests.
func InvokeInstall() error { return install() }

// InvokeUpgrade runs the registered upgrade function as the host does. Use it in tests.
func InvokeUpgrade(from string) error { return upgrade(from) }
