package holdfast

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The tester tested: docs/CRASH.md has the chapter, testdata/mutants the broken variants.

var (
	killAll    = flag.Bool("kill", false, "run every mutant in every mode")
	killOnly   = flag.String("mutant", "", "with -kill: only mutants whose names contain one of these, with commas between them")
	killUpdate = flag.Bool("update", false, "with -kill: write the matrix into docs/CRASH.md")
)

// mode is a way to look for a mutant.
type mode struct {
	name  string
	about string
	flags []string // of crash explore
	named bool     // only where a head names it: it takes long
	test  []string // or: a package whose tests are run ("": those that are broken), the pattern of their names, flags
}

var modes = []mode{
	{name: "prefix", about: "writes arrive whole and in order", flags: []string{"--prefix"}},
	{name: "atomic", about: "each write is there or not, as a whole", flags: []string{"--atomic"}},
	{name: "subsets", about: "each sector is old or new", flags: []string{"--no-bad"}},
	{name: "sectors", about: "each sector is old, new or bad", flags: nil},
	{name: "nested", about: "the same, and in each crash inside recovery", flags: []string{"--nested", "1"}},
	{name: "decay", about: "and one sector of the image has gone bad, wherever it is", flags: []string{"--decay", "1"}, named: true},
	{name: "decay2", about: "and two sectors have", flags: []string{"--decay", "2"}, named: true},
	{name: "then", about: "nested, and a second script runs after recovery", flags: []string{"--nested", "1", "--then", "testdata/workloads/then/again.hf"}, named: true},
	{name: "copies", about: "two copies, each of them whole after recovery", flags: []string{"--image", "copies=2"}, named: true},
	{name: "copies-decay", about: "and a bad sector anywhere, which costs nothing", flags: []string{"--image", "copies=2", "--decay", "1"}, named: true},
	{name: "fsck", about: "fsck's tables of images with one defect each", test: []string{"./fsck", "^TestFindings$"}},
	{name: "brute", about: "the explorer against brute force on small traces", test: []string{"./crash", "^TestBruteForce$", "-rapid.shrinktime=1s", "-rapid.nofailfile"}},
	{name: "unit", about: "the tests of the packages that are broken", test: []string{"", "."}},
}

// Cells of the matrix that are no verdict.
const (
	notRun   = ""
	survived = "·"
	bounded  = "(bound)" // nothing was found within the bound on leaves
)

// row is what became of a mutant, by mode.
type row struct {
	m     *mutant
	cells map[string]string
	wrong []string // what should not be so
}

// TestMutantsApply: every patch still applies to the code as it is, and what it makes is Go.
func TestMutantsApply(t *testing.T) {
	list, err := mutants()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 30 {
		t.Errorf("only %d mutants", len(list))
	}
	for _, m := range list {
		for name, text := range m.files {
			if _, err := parser.ParseFile(token.NewFileSet(), name, text, parser.AllErrors); err != nil {
				t.Errorf("%s: %v", m.name, err)
			}
		}
		for _, w := range m.workloads {
			if _, err := script(w); err != nil {
				t.Errorf("%s: %v", m.name, err)
			}
		}
	}
}

// TestKill runs mutants: a few, one for each mode, and with -kill all of them, and then the
// matrix is that of docs/CRASH.md. The program as it is must not be caught by anything.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program several times")
	}
	list, err := mutants()
	if err != nil {
		t.Fatal(err)
	}
	list = slices.DeleteFunc(list, func(m *mutant) bool {
		if *killAll {
			return !slices.ContainsFunc(strings.Split(*killOnly, ","), func(s string) bool { return strings.Contains(m.name, s) })
		}
		return !slices.Contains(always, m.name)
	})
	control := &mutant{name: "(unchanged)", breaks: "nothing"}
	for _, x := range modes {
		if slices.ContainsFunc(list, func(m *mutant) bool { return x.test == nil && !x.named || slices.Contains(m.must, x.name) }) {
			control.not = append(control.not, x.name)
		}
	}
	control.only = map[string][]string{}
	for _, m := range list {
		if slices.Contains(m.must, "unit") {
			control.broken = append(control.broken, m.packages()...)
		}
		for _, x := range modes {
			for _, w := range m.workloads {
				if (!x.named || slices.Contains(m.must, x.name)) && !slices.Contains(control.only[x.name], w) {
					control.only[x.name] = append(control.only[x.name], w)
				}
			}
		}
	}
	rows := make([]*row, 1+len(list))
	limit := make(chan struct{}, max(1, runtime.GOMAXPROCS(0)))
	var wg sync.WaitGroup
	for i, m := range append([]*mutant{control}, list...) {
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			start := time.Now()
			rows[i] = run(t, m)
			t.Logf("%s: %.1f s", m.name, time.Since(start).Seconds())
		})
	}
	wg.Wait()
	for _, r := range rows {
		for _, w := range r.wrong {
			t.Errorf("%s: %s", r.m.name, w)
		}
	}
	text := matrix(rows)
	t.Logf("\n%s", text)
	if *killAll && *killOnly == "" && !t.Failed() {
		document(t, text)
	}
}

// always are the mutants that every test run kills.
var always = []string{"flush-left-out", "replay-header-first", "fsck-blind-i4", "explorer-last-outcome-skipped"}

// script is the file of a workload.
func script(name string) (string, error) {
	for _, dir := range []string{"testdata/workloads", "testdata/mutants"} {
		f := filepath.Join(dir, name+".hf")
		if _, err := os.Stat(f); err == nil {
			return f, nil
		}
	}
	return "", fmt.Errorf("no workload %q", name)
}

// run builds a mutant and looks for it in each mode.
func run(t *testing.T, m *mutant) *row {
	r := &row{m: m, cells: map[string]string{}}
	fail := func(format string, args ...any) *row {
		r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
		return r
	}
	dir, err := os.MkdirTemp(t.TempDir(), "*")
	if err != nil {
		return fail("%v", err)
	}
	overlay, err := writeOverlay(dir, m)
	if err != nil {
		return fail("%v", err)
	}
	bin := filepath.Join(dir, "holdfast")
	if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-overlay", overlay, "-o", bin, "./cmd/holdfast").CombinedOutput(); err != nil {
		return fail("it does not build: %v\n%s", err, out)
	}
	for _, x := range modes {
		must, not := slices.Contains(m.must, x.name), slices.Contains(m.not, x.name)
		if (x.test != nil || x.named) && !must && !not {
			continue
		}
		cell, err := try(x, m, bin, overlay)
		if err != nil {
			fail("%s: %v", x.name, err)
			cell = "error"
		}
		r.cells[x.name] = cell
		switch {
		case must && (cell == survived || cell == bounded):
			fail("it survives the mode %q", x.name)
		case not && cell != survived && cell != bounded:
			fail("the mode %q cannot catch it, and says %q", x.name, cell)
		case len(m.must) == 0 && m.because != "" && cell != survived && cell != bounded:
			fail("it is said to survive everything, and the mode %q says %q", x.name, cell)
		}
	}
	return r
}

// writeOverlay writes the changed files, and the list of them for go build.
func writeOverlay(dir string, m *mutant) (string, error) {
	replace := map[string]string{}
	for name, text := range m.files {
		from, err := filepath.Abs(name)
		if err != nil {
			return "", err
		}
		to := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return "", err
		}
		replace[from] = to
	}
	p, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, p, 0o644)
}

// patience is how long one run may take.
const patience = 10 * time.Minute

// try is one cell: the first verdict on any of the workloads, or survived.
func try(x mode, m *mutant, bin, overlay string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if x.test != nil {
		args := []string{"test", "-overlay", overlay, "-vet=off", "-count=1", "-short", "-run", x.test[1]}
		flags := x.test[2:]
		if x.test[0] != "" {
			args = append(args, x.test[0])
		} else {
			args = append(args, m.packages()...)
		}
		out, err := exec.CommandContext(ctx, "go", append(args, flags...)...).CombinedOutput()
		var exit *exec.ExitError
		switch {
		case err == nil:
			return survived, nil
		case ctx.Err() != nil:
			return "hangs", nil
		case errors.As(err, &exit) && bytes.Contains(out, []byte("[build failed]")):
			return "", fmt.Errorf("%s", out)
		case errors.As(err, &exit) && bytes.Contains(out, []byte("--- FAIL")) || bytes.Contains(out, []byte("\npanic:")):
			return "test fails", nil
		}
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	cell := survived
	for _, w := range append(m.only[x.name], m.workloads...) {
		file, err := script(w)
		if err != nil {
			return "", err
		}
		bound := len(m.files) > 0 && m.leaves > 0 // the unchanged program has no need of one
		args := append([]string{"crash", "explore", "--json", "--first", "--keep", "1", "-j", "1"}, x.flags...)
		if bound {
			args = append(args, "--max-leaves", strconv.Itoa(m.leaves))
		}
		verdict, err := explore(ctx, bin, append(args, file)...)
		switch {
		case err != nil:
			return "", fmt.Errorf("%s: %w", w, err)
		case verdict == unfinished && bound:
			cell = bounded
		case verdict != survived:
			return verdict, nil
		}
	}
	return cell, nil
}

const unfinished = "no certificate"

// explore runs the program and gives the verdict of the first violation.
func explore(ctx context.Context, bin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, bin, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return "hangs", nil
	}
	if err != nil && len(out) == 0 {
		text := stderr.String()
		switch {
		case strings.Contains(text, "not deterministic"):
			return "not deterministic", nil
		case strings.Contains(text, "panic:"):
			return "panic", nil
		}
		return "", fmt.Errorf("%w: %s", err, text)
	}
	var report struct {
		Certified  bool
		Violations int
		Points     []struct {
			Violations []struct {
				Verdict, Error string
				Found          []string
			}
		}
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return "", err
	}
	for _, p := range report.Points {
		if len(p.Violations) == 0 {
			continue
		}
		v := p.Violations[0]
		if strings.Contains(v.Verdict, "invariant") && len(v.Found) > 0 { // which one says more
			verdict, _, _ := strings.Cut(v.Found[0], " ")
			return strings.TrimSuffix(verdict, ":"), nil
		}
		return v.Verdict, nil
	}
	switch {
	case report.Violations > 0:
		return "", errors.New("violations, and none is shown")
	case !report.Certified:
		return unfinished, nil
	}
	return survived, nil
}

// matrix is the table in Markdown: a verdict in bold where the mode is named, a ring where it
// must not catch the mutant and does not.
func matrix(rows []*row) string {
	var b strings.Builder
	b.WriteString("| mutant | what is broken | rule |")
	for _, x := range modes {
		fmt.Fprintf(&b, " %s |", x.name)
	}
	b.WriteString("\n|---|---|---|")
	b.WriteString(strings.Repeat("---|", len(modes)))
	b.WriteByte('\n')
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s |", r.m.name, r.m.breaks, r.m.rule)
		for _, x := range modes {
			cell, ran := r.cells[x.name]
			switch {
			case !ran:
				cell = notRun
			case cell != survived && slices.Contains(r.m.must, x.name):
				cell = "**" + cell + "**"
			case cell == survived && slices.Contains(r.m.not, x.name):
				cell = "○"
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// The matrix in docs/CRASH.md lies between these lines.
const (
	matrixFile  = "docs/CRASH.md"
	matrixBegin = "<!-- the kill matrix, as make mutants prints it -->\n"
	matrixEnd   = "<!-- the end of the kill matrix -->\n"
)

// documented is the matrix in docs/CRASH.md, and what is before and after it.
func documented(t *testing.T) (before, table, after string) {
	p, err := os.ReadFile(matrixFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(p), matrixBegin)
	table, after, ok2 := strings.Cut(rest, matrixEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the matrix", matrixFile)
	}
	return before, table, after
}

// document compares the matrix with that in docs/CRASH.md, or writes it there.
func document(t *testing.T, text string) {
	before, was, after := documented(t)
	switch {
	case *killUpdate:
		if err := os.WriteFile(matrixFile, []byte(before+matrixBegin+text+matrixEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	case was != text:
		t.Errorf("%s has another matrix; make mutants UPDATE=1 writes this one", matrixFile)
	}
}

// TestMatrixDocumented: the matrix in docs/CRASH.md has the mutants that there are, with what their
// heads say, caught by the modes that have to and not by those that cannot.
func TestMatrixDocumented(t *testing.T) {
	list, err := mutants()
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := documented(t)
	lines := strings.Split(strings.TrimSuffix(table, "\n"), "\n")
	if len(lines) != 3+len(list) || lines[0] != strings.SplitN(matrix(nil), "\n", 2)[0] {
		t.Fatalf("%d mutants, and a table of %d lines that begins with %s", len(list), len(lines), lines[0])
	}
	for i, m := range list {
		cells := strings.Split(strings.Trim(lines[3+i], "|"), "|")
		for k := range cells {
			cells[k] = strings.TrimSpace(cells[k])
		}
		if len(cells) != 3+len(modes) || cells[0] != m.name || cells[1] != m.breaks || cells[2] != m.rule {
			t.Errorf("%s: the table says %q", m.name, lines[3+i])
			continue
		}
		for k, x := range modes {
			if slices.Contains(m.must, x.name) != strings.HasPrefix(cells[3+k], "**") {
				t.Errorf("%s, %s: the table says %q", m.name, x.name, cells[3+k])
			}
			if slices.Contains(m.not, x.name) && cells[3+k] != "○" {
				t.Errorf("%s, %s: the table says %q, the mode must not catch it", m.name, x.name, cells[3+k])
			}
		}
	}
}
