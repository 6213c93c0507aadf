package home

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Variable is the environment variable that names the home.
const Variable = "ASTRID_HOME"

// Home is Astrid's directory. Make one with [Resolve]. It need not exist.
type Home struct{ dir string }

// Resolve returns the home: dir, made absolute; or where it is "", $ASTRID_HOME,
// which must be absolute and hold no `..`; or where that is unset, ~/.astrid.
func Resolve(dir string) (Home, error) {
	if dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return Home{}, fmt.Errorf("resolve the home %q: %w", dir, err)
		}
		return Home{abs}, nil
	}
	if dir = os.Getenv(Variable); dir != "" {
		if !filepath.IsAbs(dir) {
			return Home{}, fmt.Errorf("$%s is %q: it must be an absolute path", Variable, dir)
		}
		for part := range strings.SplitSeq(filepath.ToSlash(dir), "/") {
			if part == ".." {
				return Home{}, fmt.Errorf("$%s is %q: it must not hold `..`", Variable, dir)
			}
		}
		return Home{filepath.Clean(dir)}, nil
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return Home{}, fmt.Errorf("find the home: %w; set $%s", err, Variable)
	}
	if !filepath.IsAbs(user) {
		return Home{}, fmt.Errorf("find the home: $HOME is %q, which is not an absolute path; set $%s", user, Variable)
	}
	return Home{filepath.Join(user, ".astrid")}, nil
}

// Dir is the home itself, an absolute path.
func (h Home) Dir() string { return h.dir }

// SocketPath is where the daemon listens.
func (h Home) SocketPath() string { return filepath.Join(h.dir, "run", "actors.sock") }

// CacheDir keeps what can be made again: compiled modules.
func (h Home) CacheDir() string { return filepath.Join(h.dir, "cache") }

// ModulePath is the module with that BLAKE3 hash, in hex, of capsules that
// don't bring theirs along.
func (h Home) ModulePath(hash string) string { return filepath.Join(h.dir, "bin", hash+".wasm") }

// PrincipalDir holds all that belongs to a principal.
func (h Home) PrincipalDir(p Principal) string { return h.of(p) }

// CapsulesDir holds a principal's capsules, a directory each.
func (h Home) CapsulesDir(p Principal) string { return h.of(p, ".local", "capsules") }

// LogDir holds a capsule's log, a file for each day.
func (h Home) LogDir(p Principal, capsule string) string { return h.of(p, ".local", "log", capsule) }

// EnvFile holds what a principal set of a capsule's configuration.
func (h Home) EnvFile(p Principal, capsule string) string {
	return h.of(p, ".config", "env", capsule+".env.json")
}

// ValidCapsule says whether id may be a capsule's id, and so a file's name: one
// or more of a-z 0-9 -.
func ValidCapsule(id string) bool {
	for _, r := range id {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return id != ""
}

func (h Home) of(p Principal, path ...string) string {
	return filepath.Join(append([]string{h.dir, "home", string(p)}, path...)...)
}

// Principal is on whose behalf something runs: 1 to 64 of a-z A-Z 0-9 _ -. It
// is a directory's name, so make one with [ParsePrincipal] only.
type Principal string

// DefaultPrincipal is the one that is meant where none is named.
const DefaultPrincipal = "default"

// MaxPrincipal is the length of the longest principal, in bytes.
const MaxPrincipal = 64

// ParsePrincipal checks a principal's name.
func ParsePrincipal(s string) (Principal, error) {
	if s == "" {
		return "", errors.New("the principal is empty: it must be 1 to 64 of a-z A-Z 0-9 _ -")
	}
	if len(s) > MaxPrincipal {
		return "", fmt.Errorf("principal %.70q has %d characters: at most %d are allowed", s, len(s), MaxPrincipal)
	}
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_', r == '-':
		default:
			return "", fmt.Errorf("principal %q holds %q: only a-z A-Z 0-9 _ - are allowed", s, r)
		}
	}
	return Principal(s), nil
}
