package browser

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/web"
)

// shot writes a screenshot of the window.
func (b *tab) shot(name string) {
	b.t.Helper()
	if *screenshots == "" {
		return
	}
	data, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		b.t.Fatal(err)
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, fewer(picture)); err != nil {
		b.t.Fatal(err)
	}
	if out.Len() > 200<<10 {
		b.t.Errorf("%s has %d KiB", name, out.Len()>>10)
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name), out.Bytes(), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// fewer returns a picture in its 256 most frequent colours: a page has few.
func fewer(from image.Image) image.Image {
	n := map[color.Color]int{}
	area := from.Bounds()
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			n[from.At(x, y)]++
		}
	}
	colours := make(color.Palette, 0, len(n))
	for c := range n {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.Color) int { return n[b] - n[a] })
	to := image.NewPaletted(area, colours[:min(256, len(colours))])
	draw.Draw(to, area, from, area.Min, draw.Src)
	return to
}

// TestPictures takes the screenshots in docs/images.
func TestPictures(t *testing.T) {
	if *screenshots == "" {
		t.Skip("-screenshots says where to")
	}
	sys := crowd(t)
	url := serve(t, sys, web.Config{Actions: true})
	b := newTab(t)
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		b.size(1280, 860)
		b.open(url)
		b.shot("page-" + scheme + ".png")
	}
	b.scheme("light")
	b.open(url + "/capsules?sort=state")
	b.shot("page-capsules.png")
	b.size(400, 860)
	b.open(url)
	b.shot("page-narrow.png")
	b.open(url + "/capsules?sort=state")
	b.shot("page-narrow-capsules.png")

	// A capsule that crashes a few times, over some time.
	for n, after := range []time.Duration{0, 3 * time.Second, 1500 * time.Millisecond, 4 * time.Second} {
		up := sys.AwaitReady("ledger", uint64(n+1)).Since
		await(t, func() bool { return time.Since(up) > after })
		if _, err := sys.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "demo.ledger", Payload: []byte(`"x"`)}); err != nil {
			t.Fatal(err)
		}
	}
	up := sys.AwaitReady("ledger", 5).Since
	await(t, func() bool { return time.Since(up) > 10*time.Second })
	b.size(1280, 860)
	b.open(url + "/capsules/ledger")
	b.until(`document.querySelectorAll('polyline.p99').length > 0`)
	b.shot("page-capsule.png")
	b.scheme("dark")
	b.open(url + "/trigger?topic=demo.ledger&payload=%22x%22")
	b.do(chromedp.Click(`#trigger-form button`))
	b.until(`document.querySelector('#answer .legs')`)
	b.shot("page-trigger.png")
}
