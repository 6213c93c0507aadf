package processes

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// deniedCalls change the machine, or reach into the kernel or into other processes. No
// program needs them that a capsule has a reason to run. Most need rights that only root
// has, and the daemon may be root.
var deniedCalls = []uint32{
	// What is mounted where, and what the root is.
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_FSOPEN, unix.SYS_FSPICK, unix.SYS_FSCONFIG,
	unix.SYS_FSMOUNT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_MOUNT_SETATTR, unix.SYS_SWAPON, unix.SYS_SWAPOFF,
	unix.SYS_QUOTACTL, unix.SYS_OPEN_BY_HANDLE_AT,
	// Other namespaces; clone is restricted below.
	unix.SYS_UNSHARE, unix.SYS_SETNS,
	// The kernel itself, and its clocks and names.
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT, unix.SYS_SYSLOG,
	unix.SYS_ACCT, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME, unix.SYS_SETHOSTNAME,
	unix.SYS_SETDOMAINNAME, unix.SYS_VHANGUP,
	// Parts of it that are often attacked.
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_IO_URING_SETUP, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_KEYCTL,
	// Other processes; ptrace is restricted below.
	unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
}

// An architecture as the kernel names it, with calls to deny that not all have: on amd64 iopl
// and ioperm, which reach devices, on both kexec_file_load.
type architecture struct {
	name uint32
	own  []uint32
}

// architectures are those that the filter knows.
var architectures = map[string]architecture{
	"amd64": {unix.AUDIT_ARCH_X86_64, []uint32{172, 173, 320}},
	"arm64": {unix.AUDIT_ARCH_AARCH64, []uint32{294}},
}

// Where the kernel puts what a filter decides on. Both architectures are little-endian.
const (
	numberAt       = 0
	architectureAt = 4
	argumentAt     = 16 // the lower half of the first one
	secondAt       = 24 // and of the second

	otherABI    = 0x40000000 // x32: the same calls under other numbers
	socketTypes = 0xf        // the bits of a socket's type that are not flags
)

// restrictCalls restricts the calling thread, and what it starts, in its system calls: those
// that are denied fail as they do without rights. namespaces are those that the thread
// itself still creates, for the program.
func restrictCalls(namespaces uintptr) error {
	machine, known := architectures[runtime.GOARCH]
	if !known {
		return fmt.Errorf("the system calls of %s: %w", runtime.GOARCH, errors.ErrUnsupported)
	}
	filter, err := bpf.Assemble(callFilter(machine, uint32(namespaces))) //nolint:gosec // flags of 32 bits
	if err != nil {
		return err
	}
	program := make([]unix.SockFilter, len(filter))
	for n, instruction := range filter {
		program[n] = unix.SockFilter{Code: instruction.Op, Jt: instruction.Jt, Jf: instruction.Jf, K: instruction.K}
	}
	loaded := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}                                //nolint:gosec // some hundred
	err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&loaded)), 0, 0) //nolint:gosec // a system call
	runtime.KeepAlive(program)
	return os.NewSyscallError("seccomp", err)
}

// callFilter returns the filter's program.
func callFilter(machine architecture, namespaces uint32) []bpf.Instruction {
	const anyNamespace = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP
	allow, deny := bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}, bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	absent := bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}
	number := bpf.LoadAbsolute{Off: numberAt, Size: 4}
	argument := bpf.LoadAbsolute{Off: argumentAt, Size: 4}
	second := bpf.LoadAbsolute{Off: secondAt, Size: 4}
	filter := []bpf.Instruction{
		// Programs of 32 bits would make the same calls under numbers of their own.
		bpf.LoadAbsolute{Off: architectureAt, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: machine.name, SkipTrue: 1}, deny,
		number,
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: otherABI, SkipTrue: 1}, absent,
		// A filter can't see the flags of clone3; without it, libraries use clone.
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_CLONE3, SkipFalse: 1}, absent,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_CLONE, SkipFalse: 4},
		argument,
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: anyNamespace &^ namespaces, SkipFalse: 1}, deny, allow,
		// The thread itself needs two of ptrace's requests, and they show nobody anything.
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_PTRACE, SkipFalse: 5},
		argument,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PTRACE_TRACEME, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PTRACE_DETACH, SkipTrue: 1}, deny, allow,
		// Whoever listens at a socket of this machine trusts its user: the daemon itself, whose
		// commands approve what capsules ask for. Landlock does not see connections to them. A
		// pair of connected ones is harmless, unless they can be connected anew.
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_SOCKET, SkipFalse: 4},
		argument,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_UNIX, SkipFalse: 1}, deny, allow,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_SOCKETPAIR, SkipFalse: 6},
		second,
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: socketTypes},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SOCK_STREAM, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SOCK_SEQPACKET, SkipTrue: 1}, deny, allow,
	}
	for _, call := range slices.Concat(deniedCalls, machine.own) {
		filter = append(filter, bpf.JumpIf{Cond: bpf.JumpEqual, Val: call, SkipFalse: 1}, deny)
	}
	return append(filter, allow)
}
