package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

// envName is the name of the environment file in a capsule's directory.
const envName = ".env.json"

// Configuration returns the values for astrid_get_config: the defaults of the manifest's
// [env], overridden by the principal's environment file or, if there is none, by .env.json
// in the capsule's directory. Strings are raw, other values are JSON text.
// ASTRID_SOCKET_PATH is always socketPath.
//
// It never fails: a file that can't be used is ignored, with a warning.
func (m *Manifest) Configuration(h home.Home, p home.Principal, socketPath string) (map[string]string, Problems) {
	values := map[string]string{}
	for name, v := range m.Env {
		if v.Default != nil {
			values[name] = *v.Default
		}
	}
	set, warnings := m.environment(h, p)
	for name, value := range set {
		// Tools write null for an unset value.
		if string(value) != "null" {
			values[name] = configJSON(value)
		}
	}
	values[SocketVariable] = socketPath
	return values, warnings
}

// environment reads the environment file that applies.
func (m *Manifest) environment(h home.Home, p home.Principal) (map[string]json.RawMessage, Problems) {
	path := h.EnvFile(p, m.ID())
	text, info, err := readRegular(everywhere{}, path, maxJSON)
	if errors.Is(err, fs.ErrNotExist) {
		path = filepath.Join(m.Dir, envName)
		text, info, err = readInside(m.Dir, envName)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, Problems{{File: path, Message: "can't be read, and is ignored: " + err.Error()}}
	}
	var warnings Problems
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		warnings = append(warnings, Problem{File: path, Message: fmt.Sprintf(
			"may hold secrets, and others than its owner may open it (mode %04o): chmod 600 it", mode)})
	}
	set, problem := readObject(path, text)
	if problem != nil {
		problem.Message += "; the whole file is ignored"
		return nil, append(warnings, *problem)
	}
	if _, ok := set[SocketVariable]; ok {
		warnings = append(warnings, Problem{File: path, Line: lineOfKey(text, SocketVariable), Key: SocketVariable, Message: "is ignored: the host sets it"})
	}
	return set, warnings
}

func readInside(dir, name string) ([]byte, fs.FileInfo, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, plain(err)
	}
	defer func() { _ = root.Close() }() // it was only read
	return readRegular(root, name, maxJSON)
}

// readObject parses a JSON object, or returns the position of the fault.
func readObject(file string, text []byte) (map[string]json.RawMessage, *Problem) {
	at := func(offset int, message string) *Problem {
		before := text[:min(max(offset, 0), len(text))]
		line := 1 + bytes.Count(before, []byte("\n"))
		column := len(before) - bytes.LastIndexByte(before, '\n')
		return &Problem{File: file, Line: line, Message: fmt.Sprintf("column %d: %s", column, message)}
	}
	for i, rest := 0, text; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size == 1 {
			return nil, at(i, "not valid JSON: the text is not UTF-8")
		}
		i, rest = i+size, rest[size:]
	}
	var object map[string]json.RawMessage
	err := json.Unmarshal(text, &object)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, at(int(syntax.Offset)-1, "not valid JSON: "+syntax.Error())
	case err != nil || object == nil:
		return nil, at(0, "must be a JSON object: {...}")
	}
	return object, nil
}

// lineOfKey returns the line of the key's last occurrence in a JSON object.
func lineOfKey(text []byte, key string) int {
	d := json.NewDecoder(bytes.NewReader(text))
	line := 0
	if _, err := d.Token(); err != nil {
		return 0
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return line
		}
		if name == key {
			line = 1 + bytes.Count(text[:d.InputOffset()], []byte("\n"))
		}
		var skipped json.RawMessage
		if d.Decode(&skipped) != nil {
			return line
		}
	}
	return line
}
