package metrics

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/astrid-actors/astrid-actors/messages"
)

// Source is the part of a supervisor that metrics need.
type Source interface{ Snapshot() *messages.Tree }

// Config configures a collector.
type Config struct {
	// Source is the supervisor to measure; it must not be nil.
	Source Source
	// Capsules is the largest number of capsules with series of their own; 0 means
	// 1,000, a negative number none.
	Capsules int
	// Histograms is the largest number of capsules with histograms of their own; 0
	// means 100, a negative number none.
	Histograms int
}

// New returns a collector of one system's metrics.
func New(cfg Config) prometheus.Collector {
	if cfg.Capsules == 0 {
		cfg.Capsules = 1000
	}
	if cfg.Histograms == 0 {
		cfg.Histograms = 100
	}
	return &collector{Config: cfg, system: systemMetrics(), capsule: capsuleMetrics()}
}

// Handler serves the metrics of a system, of the Go runtime and of the process.
func Handler(source Source) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		New(Config{Source: source}),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewBuildInfoCollector(),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// collector converts a snapshot into metrics. It keeps nothing between two scrapes.
type collector struct {
	Config
	system  []metric[*messages.Tree]
	capsule []metric[*messages.Capsule]
}

// metric is one name, with the function that reads its values from a snapshot.
type metric[T any] struct {
	desc      *prometheus.Desc
	histogram bool
	values    func(from T, out *output)
}

// output sends the values of one metric.
type output struct {
	desc   *prometheus.Desc
	first  []string // the values of the labels that all of them have
	metric chan<- prometheus.Metric
}

func (o *output) counter(v float64, labels ...string) { o.add(prometheus.CounterValue, v, labels) }
func (o *output) gauge(v float64, labels ...string)   { o.add(prometheus.GaugeValue, v, labels) }

func (o *output) add(kind prometheus.ValueType, v float64, labels []string) {
	m, err := prometheus.NewConstMetric(o.desc, kind, v, o.labels(labels)...)
	if err != nil {
		m = prometheus.NewInvalidMetric(o.desc, err)
	}
	o.metric <- m
}

// The bounds of histograms: 1.024 µs doubled, up to 17.2 s. They are bounds of
// messages.Histogram's buckets, too, so the counts are exact.
const (
	firstBound = 1024 * time.Nanosecond
	bounds     = 25
)

// histogram sends a histogram, whose buckets may be in any order.
func (o *output) histogram(h messages.Histogram, labels ...string) {
	var counts [bounds + 1]uint64 // the last one is for values above all bounds
	for _, b := range h.Buckets {
		_, high := messages.BucketBounds(b.Index)
		k := 0
		for k < bounds && firstBound<<k < high {
			k++
		}
		counts[k] += b.Count
	}
	buckets := make(map[float64]uint64, bounds)
	var n uint64
	for k := range bounds {
		n += counts[k]
		buckets[(firstBound << k).Seconds()] = n
	}
	m, err := prometheus.NewConstHistogram(o.desc, h.Count(), h.Sum.Seconds(), buckets, o.labels(labels)...)
	if err != nil {
		m = prometheus.NewInvalidMetric(o.desc, err)
	}
	o.metric <- m
}

// labels returns the label values of one series. Some come from guests: text that is not
// UTF-8 would fail the scrape.
func (o *output) labels(more []string) []string {
	out := append([]string(nil), o.first...)
	for _, label := range more {
		out = append(out, strings.ToValidUTF8(label, "\uFFFD"))
	}
	return out
}

// Describe sends the descriptions of all metrics.
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, m := range c.system {
		descs <- m.desc
	}
	for _, m := range c.capsule {
		descs <- m.desc
	}
}

// Collect reads a snapshot and sends its values.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	tree := c.Source.Snapshot()
	for _, m := range c.system {
		m.values(tree, &output{desc: m.desc, metric: metrics})
	}
	n := len(tree.Capsules)
	if n > c.Capsules {
		return
	}
	for _, capsule := range tree.Capsules {
		for _, m := range c.capsule {
			if !m.histogram || n <= c.Histograms {
				m.values(capsule, &output{desc: m.desc, first: []string{capsule.ID}, metric: metrics})
			}
		}
	}
}

func named[T any](name, help string, labels []string, values func(T, *output)) metric[T] {
	return metric[T]{desc: prometheus.NewDesc("astrid_actors_"+name, help, labels, nil), values: values}
}

// seconds converts a time to seconds since 1970, as Prometheus expects.
func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
