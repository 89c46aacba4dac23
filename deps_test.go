package holdfast

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// policy says which of our rooms each room may import (docs/DESIGN.md, "Rooms"). It is
// policy, not a description: it is never changed to make a build pass.
var policy = map[string][]string{
	"disk":         nil,
	"layout":       nil,
	"journal":      {"disk", "layout"},
	"volume":       {"disk", "journal", "layout"},
	"fsck":         {"disk", "layout"}, // never journal or volume: a bug must not approve itself
	"crash":        {"disk"},
	"workload":     {"volume"},
	"transfer":     {"volume"},
	"fusefs":       {"volume"},
	"cmd/holdfast": {"disk", "layout", "journal", "volume", "fsck", "crash", "workload", "transfer", "fusefs"},
}

// outside lists the modules that production code may import, and which rooms may.
var outside = map[string][]string{
	"github.com/klauspost/crc32":                 {"disk", "layout", "crash"},
	"github.com/dgraph-io/ristretto/v2":          {"volume"},
	"github.com/dchest/siphash":                  {"volume", "fsck"},
	"github.com/google/uuid":                     {"cmd/holdfast"},
	"github.com/spf13/cobra":                     {"cmd/holdfast"},
	"github.com/spf13/pflag":                     {"cmd/holdfast"},
	"github.com/schollz/progressbar/v3":          {"cmd/holdfast"},
	"github.com/pkg/xattr":                       {"transfer"},
	"github.com/klauspost/compress":              {"transfer"},
	"github.com/hanwen/go-fuse/v2":               {"fusefs"},
	"golang.org/x/sys":                           {"disk", "transfer", "fusefs", "cmd/holdfast"},
	"github.com/rogpeppe/go-internal/testscript": nil, // tests only
}

// room is the room that a package of the module belongs to: "volume/internal/dirs" is in "volume".
func room(path string) string {
	path = strings.TrimPrefix(path, "holdfast/")
	if strings.HasPrefix(path, "cmd/") {
		return path
	}
	first, _, _ := strings.Cut(path, "/")
	return first
}

func TestImportPolicy(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.ImportPath == "holdfast" {
			continue
		}
		from := room(p.ImportPath)
		allowed, known := policy[from]
		if !known {
			t.Errorf("%s is in no room of the policy", p.ImportPath)
		}
		seen[from] = true
		for _, imp := range p.Imports {
			switch {
			case strings.HasPrefix(imp, "holdfast/"):
				if to := room(imp); to != from && !slices.Contains(allowed, to) {
					t.Errorf("%s imports %s: %s may import only %v", p.ImportPath, imp, from, allowed)
				}
			case strings.Contains(strings.SplitN(imp, "/", 2)[0], "."):
				ok := false
				for module, rooms := range outside {
					if (imp == module || strings.HasPrefix(imp, module+"/")) && slices.Contains(rooms, from) {
						ok = true
					}
				}
				if !ok {
					t.Errorf("%s imports %s, which the policy does not allow there", p.ImportPath, imp)
				}
			}
		}
	}
	for name := range policy {
		if !seen[name] {
			t.Errorf("room %s has no package", name)
		}
	}
}
