// Package home defines the paths of Astrid's files: one directory, with a subdirectory
// for each principal.
//
//	h, err := home.Resolve("")                // $ASTRID_HOME, else ~/.astrid
//	dir := h.CapsulesDir(home.DefaultPrincipal)
//
// The layout is that of astrid-capsule 0.5.0. The package only returns paths; it does not
// create, read or check files.
package home
