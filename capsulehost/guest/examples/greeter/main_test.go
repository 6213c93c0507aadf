package main

import (
	"testing"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
	"github.com/astrid-actors/astrid-actors/capsulehost/guest/guesttest"
)

func TestGreet(t *testing.T) {
	host := guesttest.New(t)
	host.Config["greeting"] = "good day"
	host.Caller = &guest.Caller{Principal: "ada", SourceID: "5d1f8e0e-7d0c-4d0a-9c1f-0d3c5a1b2e3f"}
	host.Now = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

	for _, tt := range []struct {
		name, payload string
		action        guest.Action
		answer        string
	}{
		{"a name", `{"name":"Grace"}`, guest.ActionContinue, `{"at":"09:30","for":"ada","say":"good day, Grace"}`},
		{"no name", `{}`, guest.ActionDeny, "nobody to greet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := guest.Invoke("greet", []byte(tt.payload))
			if err != nil || r.Action != tt.action || string(r.Data) != tt.answer {
				t.Errorf("got %v %s, %v; want %v %s", r.Action, r.Data, err, tt.action, tt.answer)
			}
		})
	}
	if _, err := guest.Invoke("greet", []byte(`nonsense`)); err == nil {
		t.Error("a payload that is not JSON was no error")
	}
	if want := (guesttest.Line{Level: guest.LevelInfo, Message: "greeting Grace for ada"}); len(host.Lines) != 1 || host.Lines[0] != want {
		t.Errorf("logged %v, want %v", host.Lines, want)
	}
}
