package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"holdfast/crash"
	"holdfast/disk"
	"holdfast/volume"
	"holdfast/workload"
)

func crashCampaignCommand() *cobra.Command {
	var model modelFlags
	var shard, out string
	var random, asJSON bool
	var sample, seed, count uint64
	var seq, workers int
	var limit time.Duration
	c := &campaign{}
	cmd := &cobra.Command{
		Use:   "campaign {--seq N | --random}",
		Short: "Explore every short sequence of operations, or many random ones",
		Long: `Explore the crash states of many workloads: all sequences of N core operations with every
placement of fsync, fdatasync and sync (--seq), or random ones (--random).

Workloads are numbered; --shard I/N takes one of every N, so that shards can run anywhere, and crash merge adds up what they print with --json. --sample K cuts
the enumeration into K parts of equal length and takes one workload out of each, at another
place in each part. Crash points that a workload shares with another are explored with one of them.

Exit status: 0 complete and clean, 1 a violation was found, 2 wrong use, 3 not all was
explored, and no violation was found.`,
		Args: cobra.NoArgs,
	}
	modelSet := pflag.NewFlagSet("model", pflag.ContinueOnError)
	model.bind(modelSet)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := model.apply(&c.opt); err != nil {
			return err
		}
		switch {
		case random == (seq != 0):
			return usage("want either --seq N or --random")
		case random && (count == 0 || sample != 0):
			return usage("--random takes --count and --seed, and no --sample")
		case !random && (count != 0 || seed != 0):
			return usage("--seed and --count are of --random")
		case workers < 0 || workers > 1024 || limit < 0 || c.opt.MaxLeaves < 0:
			return usage("bounds are not negative, and -j is at most 1024")
		}
		c.sum.Plan = plan{Kind: "random", Seed: seed, Of: count, Selected: count}
		if !random {
			b, err := workload.NewBounded(seq)
			if err != nil {
				return usage("--seq: %v", err)
			}
			c.bounded = b
			c.sum.Plan = plan{Kind: fmt.Sprintf("seq-%d", seq), Table: fmt.Sprintf("%016x", b.Digest()), Of: b.Len(), Selected: b.Len()}
			if sample != 0 {
				c.sum.Plan.Selected = min(sample, b.Len())
			}
		}
		p := &c.sum.Plan
		var err error
		if p.Program, err = programID(); err != nil {
			return err
		}
		p.Image, p.Nested, p.MaxLeaves = c.override, (*depthFlag)(&c.opt.Nested).String(), c.opt.MaxLeaves
		modelSet.VisitAll(func(f *pflag.Flag) {
			if f.Changed {
				p.Model = append(p.Model, f.Name+"="+f.Value.String())
			}
		})
		first, of, err := parseShard(shard)
		if err != nil {
			return err
		}
		c.sum.Shards, p.Shards = []int{first}, of
		if out != "" {
			if err := os.MkdirAll(out, 0o777); err != nil {
				return badInput(err)
			}
			if err := canWrite(filepath.Join(out, "x.hf")); err != nil { // not when something is found
				return badInput(err)
			}
		}
		c.out = out
		if workers == 0 {
			workers = runtime.GOMAXPROCS(0)
		}
		if err := c.explore(workers, limit, terminal(cmd.ErrOrStderr())); err != nil {
			return badInput(err)
		}
		return c.sum.finish(cmd.OutOrStdout(), asJSON)
	}
	f := cmd.Flags()
	f.IntVar(&seq, "seq", 0, "all sequences of so many core operations, 1 to 3")
	f.BoolVar(&random, "random", false, "random workloads")
	f.Uint64Var(&seed, "seed", 0, "random: seed of the first; the next has the next seed")
	f.Uint64Var(&count, "count", 0, "random: how many")
	f.Uint64Var(&sample, "sample", 0, "only so many workloads, spread over the whole enumeration (0: all)")
	f.StringVar(&shard, "shard", "1/1", "explore the I-th of N shards: I/N")
	f.Var((*depthFlag)(&c.opt.Nested), "nested", "depth of crashes inside recovery to explore as well, or fix: until no image is new")
	f.IntVar(&c.opt.MaxLeaves, "max-leaves", 0, "leaves explored per crash point at most (0: no bound)")
	f.StringVar(&c.override, "image", "", `change the image of the workloads, as "sector=4096 block=4k size=4m"`)
	f.AddFlagSet(modelSet)
	f.DurationVar(&limit, "time", 0, "stop after this time, as 90s or 2h (0: no bound)")
	f.StringVar(&out, "out", "", "directory for the scripts of violations")
	f.BoolVar(&asJSON, "json", false, "the summary as one line of JSON, for crash merge")
	f.IntVarP(&workers, "workers", "j", 0, "workloads explored at once (0: one per core)")
	return cmd
}

// parseShard reads I/N.
func parseShard(s string) (i, n int, err error) {
	a, b, _ := strings.Cut(s, "/")
	i, err1 := strconv.Atoi(a)
	n, err2 := strconv.Atoi(b)
	if err1 != nil || err2 != nil || i < 1 || i > n {
		return 0, 0, usage("--shard %q: want I/N with I from 1 to N", s)
	}
	return i, n, nil
}

// terminal is w if it is one, else nil: progress is for people.
func terminal(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			return f
		}
	}
	return nil
}

// campaign explores one shard.
type campaign struct {
	bounded  *workload.Bounded // nil: random workloads
	override string
	opt      crash.Options // of each exploration
	out      string        // directory for scripts, "" for none
	setups   setupCache

	mu  sync.Mutex
	sum campaignSum
}

// position is that of the k-th workload of the shard among those selected. They are dealt out like
// cards, but each round begins with the next shard: neighbours in the enumeration differ in
// persistence alone, and a shard would otherwise have the same persistence, and the same share of
// what needs no exploring, in each.
func (c *campaign) position(k uint64) uint64 {
	n := uint64(c.sum.Plan.Shards)
	return k*n + (uint64(c.sum.Shards[0]-1)+k)%n
}

// assigned is how many workloads the shard has.
func (c *campaign) assigned() uint64 {
	k := c.sum.Plan.Selected / uint64(c.sum.Plan.Shards)
	if c.position(k) < c.sum.Plan.Selected {
		k++
	}
	return k
}

// number is the workload at position j of those selected: with --sample, the one at a place in
// the j-th of equal parts that differs from part to part (by the golden ratio), so that it does not
// keep step with the order of the enumeration.
func (c *campaign) number(j uint64) uint64 {
	p := &c.sum.Plan
	if p.Selected == p.Of {
		return j
	}
	part := float64(p.Of) / float64(p.Selected)
	const golden = 0x9e3779b97f4a7c15 // 2^64 / ((1 + sqrt 5) / 2)
	within := float64(j*golden>>11) / (1 << 53)
	first, next := j*p.Of/p.Selected, (j+1)*p.Of/p.Selected // a place that two parts share is the second one's
	return min(max(uint64((float64(j)+within)*part), first), next-1)
}

// explore runs the workloads of the shard.
func (c *campaign) explore(workers int, limit time.Duration, progress io.Writer) error {
	start := time.Now()
	told, stop := untilInterrupt()
	defer stop()
	c.opt.Done = told
	if limit > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		go func() {
			select {
			case <-told:
				cancel()
			case <-ctx.Done():
			}
		}()
		c.opt.Done = ctx.Done()
	}
	c.sum.Assigned = c.assigned()
	var next atomic.Uint64
	var failed error
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for !c.stopped() {
				k := next.Add(1) - 1
				if k >= c.sum.Assigned {
					return
				}
				if err := c.one(c.number(c.position(k))); err != nil {
					c.mu.Lock()
					if failed == nil {
						failed = err
					}
					c.mu.Unlock()
					return
				}
			}
		})
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for wait := true; wait; {
		select {
		case <-finished:
			wait = false
		case <-tick.C:
			if progress != nil {
				c.mu.Lock()
				fmt.Fprintf(progress, "\r\x1b[K%d of %d workloads, %d leaves, %d violations, %s", c.sum.Done, c.sum.Assigned,
					c.sum.leaves(), c.sum.Violations, time.Since(start).Round(time.Second))
				c.mu.Unlock()
			}
		}
	}
	if progress != nil {
		fmt.Fprint(progress, "\r\x1b[K")
	}
	c.sum.Seconds = time.Since(start).Seconds()
	c.sum.sort()
	return failed
}

func (c *campaign) stopped() bool {
	select {
	case <-c.opt.Done:
		return true
	default:
		return false
	}
}

// one explores workload i.
func (c *campaign) one(i uint64) error {
	var script, plain *workload.Script
	from := 1
	if c.bounded != nil {
		w := c.bounded.At(i)
		script, from = w.Script, w.From
		if p := w.Plain(); p != nil && c.sum.Plan.Selected == c.sum.Plan.Of {
			plain = p.Script
		}
	} else {
		script = workload.Generate(workload.FromSeed(c.sum.Plan.Seed+i), workload.GenerateOptions{})
		script.Name = fmt.Sprintf("seed-%d", c.sum.Plan.Seed+i)
	}
	x, err := c.record(script)
	if err != nil {
		return c.failed(i, script, err)
	}
	if plain != nil {
		y, err := c.record(plain)
		if err != nil {
			return c.failed(i, plain, err)
		}
		if sameRun(x.trace, y.trace) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.sum.Done++
			c.sum.Same++
			return nil
		}
	}
	opt := c.opt
	opt.Workers, opt.Keep = 1, 1
	opt.Label = x.label
	opt.Points = func(p *crash.Point) bool { return owns(p, from) }
	r, err := crash.Explore(x.trace, opt, x.check)
	if err != nil {
		return c.failed(i, script, err)
	}
	text, err := c.text(script)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.add(i, script.Name, text, r)
}

// owns reports whether a crash point lies behind the start of recorded operation from.
func owns(p *crash.Point, from int) bool {
	started, _ := strconv.Atoi(p.Started) // "": nothing has started
	return from <= 1 || started >= from
}

// sameRun reports whether two recordings on one image have the same writes, flushes and marks, but
// for the text of the script.
func sameRun(a, b *disk.Trace) bool {
	return slices.EqualFunc(a.Events, b.Events, func(a, b disk.Event) bool {
		if a.Kind == disk.EventMark && b.Kind == disk.EventMark && strings.HasPrefix(a.Mark, scriptMark) && strings.HasPrefix(b.Mark, scriptMark) {
			return true
		}
		return a.Kind == b.Kind && a.Off == b.Off && a.Mark == b.Mark && string(a.Data) == string(b.Data)
	})
}

// text is the script as crash explore takes it.
func (c *campaign) text(s *workload.Script) (string, error) {
	if c.override == "" {
		return s.String(), nil
	}
	changed := *s
	if err := changed.Override(c.override); err != nil {
		return "", fmt.Errorf("--image: %w", err)
	}
	return changed.String(), nil
}

// record plays a script. What its text says is what is played.
func (c *campaign) record(s *workload.Script) (*session, error) {
	text, err := c.text(s)
	if err != nil {
		return nil, err
	}
	s, err = workload.Parse(s.Name, text)
	if err != nil {
		return nil, err
	}
	if s.Image.None && c.opt.Decay > 0 {
		return nil, errors.New("--decay is for volumes with a journal: without one nothing is promised of it")
	}
	b, err := c.setups.get(s)
	if err != nil {
		return nil, err
	}
	return b.record(s, text, "")
}

// setupCache keeps images on which a setup has run: many workloads have the same.
type setupCache struct {
	mu   sync.Mutex
	have map[string]*prepared
}

const maxSetups = 64 // images kept

func (s *setupCache) get(script *workload.Script) (*prepared, error) {
	before := *script
	before.Ops = nil
	key := before.String()
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.have[key]; b != nil {
		return b, nil
	}
	b, err := prepare(script)
	if err != nil {
		return nil, err
	}
	if s.have == nil || len(s.have) >= maxSetups {
		s.have = map[string]*prepared{}
	}
	s.have[key] = b
	return b, nil
}

// failed takes in a workload that could not be explored: the volume did not do what the model
// does, or not twice the same. What has to do with how the campaign was called ends it.
func (c *campaign) failed(i uint64, s *workload.Script, err error) error {
	var result *workload.ResultError
	if !errors.As(err, &result) && !errors.Is(err, crash.ErrNotDeterministic) {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	text, terr := c.text(s)
	if terr != nil {
		return terr
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.Done++
	if result != nil && result.Op.Expect == workload.OK && errors.Is(result.Got, volume.ErrNotSupported) {
		c.sum.Refused++
		return nil
	}
	return c.violation(campaignViolation{Number: i, Name: s.Name, Error: err.Error(), Script: text}, 1)
}

// add takes in what was found of workload i.
func (c *campaign) add(i uint64, name, text string, r *crash.Report) error {
	s := &c.sum
	s.Points += len(r.Points)
	s.Legal.Add(&s.Legal, r.States)
	s.Covered.Add(&s.Covered, r.Covered)
	s.Leaves += r.Leaves
	s.NestedPoints += r.Nested.Distinct
	s.NestedLeaves += r.Nested.Leaves
	switch {
	case r.Complete():
		s.Done++
	case !c.stopped():
		s.Uncovered++
	}
	if r.Violations == 0 {
		return nil
	}
	v := campaignViolation{Number: i, Name: name, Script: text}
	for _, p := range r.Points {
		for _, k := range p.Kept {
			if v.ID == "" {
				v.ID, v.Error = k.ID, k.Err.Error()
			}
		}
	}
	return c.violation(v, r.Violations)
}

// violation keeps a workload with so many violating leaves; the script is saved if there is a place.
func (c *campaign) violation(v campaignViolation, leaves int) error {
	c.sum.Violations += leaves
	c.sum.Violating = append(c.sum.Violating, v)
	if c.out == "" {
		return nil
	}
	name := filepath.Join(c.out, strings.ReplaceAll(v.Name, "/", "-")+".hf")
	comment := "# " + strings.ReplaceAll(fmt.Sprintf("%s %s\n%s", v.Name, v.ID, v.Error), "\n", "\n# ") + "\n"
	return os.WriteFile(name, []byte(comment+v.Script), 0o666)
}

// finish prints the summary and says the exit status.
func (s *campaignSum) finish(w io.Writer, asJSON bool) error {
	var err error
	if asJSON {
		err = json.NewEncoder(w).Encode(s)
	} else {
		err = s.print(w)
	}
	switch {
	case err != nil:
		return badInput(err)
	case s.Violations > 0:
		return &statusError{crashViolation, nil}
	case !s.complete():
		return &statusError{crashBudget, nil}
	}
	return nil
}
