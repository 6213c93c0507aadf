package processes

import (
	"encoding/binary"
	"os/exec"
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
