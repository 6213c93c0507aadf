package manifest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"lukechampine.com/blake3"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

// MetaName is the name of the file in a capsule's directory that contains the hash of its
// module.
const MetaName = "meta.json"

const hashKey = "wasm_hash"

// ErrChanged reports a module with another hash than the one in meta.json.
var ErrChanged = errors.New("it was changed since it was sealed")

// validHash reports whether s is a BLAKE3 hash in hex, in upper or lower case.
func validHash(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 64
}

// ReadModule returns the capsule's module and its BLAKE3 hash in lower-case hex. The module
// is the first component's file in the capsule's directory or, if that is missing, the
// module in the home with the hash in meta.json.
//
// The hash must match meta.json, and the component's own hash if there is one. Without a
// hash in meta.json, the module is refused unless allowUnverified is set. Every error is a
// sentence for a person.
func (m *Manifest) ReadModule(h home.Home, allowUnverified bool) (wasm []byte, hash string, err error) {
	if len(m.Components) == 0 {
		return nil, "", m.Problem("component", "is missing, so the capsule has no module")
	}
	dir, err := os.OpenRoot(m.Dir)
	if err != nil {
		return nil, "", fmt.Errorf("open the capsule's directory %s: %w", m.Dir, plain(err))
	}
	defer func() { _ = dir.Close() }() // it was only read
	sealed, err := m.sealedHash(dir)
	if err != nil {
		return nil, "", err
	}
	if sealed == "" && !allowUnverified {
		if _, err := dir.Stat(m.Components[0].File); errors.Is(err, fs.ErrNotExist) {
			return nil, "", m.noModule()
		}
		return nil, "", fmt.Errorf("verify the module of capsule %q: there is no %s in %s, and a module without one is not run; "+
			"seal the capsule if you trust it", m.ID(), hashKey, filepath.Join(m.Dir, MetaName))
	}
	wasm, path, err := m.findModule(dir, h, sealed)
	if err != nil {
		return nil, "", err
	}
	hash = hashOf(wasm)
	if sealed != "" && !strings.EqualFold(hash, sealed) {
		return nil, "", fmt.Errorf("verify the module of capsule %q: %s has the BLAKE3 hash %s, and %s says %s; %w",
			m.ID(), path, hash, MetaName, sealed, ErrChanged)
	}
	return wasm, hash, m.checkOwnHash(path, hash)
}

// findModule reads the module and returns its path.
func (m *Manifest) findModule(dir *os.Root, h home.Home, sealed string) (wasm []byte, path string, err error) {
	file := m.Components[0].File
	path = filepath.Join(m.Dir, file)
	wasm, _, err = readRegular(dir, file, MaxModule)
	switch {
	case err == nil:
		return wasm, path, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, "", m.fileProblem("the module %s can't be read: %v", path, err)
	case sealed == "":
		return nil, "", m.noModule()
	}
	shared := h.ModulePath(strings.ToLower(sealed))
	wasm, _, err = readRegular(everywhere{}, shared, MaxModule)
	switch {
	case err == nil:
		return wasm, shared, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", m.fileProblem("there is neither a module %s nor a %s", path, shared)
	default:
		return nil, "", m.fileProblem("the module %s can't be read: %v", shared, err)
	}
}

func (m *Manifest) noModule() error {
	return m.fileProblem("there is no module %s; build it first", filepath.Join(m.Dir, m.Components[0].File))
}

// fileProblem returns a problem with component.file.
func (m *Manifest) fileProblem(format string, args ...any) error {
	return Problem{File: m.File, Line: m.Components[0].Line, Key: "component.file", Message: fmt.Sprintf(format, args...)}
}

// checkOwnHash compares a module's hash with the one in the manifest, if there is one.
func (m *Manifest) checkOwnHash(path, hash string) error {
	if own := m.Components[0].Hash; own != "" && !strings.EqualFold(hash, own) {
		return m.Problem("component.hash", fmt.Sprintf("is %s, and %s has the BLAKE3 hash %s", own, path, hash))
	}
	return nil
}

// Seal writes the BLAKE3 hash of the module of the capsule in dir to its meta.json, and
// returns it in lower-case hex. It replaces the file atomically, and keeps its other keys.
//
// It refuses a capsule whose manifest has problems, and one that accept returns an error
// for; a nil accept accepts all. accept receives the bytes that are hashed.
func Seal(dir string, accept func(m *Manifest, wasm []byte) error) (hash string, err error) {
	m, err := Load(dir)
	if err != nil {
		return "", err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("open the capsule's directory %s: %w", dir, plain(err))
	}
	defer func() { _ = root.Close() }() // it was only read
	meta, _, err := readMeta(root, dir)
	if err != nil {
		return "", err
	}
	wasm, hash, err := m.readToSeal(root)
	if err != nil {
		return "", err
	}
	if accept != nil {
		if err := accept(m, wasm); err != nil {
			return "", err
		}
	}
	if meta == nil {
		meta = map[string]json.RawMessage{}
	}
	meta[hashKey] = json.RawMessage(`"` + hash + `"`)
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	to.SetEscapeHTML(false)
	to.SetIndent("", "  ")
	if err := to.Encode(meta); err != nil {
		return "", fmt.Errorf("write %s: %w", filepath.Join(dir, MetaName), err)
	}
	if err := renameio.WriteFile(filepath.Join(dir, MetaName), text.Bytes(), 0o644); err != nil {
		return "", fmt.Errorf("write %s: %w", filepath.Join(dir, MetaName), plain(err))
	}
	return hash, nil
}

// ReadToSeal is ReadModule for a caller that vouches for the module in the capsule's
// directory, and is going to seal it: a hash in meta.json does not count.
func (m *Manifest) ReadToSeal() (wasm []byte, hash string, err error) {
	dir, err := os.OpenRoot(m.Dir)
	if err != nil {
		return nil, "", fmt.Errorf("open the capsule's directory %s: %w", m.Dir, plain(err))
	}
	defer func() { _ = dir.Close() }() // it was only read
	return m.readToSeal(dir)
}

func (m *Manifest) readToSeal(dir *os.Root) (wasm []byte, hash string, err error) {
	wasm, path, err := m.findModule(dir, home.Home{}, "")
	if err != nil {
		return nil, "", err
	}
	hash = hashOf(wasm)
	return wasm, hash, m.checkOwnHash(path, hash)
}

// Sealed returns the hash in the capsule's meta.json in lower-case hex, or "" if the capsule
// is not sealed.
func (m *Manifest) Sealed() (hash string, err error) {
	dir, err := os.OpenRoot(m.Dir)
	if err != nil {
		return "", fmt.Errorf("open the capsule's directory %s: %w", m.Dir, plain(err))
	}
	defer func() { _ = dir.Close() }() // it was only read
	hash, err = m.sealedHash(dir)
	return strings.ToLower(hash), err
}

// sealedHash returns the hash in the capsule's meta.json, or "".
func (m *Manifest) sealedHash(dir *os.Root) (hash string, err error) {
	meta, text, err := readMeta(dir, m.Dir)
	if err != nil {
		return "", err
	}
	value, ok := meta[hashKey]
	if ok && (json.Unmarshal(value, &hash) != nil || !validHash(hash)) {
		return "", Problem{File: filepath.Join(m.Dir, MetaName), Line: lineOfKey(text, hashKey), Key: hashKey,
			Message: fmt.Sprintf("is %.80s, and must be a BLAKE3 hash: 64 hexadecimal digits", value)}
	}
	return hash, nil
}

// readMeta reads a capsule's meta.json; meta is nil if there is none. An invalid file is an
// error, even if a missing one would be accepted.
func readMeta(dir *os.Root, path string) (meta map[string]json.RawMessage, text []byte, err error) {
	path = filepath.Join(path, MetaName)
	text, _, err = readRegular(dir, MetaName, maxJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, Problem{File: path, Message: "can't be read: " + err.Error()}
	}
	meta, problem := readObject(path, text)
	if problem != nil {
		return nil, nil, *problem
	}
	return meta, text, nil
}

func hashOf(wasm []byte) string {
	sum := blake3.Sum256(wasm)
	return hex.EncodeToString(sum[:])
}
