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

// Home is Astrid's directory, returned by [Resolve]. It need not exist.
type Home struct{ dir string }

// Resolve returns the home: dir as an absolute path; if dir is "", $ASTRID_HOME, which must
// be absolute and must not contain `..`; if that is unset, ~/.astrid.
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

// Dir returns the home directory, an absolute path.
func (h Home) Dir() string { return h.dir }

// SocketPath returns the path of the daemon's socket.
func (h Home) SocketPath() string { return filepath.Join(h.dir, "run", "actors.sock") }

// ClientSocketPath returns the path of the socket at which a capsule serves clients, and
// ClientTokenPath that of the file with the token that they must know: where Astrid's own
// clients look for them.
func (h Home) ClientSocketPath() string { return filepath.Join(h.dir, "run", "system.sock") }

// ClientTokenPath returns the path of the token: see ClientSocketPath.
func (h Home) ClientTokenPath() string { return filepath.Join(h.dir, "run", "system.token") }

// StatePath returns the path of the file with the durable state of all capsules.
func (h Home) StatePath() string { return filepath.Join(h.dir, "state", "actors.db") }

// SecretsKey returns the path of the file with the key of the capsules' secrets.
func (h Home) SecretsKey() string { return filepath.Join(h.dir, "state", "secrets.key") }

// CacheDir returns the directory of files that can be rebuilt: compiled modules.
func (h Home) CacheDir() string { return filepath.Join(h.dir, "cache") }

// ModulePath returns the path of a shared module, for capsules without their own copy;
// hash is its BLAKE3 hash in hex.
func (h Home) ModulePath(hash string) string { return filepath.Join(h.dir, "bin", hash+".wasm") }

// InstallLock returns the path of the file that an installation locks.
func (h Home) InstallLock() string { return filepath.Join(h.dir, "run", "install.lock") }

// PrincipalDir returns the directory of all files of a principal.
func (h Home) PrincipalDir(p Principal) string { return h.of(p) }

// CapsulesDir returns the directory of a principal's capsules, one subdirectory each.
func (h Home) CapsulesDir(p Principal) string { return h.of(p, ".local", "capsules") }

// LogDir returns the directory of a capsule's log, one file per day.
func (h Home) LogDir(p Principal, capsule string) string { return h.of(p, ".local", "log", capsule) }

// EnvFile returns the path of a principal's settings for a capsule.
func (h Home) EnvFile(p Principal, capsule string) string {
	return h.of(p, ".config", "env", capsule+".env.json")
}

// TmpDir returns the directory of a principal's temporary files, which guests see as /tmp.
func (h Home) TmpDir(p Principal) string { return h.of(p, ".local", "tmp") }

// WorkspaceDir returns the directory of what a principal's capsules have changed in a
// workspace and nobody has committed yet.
func (h Home) WorkspaceDir(p Principal, workspace string) string {
	return h.of(p, ".local", "workspaces", workspace)
}

// ValidCapsule reports whether id is a valid capsule id: one or more of a-z 0-9 -. So it
// is also a safe file name.
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

// Principal is the user for whom something runs: 1 to 64 of a-z A-Z 0-9 _ -. It becomes a
// directory name, so create one only with [ParsePrincipal].
type Principal string

// DefaultPrincipal is used if no principal is named.
const DefaultPrincipal = "default"

// MaxPrincipal is the maximum length of a principal in bytes.
const MaxPrincipal = 64

// ParsePrincipal checks a principal's name and returns it.
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
