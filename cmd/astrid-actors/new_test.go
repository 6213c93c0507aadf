package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/astrid-actors/astrid-actors/supervisor"
)

var updateSDK = flag.Bool("update-sdk", false, "copy capsulehost/guest into template/guest.txtar")

// The Go capsules of new come with the library as it is here: make sdk copies it.
func TestGoSDK(t *testing.T) {
	const sdk = "../../capsulehost/guest"
	archive := &txtar.Archive{Comment: []byte("The Go files of capsulehost/guest, for new; make sdk writes this.\n")}
	err := fs.WalkDir(os.DirFS(sdk), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name == "examples":
			return fs.SkipDir
		case d.IsDir() || strings.HasSuffix(name, "_test.go") || filepath.Ext(name) != ".go" && name != "go.mod":
			return nil
		}
		text, err := os.ReadFile(filepath.Join(sdk, name))
		archive.Files = append(archive.Files, txtar.File{Name: name, Data: text})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := txtar.Format(archive)
	if *updateSDK {
		if err := os.WriteFile("template/guest.txtar", want, 0o600); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(goSDK, want) {
		t.Error("template/guest.txtar is not what is in capsulehost/guest: run make sdk")
	}
}

// toolchains are the programs that build and test a capsule of a language.
var toolchains = map[string][]string{"go": {"go"}, "rust": {"cargo", "rustc"}, "assemblyscript": {"npm", "node"}, "c": {"clang", "wasm-ld", "cc"}}

// A new capsule of each language passes its test, builds, and answers.
func TestNew(t *testing.T) {
	if testing.Short() {
		t.Skip("runs four toolchains")
	}
	for lang := range languages {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			for _, tool := range toolchains[lang] {
				if _, err := exec.LookPath(tool); err != nil {
					t.Skipf("%s is not on this machine: %v", lang, err)
				}
			}
			dir := filepath.Join(t.TempDir(), "greeter")
			if err := writeTemplate(dir, "greeter", lang); err != nil {
				t.Fatal(err)
			}
			shell := func(line string) (string, error) {
				c := exec.CommandContext(t.Context(), "sh", "-c", line)
				c.Dir = dir
				c.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CARGO_NET_OFFLINE=true")
				out, err := c.CombinedOutput()
				return string(out), err
			}
			switch lang {
			case "rust":
				if out, err := shell(`ls "$(rustc --print target-libdir --target wasm32-unknown-unknown)"`); err != nil {
					t.Skipf("rustc can't build for wasm32-unknown-unknown: %s", out)
				}
			case "assemblyscript":
				if out, err := shell("npm install --silent --no-audit --no-fund --offline"); err != nil {
					t.Skipf("npm can't install AssemblyScript: %s", out)
				}
			}
			for _, line := range []string{languages[lang].test, strings.ReplaceAll(languages[lang].build, "@NAME@", "greeter")} {
				if out, err := shell(line); err != nil {
					t.Fatalf("%s: %v\n%s", line, err, out)
				}
			}
			answersHello(t, dir)
		})
	}
}

// answersHello installs a new capsule, and triggers it.
func answersHello(t *testing.T, dir string) {
	cfg := supervisor.Config{Home: t.TempDir()}
	sup, err := supervisor.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if change, err := sup.Install(t.Context(), dir, supervisor.InstallOptions{Seal: true}); err != nil || change.String() != "added greeter 0.1.0" {
		t.Fatalf("%v, %v", change, err)
	}
	if sup, err = supervisor.New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sup.Serve(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	if err := sup.AwaitStarted(ctx); err != nil {
		t.Fatal(err)
	}
	reply, err := sup.Trigger(ctx, supervisor.TriggerRequest{Topic: "greeter.hello", Payload: json.RawMessage(`{"name":"é"}`)})
	if err != nil || string(reply.Responses) != `[{"say":"hello","to":{"name":"é"}}]` {
		t.Errorf("got %+v, %v", reply, err)
	}
}
