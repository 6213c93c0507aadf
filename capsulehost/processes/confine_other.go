//go:build !linux

package processes

import (
	"os/exec"
	"syscall"
)

// startConfined starts the program in a process group of its own.
func (p *process) startConfined(cfg Config) error {
	cfg.Log.Warn("processes of capsules can do what this user can: this system has no Landlock and no process namespaces", "program", p.cmd.Path)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return p.cmd.Start()
}

// killGroup kills a process group.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// waitFor waits until a process has ended.
func waitFor(cmd *exec.Cmd) error { return cmd.Wait() }
