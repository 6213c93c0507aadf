package capsulelog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/capsulelog"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
)

func Example() {
	dir, err := os.MkdirTemp("", "astrid")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	h, err := home.Resolve(dir)
	if err != nil {
		fmt.Println(err)
		return
	}

	w := capsulelog.New(capsulelog.Config{Home: h, Principal: home.DefaultPrincipal, Capsule: "greeter"})
	w.Write(capsulehost.LevelInfo, "", "hello")
	w.Write(capsulehost.LevelWarn, "alice", "one message\nis one line")
	if err := w.Close(); err != nil {
		fmt.Println(err)
	}

	for _, p := range []home.Principal{home.DefaultPrincipal, "alice"} {
		files, _ := filepath.Glob(filepath.Join(h.LogDir(p, "greeter"), "*.log"))
		for _, file := range files {
			text, _ := os.ReadFile(file)
			fmt.Printf("%s: %s", p, regexp.MustCompile(`^\d+\.\d{3}`).ReplaceAll(text, []byte("1772323200.000")))
		}
	}
	// Output:
	// default: 1772323200.000 INFO [greeter] hello
	// alice: 1772323200.000 WARN [greeter] one message\nis one line
}
