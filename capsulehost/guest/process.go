package guest

import (
	"encoding/json"
	"fmt"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"
)

// ProcessOutput is what a program of the host has written, and how it ended.
type ProcessOutput struct {
	Stdout  string `json:"stdout"`
	Stderr  string `json:"stderr"`
	Running bool   `json:"running"`
	// ExitCode is nil if the program runs, or was ended by a signal in the background. After
	// a signal, that of RunProgram is -1.
	ExitCode *int `json:"exit_code"`
}

// RunProgram runs a program of the host, and returns when it has ended. The manifest must
// name it in host_process, and the operator allow it; else the capsule is killed. There is
// no shell. The last 1 MiB of each output is kept.
func RunProgram(name string, arguments ...string) (ProcessOutput, error) {
	var out ProcessOutput
	err := askProcess(abi.SpawnHost, command{name, arguments}, &out)
	return out, err
}

// Process is a program that runs in the background.
type Process struct {
	ID uint64 `json:"id"`
}

// StartProgram starts a program of the host in the background. At most 8 are there at once,
// those that have ended and were not killed included. All end with the capsule's instance.
func StartProgram(name string, arguments ...string) (Process, error) {
	var p Process
	err := askProcess(abi.SpawnBackgroundHost, command{name, arguments}, &p)
	return p, err
}

// Logs returns what the program has written since the last call.
func (p Process) Logs() (ProcessOutput, error) {
	var out ProcessOutput
	err := askProcess(abi.ReadProcessLogsHost, p, &out)
	return out, err
}

// Kill kills the program, and all that it has started.
func (p Process) Kill() (ProcessOutput, error) {
	var out ProcessOutput
	err := askProcess(abi.KillProcessHost, p, &out)
	return out, err
}

// command is the request for a program.
type command struct {
	Program   string   `json:"cmd"`
	Arguments []string `json:"args,omitempty"`
}

func askProcess(call func(string) string, request, answer any) error {
	text, err := json.Marshal(request)
	if err == nil {
		err = json.Unmarshal([]byte(call(string(text))), answer)
	}
	if err != nil {
		return fmt.Errorf("process: %w", err)
	}
	return nil
}
