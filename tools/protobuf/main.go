// Command protobuf generates Go from the .proto files below a directory, with the
// plugins that go.mod pins: messages and the Connect service. The compiler is written in
// Go, too, so there is nothing to install. From the top of the repository:
//
//	go -C tools run ./protobuf ../messages
//
// writes missing and changed files and removes generated files whose .proto file is
// gone. With -check it writes nothing, names each such file and fails.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// importPath is the Go package in the go_package option of the .proto files. It
// corresponds to the directory of generated files.
const importPath = "github.com/astrid-actors/astrid-actors/messages"

// plugins are tools of this module.
var plugins = []string{"protoc-gen-go", "protoc-gen-connect-go"}

func main() {
	check := flag.Bool("check", false, "write nothing; fail where a file differs")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: protobuf [-check] DIR")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(context.Background(), flag.Arg(0), *check); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run updates the generated files below dir, or checks that they are up to date.
func run(ctx context.Context, dir string, check bool) error {
	request, err := compile(ctx, dir)
	if err != nil {
		return err
	}
	want := map[string]string{}
	for _, plugin := range plugins {
		files, err := generate(ctx, plugin, request)
		if err != nil {
			return err
		}
		maps.Copy(want, files)
	}
	have, err := below(dir, ".pb.go", ".connect.go")
	if err != nil {
		return err
	}
	var stale []error
	for _, name := range have {
		if _, ok := want[name]; ok {
			continue
		}
		if check {
			stale = append(stale, fmt.Errorf("%s: no .proto file makes it", filepath.Join(dir, name)))
		} else if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		at := filepath.Join(dir, name)
		old, err := os.ReadFile(at)
		switch {
		case err == nil && string(old) == want[name]:
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case check:
			stale = append(stale, fmt.Errorf("%s: differs from what its .proto file makes", at))
		default:
			if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(at, []byte(want[name]), 0o644); err != nil {
				return err
			}
		}
	}
	return errors.Join(stale...)
}

// compile compiles every .proto file below dir into a request for the plugins.
func compile(ctx context.Context, dir string) (*pluginpb.CodeGeneratorRequest, error) {
	sources, err := below(dir, ".proto")
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("no .proto file below %s", dir)
	}
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			ImportPaths: []string{dir},
		}),
		SourceInfoMode: protocompile.SourceInfoStandard, // comments
	}
	files, err := compiler.Compile(ctx, sources...)
	if err != nil {
		return nil, fmt.Errorf("compile below %s: %w", dir, err)
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: sources,
		Parameter:      new("module=" + importPath),
	}
	done := map[string]bool{}
	for _, f := range files {
		request.ProtoFile = withImports(request.ProtoFile, f, done)
	}
	return request, nil
}

// withImports appends f after everything that it imports, each file once.
func withImports(to []*descriptorpb.FileDescriptorProto, f protoreflect.FileDescriptor, done map[string]bool) []*descriptorpb.FileDescriptorProto {
	if done[f.Path()] {
		return to
	}
	done[f.Path()] = true
	for i := range f.Imports().Len() {
		to = withImports(to, f.Imports().Get(i), done)
	}
	return append(to, protoutil.ProtoFromFileDescriptor(f))
}

// generate runs one plugin and returns the files that it generates, by their path below
// the directory of importPath.
func generate(ctx context.Context, plugin string, request *pluginpb.CodeGeneratorRequest) (map[string]string, error) {
	in, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "tool", plugin)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &problems
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run %s: %w\n%s", plugin, err, problems.Bytes())
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out.Bytes(), &response); err != nil {
		return nil, fmt.Errorf("read what %s made: %w", plugin, err)
	}
	if response.Error != nil {
		return nil, fmt.Errorf("%s: %s", plugin, response.GetError())
	}
	files := map[string]string{}
	for _, f := range response.GetFile() {
		files[f.GetName()] = f.GetContent()
	}
	return files, nil
}

// below returns the files below dir whose name ends in one of suffixes, relative to dir,
// sorted, with slashes.
func below(dir string, suffixes ...string) ([]string, error) {
	var found []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(path.Base(name), s) }) {
			found = append(found, name)
		}
		return nil
	})
	return found, err
}
