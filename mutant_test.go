package holdfast

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// mutant is a deliberately broken variant of the program: testdata/mutants/NAME.patch, a unified
// diff with a head of "key: value" lines (a line that begins with a blank goes on with the one before):
//
//	breaks:    what is wrong with it
//	rule:      the rule that it breaks, by the section of docs/DESIGN.md
//	must:      modes that have to catch it
//	not:       modes that cannot catch it and must not
//	workloads: scripts of testdata/workloads or testdata/mutants to explore, without the suffix
//	leaves:    a bound on the leaves of a crash point (default 2000; 0: none)
//	because:   where no mode catches it: why
type mutant struct {
	name      string
	breaks    string
	rule      string
	must      []string
	not       []string
	workloads []string
	leaves    int
	because   string
	files     map[string]string // by path from the root: what the patch makes of it

	// Of the unchanged program: what the others run.
	broken []string            // packages
	only   map[string][]string // workloads, by mode
}

// mutants reads all of them, by name.
func mutants() ([]*mutant, error) {
	files, err := filepath.Glob("testdata/mutants/*.patch")
	if err != nil {
		return nil, err
	}
	var list []*mutant
	var errs []error
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		m, err := parseMutant(strings.TrimSuffix(filepath.Base(f), ".patch"), string(text))
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f, err))
			continue
		}
		list = append(list, m)
	}
	return list, errors.Join(errs...)
}

func parseMutant(name, text string) (*mutant, error) {
	m := &mutant{name: name, leaves: 2000}
	head, diff, found := strings.Cut(text, "\n--- ")
	if !found {
		return nil, fmt.Errorf("no diff")
	}
	for line := range strings.Lines(strings.ReplaceAll(head, "\n ", " ")) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.Join(strings.Fields(value), " ")
		switch key {
		case "breaks":
			m.breaks = value
		case "rule":
			m.rule = value
		case "must":
			m.must = strings.Fields(value)
		case "not":
			m.not = strings.Fields(value)
		case "workloads":
			m.workloads = strings.Fields(value)
		case "because":
			m.because = value
		case "leaves":
			var err error
			if m.leaves, err = strconv.Atoi(value); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("unknown key %q in the head", key)
		}
	}
	switch {
	case m.breaks == "" || m.rule == "" || len(m.workloads) == 0:
		return nil, fmt.Errorf("the head does not say what breaks which rule, and on which workloads")
	case len(m.must) == 0 && m.because == "":
		return nil, fmt.Errorf("no mode catches it, and the head does not say why")
	}
	for _, list := range [][]string{m.must, m.not} {
		for _, name := range list {
			if !slices.ContainsFunc(modes, func(x mode) bool { return x.name == name }) {
				return nil, fmt.Errorf("no mode %q", name)
			}
		}
	}
	var err error
	m.files, err = patched("--- " + diff)
	return m, err
}

// packages are those that the mutant breaks.
func (m *mutant) packages() []string {
	list := m.broken
	for name := range m.files {
		if p := "./" + filepath.ToSlash(filepath.Dir(name)); !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// patched applies a unified diff to the files that it names, and gives what they become. The
// lines that a hunk wants must be there, in exactly one place; that place may have moved.
func patched(diff string) (map[string]string, error) {
	files := map[string]string{}
	for _, part := range strings.Split("\n"+diff, "\n--- a/")[1:] {
		name, rest, _ := strings.Cut(part, "\n")
		plus, hunks, _ := strings.Cut(rest, "\n")
		if plus != "+++ b/"+name {
			return nil, fmt.Errorf("%s: %q follows", name, plus)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		now := string(text)
		for i, h := range strings.Split("\n"+strings.TrimSuffix(hunks, "\n"), "\n@@ ")[1:] {
			_, body, _ := strings.Cut(h, "\n")
			var was, is strings.Builder
			for line := range strings.SplitSeq(body, "\n") {
				switch {
				case line == "":
					was.WriteString("\n")
					is.WriteString("\n")
				case line[0] == ' ':
					was.WriteString(line[1:] + "\n")
					is.WriteString(line[1:] + "\n")
				case line[0] == '-':
					was.WriteString(line[1:] + "\n")
				case line[0] == '+':
					is.WriteString(line[1:] + "\n")
				default:
					return nil, fmt.Errorf("%s, hunk %d: line %q", name, i+1, line)
				}
			}
			if n := strings.Count(now, was.String()); n != 1 {
				return nil, fmt.Errorf("%s, hunk %d: what it wants to change is there %d times", name, i+1, n)
			}
			now = strings.Replace(now, was.String(), is.String(), 1)
		}
		if now == string(text) {
			return nil, fmt.Errorf("%s: nothing is changed", name)
		}
		files[name] = now
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no file is changed")
	}
	return files, nil
}
