package processes

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// startConfined starts the program with as few rights as this machine can give it. The
// calling thread loses the same rights.
func (p *process) startConfined(cfg Config) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up the right to new rights: %w", err)
	}
	if err := restrictFiles(p.cmd.Path, cfg); err != nil {
		once(cfg.Log, "files", "processes of capsules can read and write what this user can: there is no Landlock", err)
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		if err := giveUpCapabilities(); err != nil {
			once(cfg.Log, "capabilities", "processes of capsules have all capabilities of the daemon", err)
		}
	}
	namespaces := uintptr(syscall.CLONE_NEWPID)
	if uid != 0 { // others than root need a user namespace for it
		namespaces |= syscall.CLONE_NEWUSER
	}
	if err := restrictCalls(namespaces); err != nil {
		once(cfg.Log, "calls", "processes of capsules can make every system call: there is no filter", err)
	}
	// The program stops before its first instruction, so that its limits can be set.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Ptrace: true, Cloneflags: namespaces}
	if uid != 0 {
		p.cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		p.cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	}
	original := *p.cmd
	err := p.cmd.Start()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		confined := err
		attributes := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		*p.cmd = exec.Cmd{
			Path: original.Path, Args: original.Args, Dir: original.Dir, Env: original.Env,
			Stdout: original.Stdout, Stderr: original.Stderr, WaitDelay: original.WaitDelay, SysProcAttr: attributes,
		}
		if err = p.cmd.Start(); err == nil { // so it was not the program's fault
			once(cfg.Log, "namespace", "processes of capsules have no process namespace, or can't be stopped at their start: one that leaves its group can outlive its capsule", confined)
		}
	}
	if err != nil {
		return err
	}
	pid := p.cmd.Process.Pid
	if p.cmd.SysProcAttr.Ptrace {
		_ = waitUntil(pid, unix.WSTOPPED|unix.WEXITED)
	}
	limitResources(pid, cfg.Log)
	if p.cmd.SysProcAttr.Ptrace {
		if err := unix.PtraceDetach(pid); err != nil && !errors.Is(err, unix.ESRCH) { // it may have been killed
			p.kill()
			_ = p.cmd.Wait()
			return fmt.Errorf("let it run: %w", err)
		}
	}
	return nil
}

// giveUpCapabilities bounds what a program of root can do to what Landlock restricts:
// reaching files of all users, such as those of a workspace that is mounted into a container.
// The thread itself keeps its own.
func giveUpCapabilities() error {
	for capability := uintptr(0); capability <= unix.CAP_LAST_CAP; capability++ {
		if capability == unix.CAP_DAC_OVERRIDE {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) { // an older kernel has fewer
			return err
		}
	}
	return nil
}

// warned are the shortcomings of this machine that have been logged.
var warned sync.Map //nolint:gochecknoglobals // of the machine

func once(log *slog.Logger, what, message string, err error) {
	if _, already := warned.LoadOrStore(what, true); !already {
		log.Warn(message, "err", err)
	}
}

// limitResources bounds what one process may use.
func limitResources(pid int, log *slog.Logger) {
	for resource, limit := range map[int]uint64{
		unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: 1 << 30, unix.RLIMIT_NOFILE: 256, unix.RLIMIT_DATA: 2 << 30,
	} {
		err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: limit, Max: limit}, nil)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			once(log, "limits", "processes of capsules have no limits of their resources", err)
		}
	}
}

// killGroup kills a process group. The first process of a namespace takes all others along.
func killGroup(pid int) { _ = unix.Kill(-pid, unix.SIGKILL) }

// waitFor waits until a process has ended, and leaves it to be waited for: its number stays
// its own until then.
func waitFor(cmd *exec.Cmd) error { return waitUntil(cmd.Process.Pid, unix.WEXITED) }

// waitUntil waits for a change of a process's state, and leaves it to be waited for.
func waitUntil(pid, change int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, change|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

const (
	readRights = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_EXECUTE
	fileRights = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
)

// allRights returns the rights that the kernel's version of Landlock knows.
func allRights() (uint64, error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errno
	}
	return rightsOf(version), nil
}

// rightsOf returns the rights of a version of Landlock: the second one added moves between
// directories, the third one truncating.
func rightsOf(version uintptr) uint64 { return 1<<(12+min(version, 3)) - 1 }

// systemDirs are read by most programs.
var systemDirs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix/store"}

// systemFiles are read by many, and may be links out of systemDirs: systemd's resolver has
// its configuration below /run.
var systemFiles = []string{"/etc/resolv.conf"}

// restrictFiles restricts the calling thread, and what it starts, to some files.
func restrictFiles(program string, cfg Config) error {
	all, err := allRights()
	if err != nil {
		return err
	}
	attributes := unix.LandlockRulesetAttr{Handled_access_fs: all}
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes.Handled_access_fs), 0) //nolint:gosec // a system call
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(ruleset))
	for _, dir := range systemDirs {
		if err := allow(int(ruleset), dir, readRights); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	for _, file := range systemFiles {
		if err := allow(int(ruleset), file, unix.LANDLOCK_ACCESS_FS_READ_FILE); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	for _, device := range []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"} {
		if err := allow(int(ruleset), device, fileRights); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	proc := uint64(readRights)
	if os.Geteuid() != 0 { // this thread writes the user ids of the namespace there
		proc |= unix.LANDLOCK_ACCESS_FS_WRITE_FILE
	}
	if err := allow(int(ruleset), "/proc", proc); err != nil {
		return err
	}
	for path, rights := range map[string]uint64{program: readRights &^ unix.LANDLOCK_ACCESS_FS_READ_DIR, cfg.Dir: all, cfg.TempDir: all} {
		if err := allow(int(ruleset), path, rights); err != nil {
			return err
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// allow adds a path, and all below it, to a ruleset.
func allow(ruleset int, path string, rights uint64) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	below := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}                                                                   //nolint:gosec // a descriptor is small
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&below)), 0, 0, 0) //nolint:gosec // a system call
	if errno != 0 {
		return &os.PathError{Op: "allow", Path: path, Err: errno}
	}
	return nil
}
