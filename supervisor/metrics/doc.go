// Package metrics shows a supervisor's snapshots to Prometheus. A collector takes
// one snapshot for each scrape, so that what one scrape says is true of one moment,
// and nothing is counted twice.
//
// [supervisor.Config.Registerer] registers one for as long as the system serves.
// A program that wants it otherwise does it itself:
//
//	registry.MustRegister(metrics.New(metrics.Config{Source: sup}))
//	http.Handle("/metrics", metrics.Handler(sup))
//
// # Names and cardinality
//
// All names begin with astrid_actors_. Those that begin with astrid_actors_capsule_
// have a label capsule, its id; all others are of the whole system, and have labels
// of few values only: outcome (11), origin (2), state (7), kind (the kinds of
// failure, some 15), actor (3).
//
// Per capsule there are 14 series, two more for each kind of failure that it has
// had, and two histograms of 28 series each. Beyond Config.Capsules capsules
// (1,000) none has series of its own, and beyond Config.Histograms (100) none has
// histograms: then only the sums of all are left, which are always there.
// astrid_actors_capsules says how many there are. So a scrape has some 14,000
// series and those by kind at the most, and 7,000 where capsules have histograms.
//
// astrid_actors_capsule_state is 1 for the state that the capsule is in; for the
// others there is no series.
package metrics
