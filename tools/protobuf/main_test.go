package main

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const source = `syntax = "proto3";

package test.v1;

import "google/protobuf/duration.proto";
import "test/other.proto";

option go_package = "github.com/astrid-actors/astrid-actors/messages;messages";

service Mail {
  rpc Send(Letter) returns (Letter);
}

// Letter is what a test sends.
message Letter {
  google.protobuf.Duration delay = 1;
  Stamp stamp = 2;
}
`

const other = `syntax = "proto3";

package test.v1;

option go_package = "github.com/astrid-actors/astrid-actors/messages;messages";

message Stamp {}
`

func TestRun(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "test/letter.proto", source)
	put(t, dir, "test/other.proto", other)
	put(t, dir, "gone.pb.go", "package messages")
	put(t, dir, "words.go", "package messages")
	if err := run(t.Context(), dir, false); err != nil {
		t.Fatal(err)
	}
	made := files(t, dir)
	want := []string{"letter.pb.go", "messagesconnect/letter.connect.go", "other.pb.go", "test/letter.proto", "test/other.proto", "words.go"}
	if got := slices.Sorted(maps.Keys(made)); !slices.Equal(got, want) {
		t.Fatalf("files %q, want %q", got, want)
	}
	if text := made["letter.pb.go"]; !strings.Contains(text, "// Letter is what a test sends.\ntype Letter struct") {
		t.Errorf("letter.pb.go has no Letter with its comment:\n%s", text)
	}
	if err := run(t.Context(), dir, true); err != nil {
		t.Errorf("check what was just generated: %v", err)
	}

	// Every file that differs is named, and not changed.
	put(t, dir, "letter.pb.go", made["letter.pb.go"]+"// edited\n")
	put(t, dir, "gone.connect.go", "package messages")
	if err := os.Remove(filepath.Join(dir, "messagesconnect", "letter.connect.go")); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	err := run(t.Context(), dir, true)
	if err == nil {
		t.Fatal("check: no error")
	}
	for _, name := range []string{"letter.pb.go: differs", "gone.connect.go: no .proto", "messagesconnect/letter.connect.go: differs"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("check does not say %q: %v", name, err)
		}
	}
	if strings.Contains(err.Error(), "other.pb.go") {
		t.Errorf("check names other.pb.go, which is right: %v", err)
	}
	if !maps.Equal(before, files(t, dir)) {
		t.Error("check has written")
	}
}

func TestBadSource(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"none", "", "no .proto file"},
		{"syntax", "syntax = \"proto3\";\nmessage {}\n", "bad.proto:2:9"},
		{"another module", "syntax = \"proto3\";\noption go_package = \"example.com/other\";\nmessage Letter {}\n", importPath},
		{"no package", "syntax = \"proto3\";\nmessage Letter {}\n", "go_package"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.text != "" {
				put(t, dir, "bad.proto", tt.text)
			}
			if err := run(t.Context(), dir, false); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	at := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// files returns every file below dir.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	root := os.DirFS(dir)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(root, name)
		all[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
