// Package serdejson reads and prints JSON exactly like Rust's serde_json: guests and peers
// compare it byte for byte. encoding/json escapes more, prints floats differently and
// accepts input that serde_json refuses.
//
//	compact, err := serdejson.Compact(text)
//	err = serdejson.DecodeStruct(text, serdejson.TextField("hook", &topic))
//
// It covers only this repository's needs: it has neither reflection nor streaming.
package serdejson
