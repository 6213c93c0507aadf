package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/astrid-actors/astrid-actors/supervisor/web"
)

// contrasts lists every pair of text and background on the page whose contrast is less
// than the minimum of WCAG level AA: 4.5, or 3 for large text.
const contrasts = `(() => {
  const parse = (c) => { const n = c.match(/[\d.]+/g).map(Number); return { r: n[0], g: n[1], b: n[2], a: n.length > 3 ? n[3] : 1 }; };
  const over = (top, ground) => ({ r: top.r * top.a + ground.r * (1 - top.a), g: top.g * top.a + ground.g * (1 - top.a), b: top.b * top.a + ground.b * (1 - top.a), a: 1 });
  const channel = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const light = (c) => 0.2126 * channel(c.r) + 0.7152 * channel(c.g) + 0.0722 * channel(c.b);
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const ground = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), { r: 255, g: 255, b: 255, a: 1 });
  };
  const seen = new Map();
  let pairs = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.getClientRects().length || element.closest('.unseen, title, script, :disabled')) continue;
    const style = getComputedStyle(element);
    const svg = element.namespaceURI.endsWith('svg');
    let under = ground(element);
    if (svg && element.className.baseVal.startsWith('on-')) { // it lies on the rectangle before its own svg
      under = over(parse(getComputedStyle(element.parentElement.previousElementSibling).fill), under);
    }
    const text = over(parse(svg ? style.fill : style.color), under);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const r = ratio(text, under);
    pairs++;
    const what = r.toFixed(2) + ' ' + style.color + ' on ' + JSON.stringify(under) + ' ' + (element.className.baseVal ?? element.className) + ' ' + element.tagName;
    if (r < (large ? 3 : 4.5) && !seen.has(what)) seen.set(what, what + ': ' + node.data.trim().slice(0, 40));
  }
  return [String(pairs), ...seen.values()];
})()`

// TestLook checks every page in light and dark, wide and narrow: its text is readable,
// and it fits.
func TestLook(t *testing.T) {
	sys := crowd(t)
	url := serve(t, sys, web.Config{Actions: true})
	b := newTab(t)
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		for _, path := range []string{"/", "/capsules", "/capsules/mailer", "/capsules/payments", "/capsules/address-book", "/events?triggers=1", "/trigger"} {
			b.size(1280, 900)
			b.open(url + path)
			found := value[[]string](b, contrasts)
			if len(found[0]) < 2 {
				t.Errorf("%s: only %s pieces of text", path, found[0])
			}
			for _, pair := range found[1:] {
				t.Errorf("%s, %s: too little contrast: %s", path, scheme, pair)
			}
			for _, width := range []int64{400, 320, 1024} {
				b.size(width, 900)
				if got := value[int64](b, `document.documentElement.scrollWidth`); got > width {
					t.Errorf("%s: %d pixels wide at %d: %s", path, got, width, value[string](b, `[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll')).map((e) => e.tagName + '.' + (e.className.baseVal ?? e.className) + '#' + e.id).slice(0, 8).join(' ')`))
				}
			}
		}
	}
}

// TestWhichThree checks that the page shows which three of 50 capsules misbehave, the
// causes, the decisions, and the next steps.
func TestWhichThree(t *testing.T) {
	sys := crowd(t)
	b := newTab(t)
	b.open(serve(t, sys, web.Config{}))
	b.until(`document.querySelectorAll('#attention > li').length === 3`)
	said := value[[]string](b, `[...document.querySelectorAll('#attention > li')].map((l) => l.innerText.replace(/\s+/g, ' '))`)
	for i, want := range [][]string{
		{"failed mailer", "integer divide by zero", "restart budget spent: 3", "it stays down until it is started"},
		{"crashed payments", "unreachable", "2 of 5 restarts in 1 min spent", "Generation 3 starts in"},
		{"queue full search", "16 of 16 calls wait, behind one that has run for", "overloaded", "as a crash after 1 min 30 s"},
	} {
		for _, part := range want {
			if !strings.Contains(said[i], part) {
				t.Errorf("entry %d: no %q in %q", i, part, said[i])
			}
		}
	}
	bottom := value[float64](b, `document.querySelector('#attention').getBoundingClientRect().bottom`)
	if bottom > 900 {
		t.Errorf("one has to scroll: they end at %v", bottom)
	}
	if got := value[string](b, `document.title`); got != "(3) astrid-actors" {
		t.Errorf("the title is %q", got)
	}
	if got := strings.Join(strings.Fields(b.text("#stats")), " "); !strings.Contains(got, "48 ready") || !strings.Contains(got, "1 failed") || !strings.Contains(got, "1 crashed") {
		t.Errorf("the strip says %q", got)
	}
}

// TestWithoutScript checks that the page works without scripts, as a static page.
func TestWithoutScript(t *testing.T) {
	sys := crowd(t)
	url := serve(t, sys, web.Config{Actions: true})
	b := newTab(t)
	b.noScript()
	b.do(chromedp.Navigate(url))
	if got := b.html("main"); !strings.Contains(got, "integer divide by zero") || !strings.Contains(got, "address-book") {
		t.Errorf("the page says %s", got)
	}
	b.do(chromedp.Click(`#attention a[href="/capsules/mailer/start"]`))
	b.do(chromedp.WaitReady(`#confirm`), chromedp.Click(`#confirm button`), chromedp.WaitReady(`#top`))
	if got := b.html("#top"); !strings.Contains(got, "generation 5") {
		t.Errorf("after the start it is %s", got)
	}
	sys.AwaitReady("mailer", 5)
}
