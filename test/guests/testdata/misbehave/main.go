// Command misbehave is a capsule in Go that goes wrong in the ways that Go has.
package main

import (
	"errors"
	"os"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
)

var kept [][]byte // memory that must not be freed

func init() {
	for action, f := range map[string]func(payload []byte){
		"panic": func([]byte) { panic("a bug in Go") },
		"nil":   func([]byte) { var p *guest.Result; p.Data = nil },
		"exit":  func([]byte) { os.Exit(3) },
		"memory": func([]byte) {
			for {
				kept = append(kept, make([]byte, 1<<20))
			}
		},
		"recurse": func(payload []byte) { recurse(payload) },
		"spin": func([]byte) {
			for {
			}
		},
		"deadlock": func([]byte) { <-make(chan int) },
		"sleep":    func([]byte) { time.Sleep(time.Hour) },
		"goroutine": func([]byte) {
			go panic("a bug elsewhere")
			time.Sleep(time.Millisecond)
		},
		"log": func([]byte) { guest.Log(guest.LevelInfo, strings.Repeat("é", 40_000)) },
	} {
		guest.Handle(action, func(payload []byte) (guest.Result, error) {
			f(payload)
			return guest.Result{}, nil
		})
	}
	guest.Handle("size", func(payload []byte) (guest.Result, error) { return guest.ContinueJSON(len(payload)) })
	guest.Handle("trigger", func(payload []byte) (guest.Result, error) {
		if _, err := guest.Trigger("a", strings.Repeat("x", 1<<20)); err == nil {
			return guest.Result{}, errors.New("a request over the limit was sent")
		}
		answers, err := guest.Trigger("a", strings.Repeat("x", 1<<20-len(`{"hook":"a","payload":""}`)))
		if err != nil {
			return guest.Result{}, err
		}
		return guest.FinalJSON(answers)
	})
	guest.Handle("clock", func([]byte) (guest.Result, error) {
		return guest.ContinueJSON([]string{
			guest.Clock().UTC().Format(time.RFC3339Nano), time.Now().UTC().Format(time.RFC3339Nano),
		})
	})
	guest.Handle("surroundings", func([]byte) (guest.Result, error) {
		_, err := os.ReadDir("/")
		return guest.ContinueJSON(map[string]any{"args": len(os.Args), "env": len(os.Environ()), "files": err == nil})
	})
}

func recurse(payload []byte) int { return recurse(append(payload, 1)) + 1 }

func main() {}
