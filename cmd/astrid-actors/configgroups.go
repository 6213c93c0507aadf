package main

import (
	"fmt"
	"math"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/astrid-actors/astrid-actors/internal/tomlfile"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// readGroups reads each [[supervisor]]. What depends on the capsules, such as an unknown
// child, is for the supervisor to check.
func (f *configFile) readGroups(r *tomlfile.Reader, root *tomlfile.Node) {
	for _, t := range r.Nodes(root, "supervisor", unstable.Table) {
		g := supervisor.Group{
			Strategy: supervisor.Strategy(r.OneOf(t, "strategy",
				string(supervisor.OneForOne), string(supervisor.OneForAll), string(supervisor.RestForOne))),
			Children:    r.Texts(t, "children"),
			Significant: r.Texts(t, "significant"),
			AutoShutdown: supervisor.AutoShutdown(r.OneOf(t, "auto_shutdown",
				string(supervisor.ShutdownNever), string(supervisor.ShutdownAny), string(supervisor.ShutdownAll))),
			Source: fmt.Sprintf("%s:%d", f.path, t.Line),
		}
		if name := r.Required(t, "name", "what commands and the page call it"); name != nil {
			g.Name = name.Text
		}
		if budget := r.Whole(t, "budget", 0, math.MaxInt32); budget != nil {
			g.Budget = int(*budget)
			if g.Budget == 0 {
				g.Budget = -1 // none at all
			}
		}
		if window := r.Duration(t, "window"); window != nil {
			g.Window = *window
		}
		if initial := r.Duration(t, "backoff_initial"); initial != nil {
			g.InitialBackoff = *initial
		}
		if longest := r.Duration(t, "backoff_max"); longest != nil {
			g.MaxBackoff = *longest
		}
		f.groups = append(f.groups, g)
	}
}
