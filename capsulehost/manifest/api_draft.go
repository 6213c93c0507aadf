package manifest

import (
	"errors"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

// Load reads the manifest in dir. Its error is [Problems]; the manifest comes
// back beside it, as far as it could be read, where the capsule's id is known.
func Load(dir string) (*Manifest, error) { return nil, errors.New("load: being written") }

// Discovery is what [Discover] found.
type Discovery struct {
	Manifests []*Manifest // in order of discovery, each id once
	Rejected  []Rejected
	Warnings  Problems
}

// Rejected is a capsule that can't be loaded.
type Rejected struct {
	Dir string
	// ID is the capsule's, or "" where it could not be read or where another
	// capsule in the Discovery has it.
	ID  string
	Err error
}

// Discover finds capsules: each of dirs is a capsule's directory, or a directory
// of them, taken in order of their names. A directory that does not exist is
// rejected where the operator named it (explicit), and passed over otherwise.
func Discover(dirs []string, explicit bool) Discovery { return Discovery{} }

// StartOrder is the order in which capsules start.
type StartOrder struct {
	Manifests []*Manifest
	// WaitsFor holds, for each of Manifests, the indexes of those that it waits
	// for: ascending, and all below its own.
	WaitsFor [][]int
	Warnings Problems // imports that nobody satisfies
	Cycle    error    // a *CycleError, or nil
}

// CycleError names capsules that import from each other.
type CycleError struct{ Members []string }

func (e *CycleError) Error() string { return "" }

// Order puts uplink capsules first, then the others, each group with imports
// after the exports that satisfy them.
func Order(ms []*Manifest) StartOrder { return StartOrder{} }

// ReadModule returns the capsule's module and its BLAKE3 hash in hex, checked
// against meta.json and the component's own hash. Without any hash it is read
// only where allowUnverified is set.
func (m *Manifest) ReadModule(h home.Home, allowUnverified bool) (wasm []byte, hash string, err error) {
	return nil, "", errors.New("read the module: being written")
}

// Seal writes the BLAKE3 hash of the module of the capsule in dir into its
// meta.json, and returns it.
func Seal(dir string) (hash string, err error) { return "", errors.New("seal: being written") }

// Configuration returns what astrid_get_config answers.
func (m *Manifest) Configuration(h home.Home, p home.Principal, socketPath string) (map[string]string, Problems) {
	return nil, nil
}
