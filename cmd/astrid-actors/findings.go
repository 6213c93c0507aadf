package main

import (
	"fmt"
	"strings"

	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
)

// findings are what is wrong with files that were checked, each a sentence.
type findings struct {
	Problems []string `json:"problems"`
	Warnings []string `json:"warnings"`
}

// newFindings returns findings whose lists are empty, and not null, in JSON.
func newFindings() *findings { return &findings{Problems: []string{}, Warnings: []string{}} }

// problem adds an error, one problem for each of its lines. nil is none.
func (f *findings) problem(err error) {
	if err != nil {
		f.Problems = append(f.Problems, strings.Split(err.Error(), "\n")...)
	}
}

func (f *findings) warn(warnings manifest.Problems) {
	for _, w := range warnings {
		f.Warnings = append(f.Warnings, w.String())
	}
}

// printFound prints problems, and warnings on the standard error, or both as JSON. It fails if
// there are problems.
func (a *app) printFound(f *findings, asJSON bool) error {
	var err error
	if asJSON {
		err = a.printJSON(f)
	} else {
		err = a.printFindings(f)
	}
	if err == nil && len(f.Problems) > 0 {
		err = &failure{status: exitFailed}
	}
	return err
}

func (a *app) printFindings(f *findings) error {
	for _, w := range f.Warnings {
		fmt.Fprintf(a.stderr, "warning: %s\n", printable(w))
	}
	var text strings.Builder
	for _, p := range f.Problems {
		text.WriteString(printable(p) + "\n")
	}
	return a.print(text.String())
}
