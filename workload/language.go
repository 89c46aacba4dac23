package workload

import (
	_ "embed"
	"strings"
)

//go:embed doc.go
var documentation string

// Language is the part of the package's documentation that describes scripts, as text.
func Language() string {
	_, text, _ := strings.Cut(documentation, "// # The script language\n//\n")
	text, _, _ = strings.Cut(text, "//\n// # ")
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimPrefix(strings.TrimPrefix(line, "//"), " ")
		b.WriteString(strings.ReplaceAll(line, "\t", "  "))
	}
	return b.String()
}
