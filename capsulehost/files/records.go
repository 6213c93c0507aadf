package files

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"
)

// A layer records two things about a path of the workspace, each in a file of its own
// that is named by the path's hash. They make a removed file disappear, and let a commit
// see that the workspace has changed meanwhile.
const (
	gone = ".gone" // the path was removed: the workspace's is not seen
	base = ".base" // what the workspace had there when the capsule first changed it
)

// record is the content of such a file.
type record struct {
	Path    string    `json:"path"`
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mod_time"`
	Dir     bool      `json:"dir,omitempty"`
}

func recordName(path, kind string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:]) + kind
}

// isGone reports whether a name in the last directory was removed from the workspace's
// files, as the guest sees them.
func (p *place) isGone(name string) bool {
	if p.records == nil {
		return false
	}
	_, err := p.records.Lstat(recordName(strings.Join(append(p.dirNames(), name), "/"), gone))
	return err == nil
}

// dirNames returns the names of the directories.
func (p *place) dirNames() []string {
	names := make([]string, 0, len(p.path))
	for _, d := range p.path[1:] {
		names = append(names, d.name)
	}
	return names
}

// remember records what the workspace has at a path, the first time; info describes it.
func (p *place) remember(kind, path string, info fs.FileInfo) error {
	name := recordName(path, kind)
	if _, err := p.records.Lstat(name); err == nil {
		return nil
	}
	text, err := json.Marshal(record{Path: path, Size: info.Size(), ModTime: info.ModTime(), Dir: info.IsDir()})
	if err != nil {
		return err
	}
	return replace(p.records, name, text, 0o600, func() error { return nil })
}

// readRecords returns a layer's records of one kind, by path.
func readRecords(records *os.Root, kind string) (map[string]record, error) {
	found := map[string]record{}
	if records == nil {
		return found, nil
	}
	names, err := fs.Glob(records.FS(), "*"+kind)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := records.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var r record
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err != nil {
			return nil, err
		}
		found[r.Path] = r
	}
	return found, nil
}
