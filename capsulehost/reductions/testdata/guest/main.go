//go:build wasip1

// Command guest does the work of an ordinary plug-in: it decodes JSON, changes it and encodes it.
package main

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"sort"
	"strings"
)

type order struct {
	ID    int               `json:"id"`
	Lines []line            `json:"lines"`
	Tags  map[string]string `json:"tags"`
}

type line struct {
	Name     string  `json:"name"`
	Price    float64 `json:"price"`
	Quantity int     `json:"quantity"`
}

var text = func() []byte {
	o := order{ID: 7, Tags: map[string]string{"to": "somebody", "by": "train"}}
	for i := range 40 {
		o.Lines = append(o.Lines, line{fmt.Sprintf("thing %d", i), float64(i) * 1.25, i % 5})
	}
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return b
}()

// work returns a hash of its output.
//
//go:wasmexport work
func work() uint32 {
	var o order
	if err := json.Unmarshal(text, &o); err != nil {
		panic(err)
	}
	sort.Slice(o.Lines, func(i, j int) bool { return o.Lines[i].Price*float64(o.Lines[i].Quantity) > o.Lines[j].Price })
	for i := range o.Lines {
		o.Lines[i].Name = strings.ToUpper(o.Lines[i].Name)
	}
	out, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	h := fnv.New32a()
	_, _ = h.Write(out)
	return h.Sum32()
}

func main() {}
