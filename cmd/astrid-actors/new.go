package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/spf13/cobra"

	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

// Templates of new capsules: template/all and the directory of a language. The name of a
// Go file ends in .txt, so that it is not a file of this module.
//
//go:embed all:template
var templates embed.FS

// goSDK is a copy of capsulehost/guest. That is a module of its own, from which this one
// can't embed files: a test keeps the copy the same.
//
//go:embed template/guest.txtar
var goSDK []byte

// languages are the languages of new, with the shell commands that build and test a
// capsule. @NAME@ is its id.
var languages = map[string]struct{ build, test string }{
	"go": {
		"GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o @NAME@.wasm .",
		"go test .",
	},
	"rust": {
		"cargo build --quiet --release --target wasm32-unknown-unknown && cp target/wasm32-unknown-unknown/release/capsule.wasm @NAME@.wasm",
		"cargo test",
	},
	"assemblyscript": {
		"test -d node_modules || npm install --silent --no-audit --no-fund; npm run --silent build",
		"npm test",
	},
	"c": {
		"clang --target=wasm32 -Os -ffreestanding -fno-builtin -nostdlib -Wall -Wl,--no-entry -o @NAME@.wasm capsule.c",
		"cc -Wall -o reply_test reply_test.c && ./reply_test",
	},
}

func newNew(a *app) *cobra.Command {
	names := slices.Sorted(maps.Keys(languages))
	lang := "go"
	cmd := &cobra.Command{
		Use:   "new NAME [DIR]",
		Short: "Write the sources of a new capsule",
		Long: `Write the sources of a capsule that builds and answers NAME.hello, with a test and a
build command, into DIR (default ./NAME), which must be empty or missing.

The toolchain of the language must be installed: stock Go; cargo with the target
wasm32-unknown-unknown; npm; or clang with lld. A Go capsule needs no network to build: a
copy of its library comes along.` + exitStatus(exitDone, exitFailed, exitUsage),
		Example: `  astrid-actors new greeter
  astrid-actors dev greeter`,
		Args: arguments(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			name, dir := args[0], args[0]
			if len(args) > 1 {
				dir = args[1]
			}
			if !home.ValidCapsule(name) {
				return usage("the name %q is not one or more of a-z 0-9 -", name)
			}
			if !slices.Contains(names, lang) {
				return usage("--lang is %q: it must be one of %s", lang, strings.Join(names, ", "))
			}
			if err := writeTemplate(dir, name, lang); err != nil {
				return err
			}
			return a.print(fmt.Sprintf(`created %s; build and run it, again after each save:
    astrid-actors dev %s
and in another terminal:
    astrid-actors trigger %s.hello '{"name": "you"}'
test it, in %s:
    %s
`, dir, dir, name, dir, languages[lang].test))
		},
	}
	cmd.Flags().StringVar(&lang, "lang", lang, "the `language`: "+strings.Join(names, ", "))
	_ = cmd.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// writeTemplate writes the sources of a new capsule into dir.
func writeTemplate(dir, name, lang string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("write the sources into %s: it is not empty", dir)
	}
	filled := strings.NewReplacer(
		"@BUILD@", strings.ReplaceAll(languages[lang].build, "@NAME@", name), "@TEST@", languages[lang].test, "@NAME@", name)
	files := map[string]string{}
	for _, from := range []string{"template/all", "template/" + lang} {
		err := fs.WalkDir(templates, from, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := templates.ReadFile(file)
			to := strings.TrimSuffix(strings.TrimPrefix(file, from+"/"), ".txt")
			files[to] = filled.Replace(string(text))
			return err
		})
		if err != nil {
			return fmt.Errorf("read the templates: %w", err)
		}
	}
	files[".gitignore"] = files["gitignore"]
	delete(files, "gitignore")
	if lang == "go" {
		for _, f := range txtar.Parse(goSDK).Files {
			files[path.Join("guest", f.Name)] = string(f.Data)
		}
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		to := filepath.Join(dir, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // sources
			return err
		}
		if err := os.WriteFile(to, []byte(files[file]), 0o644); err != nil { //nolint:gosec // sources
			return err
		}
	}
	if _, err := manifest.Load(dir); err != nil {
		return fmt.Errorf("the template of %s: %w", lang, err)
	}
	return nil
}
