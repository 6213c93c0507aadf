package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime/pprof"
	"slices"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "error:", err)
		}
		os.Exit(1)
	}
}

// options are the command's flags.
type options struct {
	short     bool
	rows      string
	by        string
	profile   string
	many      int
	tolerance float64
	check     string
	write     string
	markdown  bool
	chart     string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	if len(args) > 0 && args[0] == childArgument {
		return childMain(ctx, stdout, args[1:])
	}
	var o options
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.short, "short", false, "a smoke test: few turns, small systems")
	flags.StringVar(&o.rows, "rows", "", "only the rows whose name matches this `regexp`")
	flags.StringVar(&o.by, "by", "", "only ours and the contenders whose name matches this `regexp`")
	flags.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile to this `file`; with -by ^$ it is of ours alone")
	flags.IntVar(&o.many, "many", 0, "how many capsules are many (default 10000; 500 with -short)")
	flags.StringVar(&o.check, "check", "", "fail where a ratio is worse than in this `file`")
	flags.Float64Var(&o.tolerance, "tolerance", 1.5, "how many times worse is a regression, for -check; times may be twice as bad")
	flags.StringVar(&o.write, "write-baseline", "", "write the ratios to this `file`, where it has no lower ones")
	flags.BoolVar(&o.markdown, "markdown", false, "print the table as markdown")
	flags.StringVar(&o.chart, "chart", "", "measure nothing but how the cost grows, and draw it in this SVG `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	wanted, err := regexp.Compile(o.rows)
	if err != nil {
		return fmt.Errorf("-rows: %w", err)
	}
	by, err := regexp.Compile(o.by)
	if err != nil {
		return fmt.Errorf("-by: %w", err)
	}
	var old *baseline
	if o.check != "" {
		if old, err = readBaseline(o.check); err != nil {
			return err
		}
	}
	b, err := newBench(o)
	if err != nil {
		return err
	}
	b.by = by
	defer func() { err = errors.Join(err, b.close()) }()
	if o.chart != "" {
		return b.drawGrowth(ctx, o.chart, stderr)
	}

	stopProfile, err := profileTo(o.profile)
	if err != nil {
		return err
	}
	results, err := b.measure(ctx, wanted, stderr)
	err = errors.Join(err, stopProfile())
	if err != nil {
		return err
	}
	show := printText
	if o.markdown {
		show = printMarkdown
	}
	if err := show(stdout, results); err != nil {
		return err
	}
	if o.write != "" {
		if err := writeBaseline(o.write, results); err != nil {
			return err
		}
	}
	if old == nil {
		return nil
	}
	return check(ctx, old, results, o.tolerance, func(ctx context.Context, row string) (*result, error) {
		repeated, err := b.measure(ctx, regexp.MustCompile("^"+regexp.QuoteMeta(row)+"$"), stderr)
		if err != nil {
			return nil, err
		}
		return repeated[0], nil
	}, stderr)
}

// profileTo begins a CPU profile, if path is not empty.
func profileTo(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

func newBench(o options) (*bench, error) {
	f, err := newFixtures()
	if err != nil {
		return nil, err
	}
	b := &bench{
		fixtures: f, by: regexp.MustCompile(""), short: o.short, many: o.many, child: runChild,
		effort: effort{turns: 201, least: 15, limit: 6 * time.Second, batch: 5 * time.Millisecond},
	}
	if o.short {
		b.effort = effort{turns: 25, least: 5, limit: 700 * time.Millisecond, batch: 2 * time.Millisecond}
	}
	if b.many == 0 {
		b.many = 10_000
		if o.short {
			b.many = 500
		}
	}
	return b, nil
}

// measure runs the selected rows, and prints the current one on progress.
func (b *bench) measure(ctx context.Context, wanted *regexp.Regexp, progress io.Writer) ([]*result, error) {
	var out []*result
	for _, r := range b.rows() {
		if !slices.ContainsFunc(r.names, wanted.MatchString) {
			continue
		}
		fmt.Fprintf(progress, "%s ...\n", r.names[0])
		results, err := r.run(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.names[0], err)
		}
		for _, one := range results {
			if wanted.MatchString(one.row) {
				out = append(out, one)
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no row matches %q", wanted)
	}
	return out, nil
}
