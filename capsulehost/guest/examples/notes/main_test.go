package main

import (
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
	"github.com/astrid-actors/astrid-actors/capsulehost/guest/guesttest"
)

func TestNotes(t *testing.T) {
	files := map[string]string{}
	guesttest.Outside(t, func(call string, arguments ...string) string {
		switch call {
		case "astrid_write_file":
			files[arguments[0]] = arguments[1]
		case "astrid_http_request":
			return `{"status":200,"headers":{},"body":"a page"}`
		case "astrid_fs_readdir":
			return "\x00[\"page\"]"
		}
		return ""
	})
	result, err := guest.Invoke("keep", []byte(`{"name":"page","url":"https://example.com/"}`))
	if err != nil || string(result.Data) != `{"bytes":6}` {
		t.Errorf("keep: %s, %v", result.Data, err)
	}
	if files["home://notes/page"] != "a page" {
		t.Errorf("the files are %v", files)
	}
	if result, err = guest.Invoke("list", nil); err != nil || string(result.Data) != `["page"]` {
		t.Errorf("list: %s, %v", result.Data, err)
	}
}
