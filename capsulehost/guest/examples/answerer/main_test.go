package main

import (
	"encoding/json"
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
	"github.com/astrid-actors/astrid-actors/capsulehost/guest/guesttest"
)

func TestAnswer(t *testing.T) {
	host := guesttest.New(t)
	if err := answer(guest.Message{Topic: "sum.request.7", Payload: json.RawMessage(`[1, 2.5]`)}); err != nil {
		t.Fatal(err)
	}
	if p := host.Published; len(p) != 1 || p[0].Topic != "sum.response.7" || string(p[0].Payload) != "3.5" {
		t.Errorf("published %+v", p)
	}
	if err := answer(guest.Message{Topic: "sum.request.8", Payload: json.RawMessage(`"x"`)}); err == nil {
		t.Error("a text was summed up")
	}
}
