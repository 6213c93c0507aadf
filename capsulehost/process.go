package capsulehost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// Limits of the requests for processes, in bytes.
const (
	maxProcessRequest = 1 << 20
	maxProcessID      = 256
)

// Processes runs programs of the host for a guest. All errors trap.
type Processes interface {
	// Run runs a program, and returns when it has ended. At the end of ctx it is killed.
	Run(ctx context.Context, c Command) (ProcessOutput, error)
	// Start starts a program in the background, and returns its number.
	Start(ctx context.Context, c Command) (uint64, error)
	// Logs returns what a background process has written since the last call.
	Logs(process uint64) (ProcessOutput, error)
	// Kill kills a background process, and forgets it.
	Kill(ctx context.Context, process uint64) (ProcessOutput, error)
}

// Command is a program with its arguments, none of which a shell reads.
type Command struct {
	Program   string
	Arguments []string
}

// ProcessOutput is what a process has written, and how it ended.
type ProcessOutput struct {
	Stdout, Stderr []byte
	Running        bool
	// ExitCode is nil if the process runs, or was ended by a signal.
	ExitCode *int
}

// processCalls are the calls of Services.Processes.
var processCalls = []hostFunction{
	{"astrid_spawn_host", []api.ValueType{i64}, []api.ValueType{i64}, astridSpawnHost},
	{"astrid_spawn_background_host", []api.ValueType{i64}, []api.ValueType{i64}, astridSpawnBackgroundHost},
	{"astrid_read_process_logs_host", []api.ValueType{i64}, []api.ValueType{i64}, astridReadProcessLogsHost},
	{"astrid_kill_process_host", []api.ValueType{i64}, []api.ValueType{i64}, astridKillProcessHost},
}

var errNoProcesses = errors.New("processes are not granted to this capsule: its manifest must name the program in host_process, and the operator must allow them (run --allow-host-process)")

// command reads {"cmd": TEXT, "args": [TEXT]}; args may be missing.
func (i *Instance) command(offset uint64) (Processes, Command, error) {
	request, err := i.bytes("request", offset, maxProcessRequest)
	if err != nil {
		return nil, Command{}, err
	}
	c, err := decodeCommand(request)
	if err != nil {
		return nil, c, fmt.Errorf("invalid process request: %w", err)
	}
	if s := i.services().Processes; s != nil {
		return s, c, nil
	}
	return nil, c, errNoProcesses
}

func decodeCommand(request []byte) (c Command, err error) {
	compact, err := CompactJSON(request)
	if err != nil {
		return c, err
	}
	var fields map[string]json.RawMessage // decoded so, names match exactly
	if err := json.Unmarshal(compact, &fields); err != nil {
		return c, errors.New("not a JSON object")
	}
	var program *string
	if value, ok := fields["cmd"]; ok {
		if err := json.Unmarshal(value, &program); err != nil {
			return c, errors.New("field `cmd` is not a string")
		}
	}
	if program == nil || *program == "" {
		return c, errors.New("missing field `cmd`")
	}
	c.Program = *program
	if value, ok := fields["args"]; ok {
		if err := json.Unmarshal(value, &c.Arguments); err != nil {
			return c, errors.New("field `args` is not a list of strings")
		}
	}
	for _, text := range append([]string{c.Program}, c.Arguments...) {
		if strings.ContainsRune(text, 0) {
			return c, errors.New("a program and its arguments can't contain zero bytes")
		}
	}
	return c, nil
}

func astridSpawnHost(_ context.Context, i *Instance, stack []uint64) error {
	s, c, err := i.command(stack[0])
	if err != nil {
		return err
	}
	var out ProcessOutput
	i.outside(func() { out, err = s.Run(i.ctx, c) })
	if err != nil {
		return err
	}
	code := -1
	if out.ExitCode != nil {
		code = *out.ExitCode
	}
	return i.answer(stack, string(append(strconv.AppendInt(append(out.fields(`{`), `,"exit_code":`...), int64(code), 10), '}')))
}

// fields appends the output's text to the beginning of an object.
func (o *ProcessOutput) fields(text string) []byte {
	out := serdejson.AppendString(append([]byte(text), `"stdout":`...), lossy(o.Stdout))
	return serdejson.AppendString(append(out, `,"stderr":`...), lossy(o.Stderr))
}

// exitCode returns the exit code as JSON.
func (o *ProcessOutput) exitCode() string {
	if o.ExitCode == nil {
		return "null"
	}
	return strconv.Itoa(*o.ExitCode)
}

func astridSpawnBackgroundHost(_ context.Context, i *Instance, stack []uint64) error {
	s, c, err := i.command(stack[0])
	if err != nil {
		return err
	}
	var id uint64
	i.outside(func() { id, err = s.Start(i.ctx, c) })
	if err != nil {
		return err
	}
	return i.answer(stack, `{"id":`+strconv.FormatUint(id, 10)+`}`)
}

// process reads {"id": NUMBER}.
func (i *Instance) process(offset uint64) (Processes, uint64, error) {
	request, err := i.bytes("request", offset, maxProcessID)
	if err != nil {
		return nil, 0, err
	}
	var value json.RawMessage
	err = serdejson.DecodeStruct(request, serdejson.ValueField("id", &value))
	var id uint64
	if err == nil {
		id, err = strconv.ParseUint(string(value), 10, 64)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("invalid process request: %w", err)
	}
	if s := i.services().Processes; s != nil {
		return s, id, nil
	}
	return nil, 0, errNoProcesses
}

func astridReadProcessLogsHost(_ context.Context, i *Instance, stack []uint64) error {
	s, id, err := i.process(stack[0])
	if err != nil {
		return err
	}
	var out ProcessOutput
	i.outside(func() { out, err = s.Logs(id) })
	if err != nil {
		return err
	}
	return i.answer(stack, string(out.fields(`{`))+`,"running":`+strconv.FormatBool(out.Running)+`,"exit_code":`+out.exitCode()+`}`)
}

func astridKillProcessHost(_ context.Context, i *Instance, stack []uint64) error {
	s, id, err := i.process(stack[0])
	if err != nil {
		return err
	}
	var out ProcessOutput
	i.outside(func() { out, err = s.Kill(i.ctx, id) })
	if err != nil {
		return err
	}
	return i.answer(stack, `{"killed":true,"exit_code":`+out.exitCode()+string(out.fields(`,`))+`}`)
}
