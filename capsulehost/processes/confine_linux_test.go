package processes

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// skipWithout skips the test if this machine lacks a means of confinement.
func skipWithout(t *testing.T, means string) {
	t.Helper()
	if _, none := warned.Load(means); none {
		t.Skip("this machine does not have it: " + means)
	}
}

// Its limits hold from the program's first instruction on. It can't get rights, and calls
// of the system that no program needs fail.
func TestLimitsAndCalls(t *testing.T) {
	g := newGroup(t, "sh", "cat")
	for range 10 {
		out, err := g.Run(t.Context(), capsulehost.Command{Program: "cat", Arguments: []string{"/proc/self/limits", "/proc/self/status"}})
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(string(out.Stdout)), " ")
		want := []string{
			"Max core file size 0 0 ", "Max file size 1073741824 1073741824 ", "Max open files 256 256 ", "Max data size 2147483648 2147483648 ",
			" TracerPid: 0 ", " NoNewPrivs: 1 ",
		}
		if _, none := warned.Load("calls"); !none {
			want = append(want, " Seccomp: 2 ")
		}
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Fatalf("it lacks %q: %s", part, text)
			}
		}
	}
	skipWithout(t, "calls")
	for _, attempt := range []string{"unshare -m true", "unshare -n true", "unshare -Ur true", "unshare -Urn true", "nsenter -t $$ -m true", "mount -t tmpfs x .", "dmesg --syslog", "chroot / true"} {
		if _, err := exec.LookPath(strings.Fields(attempt)[0]); err != nil {
			continue
		}
		if out := mustRun(t, g, attempt); out.ExitCode == nil || *out.ExitCode == 0 {
			t.Errorf("%s succeeds: %s", attempt, out.Stdout)
		}
	}
	// Threads and processes can still be made.
	if out := mustRun(t, g, "(echo a; (echo b | cat)) | sort"); string(out.Stdout) != "a\nb\n" {
		t.Errorf("pipes of processes: %q, %s", out.Stdout, out.Stderr)
	}
}

// The filter's verdict on one call each, by the Go team's interpreter.
func TestCallFilter(t *testing.T) {
	const allow, deny, absent = unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM), unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	for name, machine := range architectures {
		vm, err := bpf.NewVM(callFilter(machine, unix.CLONE_NEWPID))
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			what                           string
			architecture, number, argument uint32
			want                           uint32
		}{
			{"write", machine.name, unix.SYS_WRITE, 1, allow},
			{"a foreign architecture", machine.name ^ 1, unix.SYS_WRITE, 1, deny},
			{"x32", machine.name, otherABI | unix.SYS_WRITE, 1, absent},
			{"clone3", machine.name, unix.SYS_CLONE3, 0, absent},
			{"fork", machine.name, unix.SYS_CLONE, uint32(unix.SIGCHLD), allow},
			{"a thread", machine.name, unix.SYS_CLONE, unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND, allow},
			{"a process namespace, which the thread makes", machine.name, unix.SYS_CLONE, unix.CLONE_NEWPID, allow},
			{"a user namespace", machine.name, unix.SYS_CLONE, unix.CLONE_NEWUSER, deny},
			{"a network namespace", machine.name, unix.SYS_CLONE, unix.CLONE_NEWNET | unix.CLONE_NEWPID, deny},
			{"unshare", machine.name, unix.SYS_UNSHARE, 0, deny},
			{"be traced", machine.name, unix.SYS_PTRACE, unix.PTRACE_TRACEME, allow},
			{"let go", machine.name, unix.SYS_PTRACE, unix.PTRACE_DETACH, allow},
			{"attach", machine.name, unix.SYS_PTRACE, unix.PTRACE_ATTACH, deny},
			{"seize", machine.name, unix.SYS_PTRACE, unix.PTRACE_SEIZE, deny},
			{"a socket of the machine", machine.name, unix.SYS_SOCKET, unix.AF_UNIX, deny},
			{"a socket of the network", machine.name, unix.SYS_SOCKET, unix.AF_INET6, allow},
			{"the first that is denied", machine.name, deniedCalls[0], 0, deny},
			{"the last of all", machine.name, deniedCalls[len(deniedCalls)-1], 0, deny},
			{"the architecture's own", machine.name, machine.own[0], 0, deny},
		} {
			// The interpreter reads big-endian numbers, and the kernel those of the machine.
			call := make([]byte, 64)
			binary.BigEndian.PutUint32(call[numberAt:], tt.number)
			binary.BigEndian.PutUint32(call[architectureAt:], tt.architecture)
			binary.BigEndian.PutUint32(call[argumentAt:], tt.argument)
			if got, err := vm.Run(call); err != nil || uint32(got) != tt.want {
				t.Errorf("%s, %s: %#x, %v, want %#x", name, tt.what, got, err, tt.want)
			}
		}
		for kind, want := range map[uint32]uint32{
			unix.SOCK_STREAM | unix.SOCK_CLOEXEC: allow, unix.SOCK_SEQPACKET: allow, unix.SOCK_DGRAM | unix.SOCK_NONBLOCK: deny, unix.SOCK_RAW: deny,
		} {
			call := make([]byte, 64)
			binary.BigEndian.PutUint32(call[numberAt:], unix.SYS_SOCKETPAIR)
			binary.BigEndian.PutUint32(call[architectureAt:], machine.name)
			binary.BigEndian.PutUint32(call[argumentAt:], unix.AF_UNIX)
			binary.BigEndian.PutUint32(call[secondAt:], kind)
			if got, err := vm.Run(call); err != nil || uint32(got) != want {
				t.Errorf("%s, a pair of type %#x: %#x, %v, want %#x", name, kind, got, err, want)
			}
		}
	}
}

// A program reads the system's directories, and does not write there.
func TestSystemDirectoriesAreReadOnly(t *testing.T) {
	g := newGroup(t, "sh")
	mustRun(t, g, "true")
	skipWithout(t, "files")
	system := t.TempDir()
	before := systemDirs
	systemDirs = slices.Concat(before, []string{system})
	t.Cleanup(func() { systemDirs = before })
	if out := mustRun(t, g, "ls "+system+" && ! { echo x >"+system+"/new; } && ! mkdir "+system+"/new"); out.ExitCode == nil || *out.ExitCode != 0 {
		t.Errorf("%v: %q (%s)", out.ExitCode, out.Stdout, out.Stderr)
	}
}

// The rights that Landlock restricts, by its versions.
func TestRightsOfLandlock(t *testing.T) {
	const first, refer, truncate = unix.LANDLOCK_ACCESS_FS_TRUNCATE>>1 - 1, unix.LANDLOCK_ACCESS_FS_REFER, unix.LANDLOCK_ACCESS_FS_TRUNCATE
	for version, want := range map[uintptr]uint64{1: first, 2: first | refer, 3: first | refer | truncate, 9: first | refer | truncate} {
		if got := rightsOf(version); got != want {
			t.Errorf("version %d: %#x, want %#x", version, got, want)
		}
	}
}

// Calls that no shell makes. A file that is truncated by its name is not opened, and a
// connection to a socket of this machine is no access to a file.
func TestCallsOutOfReach(t *testing.T) {
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("there is no perl")
	}
	g := newGroup(t, "perl", "sh")
	perl := func(script string, arguments ...string) capsulehost.ProcessOutput {
		out, err := g.Run(t.Context(), capsulehost.Command{Program: "perl", Arguments: append([]string{"-e", script}, arguments...)})
		if err != nil || out.ExitCode == nil {
			t.Fatalf("%+v, %v", out, err)
		}
		return out
	}
	mine, theirs := filepath.Join(g.cfg.Dir, "file"), filepath.Join(t.TempDir(), "file")
	for _, path := range []string{mine, theirs} {
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const truncate = `truncate($ARGV[0], 3) or die "no: $!"`
	if out := perl(truncate, mine); *out.ExitCode != 0 {
		t.Errorf("a file of its own: %s", out.Stderr)
	}
	if _, none := warned.Load("files"); !none {
		if version, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); version >= 3 {
			out := perl(truncate, theirs)
			if text, err := os.ReadFile(theirs); *out.ExitCode == 0 || string(text) != "precious" {
				t.Errorf("a file outside: %d, %s; it has %q, %v", *out.ExitCode, out.Stderr, text, err)
			}
		}
	}
	if _, none := warned.Load("calls"); none {
		return
	}
	listener, err := net.Listen("unix", filepath.Join(g.cfg.Dir, "socket")) // as far as files go, it may
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	out := perl(`use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0) or die "no: $!"; connect(S, pack_sockaddr_un($ARGV[0])) or die "connect: $!"`, listener.Addr().String())
	if *out.ExitCode == 0 || !strings.Contains(string(out.Stderr), "no: ") {
		t.Errorf("it has connected to a socket of this machine: %d, %s", *out.ExitCode, out.Stderr)
	}
	out = perl(`use Socket; socketpair(A, B, AF_UNIX, SOCK_STREAM, 0) or die "pair: $!"; socket(S, AF_INET, SOCK_STREAM, 0) or die "network: $!"`)
	if *out.ExitCode != 0 {
		t.Errorf("what programs need: %s", out.Stderr)
	}
}

// A program of root has no more rights than to reach the files of all users, where Landlock
// lets it.
func TestCapabilities(t *testing.T) {
	g := newGroup(t, "sh", "cat")
	out, err := g.Run(t.Context(), capsulehost.Command{Program: "cat", Arguments: []string{"/proc/self/status"}})
	if err != nil {
		t.Fatal(err)
	}
	skipWithout(t, "capabilities")
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		_, rest, found := strings.Cut(string(out.Stdout), set+":")
		var has uint64
		if _, err := fmt.Sscanf(rest, "%x", &has); err != nil || !found {
			t.Fatalf("%s: %v", out.Stdout, err)
		}
		if os.Geteuid() != 0 && set == "CapBnd" { // without root, nobody can use it
			continue
		}
		if has&^(1<<unix.CAP_DAC_OVERRIDE) != 0 {
			t.Errorf("%s is %#x", set, has)
		}
	}
	// The daemon's environment has its secrets.
	environ := fmt.Sprintf("/proc/%d/environ", os.Getpid())
	if out := mustRun(t, g, "cat "+environ); out.ExitCode == nil || *out.ExitCode == 0 {
		if _, none := warned.Load("files"); !none {
			t.Errorf("it reads %s: %d bytes", environ, len(out.Stdout))
		}
	}
}

// A program that can't be started is no shortcoming of the machine.
func TestABadProgram(t *testing.T) {
	g := newGroup(t, "sh")
	mustRun(t, g, "true")
	skipWithout(t, "namespace")
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("no program"), 0o777); err != nil {
		t.Fatal(err)
	}
	g.cfg.Programs = []string{bad}
	if _, err := g.Run(t.Context(), capsulehost.Command{Program: bad}); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("%v", err)
	}
	if _, none := warned.Load("namespace"); none {
		t.Error("it is said to have no process namespaces")
	}
}

// A file that many programs read is found where its link leads.
func TestSystemFilesAreFollowed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "target"), []byte("nameserver"), 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	before := systemFiles
	systemFiles = append(slices.Clone(before), link, filepath.Join(dir, "none"))
	t.Cleanup(func() { systemFiles = before })
	g := newGroup(t, "sh")
	mustRun(t, g, "true")
	skipWithout(t, "files")
	if out := mustRun(t, g, "cat "+dir+"/target && ! { echo x >>"+dir+"/target; }"); string(out.Stdout) != "nameserver" || out.ExitCode == nil || *out.ExitCode != 0 {
		t.Errorf("%q (%s)", out.Stdout, out.Stderr)
	}
}
