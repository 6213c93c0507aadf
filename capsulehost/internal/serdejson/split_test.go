package serdejson

import (
	"slices"
	"testing"
)

func TestSplit(t *testing.T) {
	var members []string
	for key, value := range Members([]byte(`{"":[],"a\"b":{"c":[1,"}"],"d":{}},"n":-1.5e3,"s":"x\\","w":null}`)) {
		members = append(members, key+"="+string(value))
	}
	if want := []string{`=[]`, `a\"b={"c":[1,"}"],"d":{}}`, `n=-1.5e3`, `s="x\\"`, `w=null`}; !slices.Equal(members, want) {
		t.Errorf("members: %q", members)
	}
	var elements []string
	for value := range Elements([]byte(`[1,[2,3],"a,]",{"b":[]},true]`)) {
		elements = append(elements, string(value))
	}
	if want := []string{`1`, `[2,3]`, `"a,]"`, `{"b":[]}`, `true`}; !slices.Equal(elements, want) {
		t.Errorf("elements: %q", elements)
	}
	for _, other := range []string{`{}`, `[]`, `1`, `"{"`, `null`, `""`} {
		for range Members([]byte(other)) {
			t.Errorf("%s has members", other)
		}
		for range Elements([]byte(other)) {
			t.Errorf("%s has elements", other)
		}
	}
}
