// Package processes runs programs of this machine for one instance of a capsule.
//
//	group := processes.New(processes.Config{Programs: []string{"git status"}, Dir: workspace})
//	services.Processes = group
//	defer group.Close() // kills them
//
// A program is found as a shell finds it, or named by its absolute path. It gets no shell,
// no input, and of the environment only PATH, HOME, LANG and TMPDIR. It has a process group
// of its own, which is killed whole, and limits: 1 GiB for a file, 2 GiB of data, 256 open
// files. On Linux, where the kernel can, it may write below Dir and TempDir only, and read
// only there, beside its program and in the system's directories (Landlock); it can't get
// rights that it does not have; system calls that change the machine, reach into other
// processes or open a Unix socket fail (seccomp); of root's capabilities it has only the one
// to reach files of all users; and it has a process namespace of its own, so that nothing
// that it has started is left. What is not possible is logged once. The network is open to
// it, and it can change the modes and times of its user's files everywhere.
package processes
