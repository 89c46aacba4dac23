package main

import (
	"strings"

	"github.com/spf13/pflag"
)

// sessionSource is what a session is made of, as the commands of crash are told.
type sessionSource struct {
	name     string // of the script or trace
	override string // --image
	then     string // --then: the script that runs after recovery
	soft     bool   // --soft
	swap     swapFlag
}

func (s *sessionSource) bind(f *pflag.FlagSet) {
	f.StringVar(&s.override, "image", "", `change the image line of the script, as "sector=4096 block=4k size=4m"`)
	f.StringVar(&s.then, "then", "", "a second `script` that runs after each recovery; with --nested the crashes inside it are explored")
	f.Var(&s.swap, "swap", "without a journal: two steps of operation OP (1) in each other's place, a wrong order that has to fail")
	f.BoolVar(&s.soft, "soft", false, "every read after the crash fails once, with an error that goes away on retry")
}

// load plays the script, or takes what the trace has recorded.
func (s *sessionSource) load(name string) (*session, error) {
	s.name = name
	x, err := load(name, s.override)
	if err == nil && s.swap.op > 0 {
		x, err = x.swapped(s.swap)
	}
	if err != nil {
		return nil, err
	}
	return x, s.dress(x)
}

// dress gives a session of another script what this one's has after the crash.
func (s *sessionSource) dress(x *session) error {
	x.soft = s.soft
	if s.then == "" {
		return nil
	}
	return x.second(s.then)
}

// command is a line for a shell that does something with the source.
func (s *sessionSource) command(verb string, more ...string) string {
	words := append([]string{"holdfast", "crash", verb, s.name}, more...)
	if s.override != "" {
		words = append(words, "--image", s.override)
	}
	if s.then != "" {
		words = append(words, "--then", s.then)
	}
	if s.swap.op > 0 {
		words = append(words, "--swap", s.swap.String())
	}
	if s.soft {
		words = append(words, "--soft")
	}
	for i, w := range words {
		words[i] = shellWord(w)
	}
	return strings.Join(words, " ")
}

// replay is the line that rebuilds a state.
func (s *sessionSource) replay(id string) string { return s.command("replay", id, "-o", "crash.img") }

// shellWord quotes a word for a shell, if it has to be.
func shellWord(w string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,+@%", r)
	}
	if w != "" && strings.IndexFunc(w, func(r rune) bool { return !plain(r) }) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
