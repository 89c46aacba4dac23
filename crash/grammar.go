package crash

import (
	_ "embed"
	"strings"
)

//go:embed id.go
var idSource string

// Grammar is what the IDs of crash states are made of, as text: the comment of the code that
// reads and writes them.
func Grammar() string {
	var b strings.Builder
	inside := false
	for line := range strings.Lines(idSource) {
		if !inside {
			inside = strings.HasPrefix(line, "// The ID of a crash state")
		}
		text, comment := strings.CutPrefix(line, "//")
		if !inside {
			continue
		}
		if !comment {
			break
		}
		b.WriteString(strings.ReplaceAll(strings.TrimPrefix(text, " "), "\t", "  "))
	}
	return b.String()
}
