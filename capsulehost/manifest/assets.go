package manifest

import (
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/astrid-actors/astrid-actors/internal/tomlfile"
)

// Asset is a file that a manifest names, besides the modules of its components: it belongs
// to the capsule, although this host does not read it.
type Asset struct {
	Path string // as in the manifest, relative to the capsule's directory; not checked
	Line int
	Key  string
}

// assetLists are astrid-capsule's lists whose elements name a file, with the key that does.
var assetLists = []struct{ list, key string }{
	{"context_file", "file"}, {"command", "file"}, {"skill", "file"}, {"topic", "schema"},
}

// assets collects the names of the capsule's other files. What has another type than in
// astrid-capsule is skipped: it has no effect here, so it is no reason to reject a manifest.
func assets(root *tomlfile.Node, m *Manifest) {
	add := func(key string, n *tomlfile.Node) {
		if n != nil && n.Kind == unstable.String && n.Text != "" {
			m.Assets = append(m.Assets, Asset{Path: n.Text, Line: n.Line, Key: key})
		}
	}
	for _, a := range assetLists {
		if n := root.Key(a.list); n != nil {
			for _, item := range n.Items {
				add(a.list+"."+a.key, item.Keys()[a.key])
			}
		}
	}
	if t := root.Key("package"); t != nil {
		add("package.readme", t.Keys()["readme"])
		add("package.license-file", t.Keys()["license-file"])
		m.Package.Include, m.Package.Exclude = texts(t.Keys()["include"]), texts(t.Keys()["exclude"])
	}
}

// texts returns the strings in a list.
func texts(list *tomlfile.Node) []string {
	if list == nil {
		return nil
	}
	var out []string
	for _, n := range list.Items {
		if n.Kind == unstable.String {
			out = append(out, n.Text)
		}
	}
	return out
}
