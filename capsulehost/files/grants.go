package files

import (
	"path/filepath"
	"slices"
	"strings"
)

// Grants are what a capsule may read and write: the patterns of fs_read and fs_write in
// its manifest. A pattern grants a path and everything below it:
//
//   - the whole workspace
//     cwd://src     src in the workspace
//     home://notes  notes in the principal's home
//     /tmp          the principal's temporary files
//     /srv/p/src    an absolute path, if it is inside the workspace
//
// A pattern that names nothing of these, or holds `..`, grants nothing.
type Grants struct{ Read, Write []string }

// Empty reports whether nothing is granted.
func (g Grants) Empty() bool { return len(g.Read) == 0 && len(g.Write) == 0 }

// grant is one pattern: a path, and everything below it.
type grant struct {
	in    scheme
	names []string
}

type grants []grant

// parseGrants reads patterns; workspace is the absolute path of cwd://, or "".
func parseGrants(patterns []string, workspace string) grants {
	var all grants
	for _, pattern := range patterns {
		if pattern == "*" {
			all = append(all, grant{in: inWorkspace})
			continue
		}
		if rel, err := filepath.Rel(workspace, pattern); workspace != "" && filepath.IsAbs(pattern) && err == nil && filepath.IsLocal(rel) {
			pattern = workspacePrefix + filepath.ToSlash(rel)
		}
		in, names, err := parse(pattern)
		if err != nil || slices.Contains(names, "..") || in == inWorkspace && !strings.HasPrefix(pattern, workspacePrefix) {
			continue
		}
		all = append(all, grant{in, names})
	}
	return all
}

// allow reports whether a path, without `..` and links, is granted.
func (g grants) allow(in scheme, names []string) bool {
	return slices.ContainsFunc(g, func(one grant) bool {
		return one.in == in && len(one.names) <= len(names) && slices.Equal(one.names, names[:len(one.names)])
	})
}
