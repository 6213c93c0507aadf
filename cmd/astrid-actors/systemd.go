package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// statusEvery is the time between two reports of the capsules' states to systemd, unless
// its watchdog expects them more often.
const statusEvery = 10 * time.Second

// startExtension is the additional time that systemd allows for a start in progress.
const startExtension = 3 * statusEvery

// tellSystemd notifies systemd, if it has started this process (Type=notify): when the
// capsules have started, of their states, and when ctx ends, that the process stops. It
// serves the watchdog only while the system's own actors reply.
func tellSystemd(ctx context.Context, sup *supervisor.Supervisor, log *slog.Logger) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return
	}
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the settings of systemd's watchdog are invalid: it is not served", "err", err)
	}
	tell := func(lines ...string) {
		if _, err := daemon.SdNotify(false, strings.Join(lines, "\n")); err != nil {
			log.Warn("systemd can't be told our status", "err", err)
		}
	}
	every := statusEvery
	if watchdog > 0 {
		every = min(every, watchdog/2)
	}
	started := make(chan struct{})
	go func() {
		defer close(started)
		_ = sup.AwaitStarted(ctx) // an error means that ctx has ended
	}()
	starting := started
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			<-started
			tell(daemon.SdNotifyStopping, "STATUS=stopping")
			return
		case <-starting:
			starting = nil
			if ctx.Err() == nil {
				tell(daemon.SdNotifyReady, status(sup.Snapshot()))
			}
		case <-tick.C:
			lines := []string{status(sup.Snapshot())}
			if starting != nil {
				lines = append(lines, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", startExtension.Microseconds()))
			}
			alive, cancel := context.WithTimeout(ctx, every)
			err := sup.Alive(alive)
			cancel()
			switch {
			case err == nil && watchdog > 0:
				lines = append(lines, daemon.SdNotifyWatchdog)
			case err != nil && ctx.Err() == nil:
				log.Error("an actor of the system does not answer: systemd's watchdog is not served", "err", err)
			}
			tell(lines...)
		}
	}
}

// status counts the states of the capsules on one line.
func status(tree *messages.Tree) string {
	in := map[string]int{}
	undecided := 0
	for _, c := range tree.Capsules {
		in[c.State.String()]++
		if !c.Decided {
			undecided++
		}
	}
	counts := make([]string, 0, len(in))
	for _, state := range slices.Sorted(maps.Keys(in)) {
		counts = append(counts, fmt.Sprintf("%d %s", in[state], state))
	}
	text := "STATUS=" + strings.Join(counts, ", ")
	if len(counts) == 0 {
		text = "STATUS=no capsules"
	}
	if undecided > 0 {
		text += fmt.Sprintf(" (starting: %d to go)", undecided)
	}
	return text
}
