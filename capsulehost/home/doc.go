// Package home knows where Astrid keeps things: one directory, with a
// subdirectory for each principal.
//
//	h, err := home.Resolve("")                // $ASTRID_HOME, else ~/.astrid
//	dir := h.CapsulesDir(home.DefaultPrincipal)
//
// The layout is that of astrid-capsule 0.5.0. The package only names paths: it
// makes, reads and checks none of them.
package home
