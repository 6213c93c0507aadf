// Package serdejson reads and prints JSON as Rust's serde_json does, to the byte:
// guests and peers compare it so. encoding/json escapes more, prints floats
// otherwise and accepts what serde_json refuses.
//
//	compact, err := serdejson.Compact(text)
//	err = serdejson.DecodeStruct(text, serdejson.TextField("hook", &topic))
//
// It is for this repository's needs: there is no reflection and no streaming.
package serdejson
