//go:build linux

package fusefs_test

// feature is a case that the script has no words for.
type feature struct {
	name string
	run  func(c *caller)
}

var features = []feature{}
