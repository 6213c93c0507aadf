// Package metrics exports a supervisor's snapshots to Prometheus. A collector reads one
// snapshot for each scrape, so that all values of a scrape are of the same moment, and
// nothing is counted twice.
//
// [supervisor.Config.Registerer] registers one for as long as the system serves. A
// program may also register one itself:
//
//	registry.MustRegister(metrics.New(metrics.Config{Source: sup}))
//	http.Handle("/metrics", metrics.Handler(sup))
//
// # Names and cardinality
//
// All names begin with astrid_actors_. Those that begin with astrid_actors_capsule_ have
// a label capsule, its id. All others are of the whole system, and have labels with few
// values only: outcome (11), origin (2), state (7), kind (the kinds of failure, some
// 15), actor (3).
//
// A capsule has 14 series, two more for each kind of failure that it has had, and two
// histograms of 28 series each. With more than Config.Capsules capsules (1,000) none has
// series of its own, and with more than Config.Histograms (100) none has histograms:
// then only the sums of all capsules remain, which are always exported.
// astrid_actors_capsules counts the capsules. So a scrape has at most some 14,000 series
// and those by kind, and 7,000 if capsules have histograms.
//
// The bounds of a histogram's buckets are 1.024 µs doubled, up to 17.2 s. The p50 and
// p99 of the page and the command line come from a finer histogram, and are accurate
// within 2 %.
//
// astrid_actors_capsule_state is 1 for the current state of the capsule; for the other
// states there is no series.
package metrics
