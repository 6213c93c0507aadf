package metrics_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/metrics"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// used starts a system, sends triggers that succeed and one that crashes.
func used(t *testing.T, registerer prometheus.Registerer) *supervisortest.System {
	t.Helper()
	durable := supervisortest.Func("clerk", "orders", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
		return capsulehost.Result{}, nil
	})
	durable.Manifest += "durable = true\n"
	s := supervisortest.Start(t, supervisor.Config{
		Registerer: registerer, Supervisors: []supervisor.Group{{Name: "desk", Children: []string{"namer"}}},
		Topics: []supervisor.Topic{{Name: "orders", Durable: true}},
	}, durable,
		supervisortest.Func("greeter", "hello.*", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
			return supervisortest.JSON(c.Trigger(ctx, "name", nil))
		}),
		supervisortest.Func("namer", "name", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
			return supervisortest.JSON("you")
		}))
	if err := s.Publish(t.Context(), "news", nil, nil); err != nil { // the kernel publishes too, but later
		t.Fatal(err)
	}
	s.Expect("hello.world", "", `greeter continue ["you"]`)
	s.Inject("greeter", supervisortest.Fault{})
	s.Expect("hello.world", "", `greeter crashed`)
	s.AwaitReady("greeter", 2)
	return s
}

// TestNames checks the names, on which dashboards and alerts depend.
func TestNames(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	used(t, registry)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, f := range families {
		labels := map[string]bool{}
		var names []string
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !labels[l.GetName()] {
					labels[l.GetName()] = true
					names = append(names, l.GetName())
				}
			}
		}
		fmt.Fprintf(&got, "%s %s %s\n", strings.ToLower(f.GetType().String()), f.GetName(), strings.Join(names, ","))
	}
	want, err := os.ReadFile("testdata/names.txt")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile("testdata/names.txt", []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got.String()); d != "" {
		t.Errorf("-want +got (UPDATE=1 writes testdata/names.txt)\n%s", d)
	}
}

// TestLint checks that promtool accepts a scrape.
func TestLint(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	s := used(t, registry)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}

	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Error("promtool is missing; the Debian package prometheus has it")
		}
		return // the lint above is promtool's own
	}
	response := httptest.NewRecorder()
	metrics.Handler(s).ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = bytes.NewReader(ours(response.Body))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// ours returns the lines of a scrape without the metrics of the Go runtime.
func ours(scrape io.Reader) []byte {
	text, _ := io.ReadAll(scrape)
	var b bytes.Buffer
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "astrid_actors_") {
			b.WriteString(line)
		}
	}
	return b.Bytes()
}

// TestRegisterer checks that a registerer has the metrics while Serve runs, and not
// after it.
func TestRegisterer(t *testing.T) {
	registry := prometheus.NewRegistry()
	labelled := func(system string) prometheus.Registerer {
		return prometheus.WrapRegistererWith(prometheus.Labels{"system": system}, registry)
	}
	first := supervisortest.Start(t, supervisor.Config{Registerer: labelled("first")})
	if n, err := testutil.GatherAndCount(registry, "astrid_actors_events_total"); n != 1 || err != nil {
		t.Errorf("%d metrics, %v", n, err)
	}
	second, err := supervisor.New(supervisor.Config{Home: t.TempDir(), CapsuleDirs: []string{t.TempDir()}, Registerer: labelled("first")})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "WrapRegistererWith") {
		t.Errorf("two systems in one registry: %v", err)
	}
	supervisortest.Start(t, supervisor.Config{Registerer: labelled("third")})
	if n, err := testutil.GatherAndCount(registry, "astrid_actors_events_total"); n != 2 || err != nil {
		t.Errorf("%d metrics of two systems, %v", n, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := testutil.GatherAndCount(registry, "astrid_actors_events_total"); n != 1 || err != nil {
		t.Errorf("%d metrics after the first has ended, %v", n, err)
	}
}

func counted(durations ...time.Duration) messages.Histogram {
	var counts messages.Counts
	for _, d := range durations {
		counts.Add(d)
	}
	return counts.Histogram()
}

// fixed is a source with that many capsules.
type fixed int

func (n fixed) Snapshot() *messages.Tree {
	tree := &messages.Tree{}
	for i := range n {
		tree.Capsules = append(tree.Capsules, &messages.Capsule{
			ID: fmt.Sprintf("c%d", i), Calls: 1, Crashes: map[string]uint64{"\xff": 1, "trap": 2},
			CallDuration: counted(1500 * time.Nanosecond),
		})
	}
	return tree
}

// TestCardinality checks that beyond the limits only the sums are exported, and that
// they are correct.
func TestCardinality(t *testing.T) {
	for _, test := range []struct {
		capsules           fixed
		config             metrics.Config
		series, histograms int
	}{
		{3, metrics.Config{}, 3, 3},
		{3, metrics.Config{Histograms: 2}, 3, 0},
		{3, metrics.Config{Histograms: 3, Capsules: 3}, 3, 3},
		{3, metrics.Config{Capsules: 2}, 0, 0},
		{3, metrics.Config{Capsules: -1}, 0, 0},
		{3, metrics.Config{Histograms: -1}, 3, 0},
		{101, metrics.Config{}, 101, 0},
		{1001, metrics.Config{}, 0, 0},
	} {
		test.config.Source = test.capsules
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(metrics.New(test.config))
		for name, want := range map[string]int{
			"astrid_actors_capsule_calls_total": test.series, "astrid_actors_capsule_call_duration_seconds": test.histograms,
			"astrid_actors_capsule_crashes_total": 2 * test.series, "astrid_actors_call_duration_seconds": 1,
		} {
			if got, err := testutil.GatherAndCount(registry, name); got != want || err != nil {
				t.Errorf("%d capsules, %+v: %d of %s, want %d (%v)", test.capsules, test.config, got, name, want, err)
			}
		}
		sum := fmt.Sprintf("# HELP astrid_actors_calls_total Guest calls, of all capsules.\n# TYPE astrid_actors_calls_total counter\nastrid_actors_calls_total %d\n", test.capsules)
		if err := testutil.GatherAndCompare(registry, strings.NewReader(sum), "astrid_actors_calls_total"); err != nil {
			t.Error(err)
		}
	}
}

// TestHistogram checks that buckets are cumulative, and that the last bound is infinite.
func TestHistogram(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.New(metrics.Config{Source: fixed(2)}))
	response := httptest.NewRecorder()
	metrics.Handler(fixed(2)).ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text := response.Body.String()
	for _, line := range []string{
		`astrid_actors_call_duration_seconds_bucket{le="1.024e-06"} 0`,
		`astrid_actors_call_duration_seconds_bucket{le="2.048e-06"} 2`,
		`astrid_actors_call_duration_seconds_bucket{le="17.179869184"} 2`,
		`astrid_actors_call_duration_seconds_bucket{le="+Inf"} 2`,
		`astrid_actors_call_duration_seconds_sum 3e-06`,
		`astrid_actors_capsule_call_duration_seconds_count{capsule="c1"} 1`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the scrape lacks %s", line)
		}
	}
}

// TestDashboard checks that every metric of the dashboard exists, with the labels that
// it selects by.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "grafana.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Title  string
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadFile("testdata/names.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]map[string]bool{}
	for line := range strings.Lines(string(names)) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, labels, _ := strings.Cut(rest, " ")
		for _, suffix := range map[string][]string{"histogram": {"_bucket", "_sum", "_count"}}[kind] {
			known[name+suffix] = map[string]bool{"le": true}
		}
		if kind != "histogram" {
			known[name] = map[string]bool{}
		}
		for name, of := range known {
			if strings.HasPrefix(name, strings.Fields(rest)[0]) {
				for l := range strings.SplitSeq(labels, ",") {
					of[l] = true
				}
			}
		}
	}
	metric := regexp.MustCompile(`astrid_actors_\w+`)
	grouped := regexp.MustCompile(`by \(([^)]*)\) \(\w*\(?(astrid_actors_\w+)`)
	shown := 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			shown++
			found := metric.FindAllString(target.Expr, -1)
			if len(found) == 0 {
				t.Errorf("panel %q shows no metric of ours: %s", panel.Title, target.Expr)
			}
			for _, name := range found {
				if known[name] == nil {
					t.Errorf("panel %q: there is no metric %s", panel.Title, name)
				}
			}
			for _, m := range grouped.FindAllStringSubmatch(target.Expr, -1) {
				for label := range strings.SplitSeq(m[1], ",") {
					if !known[m[2]][strings.TrimSpace(label)] {
						t.Errorf("panel %q: %s has no label %q", panel.Title, m[2], label)
					}
				}
			}
		}
	}
	if shown < 12 {
		t.Errorf("the dashboard shows %d queries only", shown)
	}
}
