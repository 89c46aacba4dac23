package fsck

import "fmt"

// Code names a kind of defect; it is stable across versions.
type Code string

// What can be wrong. The number of the invariant begins the code.
const (
	SharedBlock  Code = "I1-shared"        // two owners of one block
	BadStructure Code = "I2-structure"     // a structure cannot be read, or contradicts itself
	BadData      Code = "I2-data"          // a data block fails its checksum
	MarkedFree   Code = "I3-marked-free"   // reachable, but free in the bitmap
	Leak         Code = "I4-leak"          // used in the bitmap, but nothing reaches it
	Dangling     Code = "I5-dangling"      // an entry names no inode
	WrongType    Code = "I5-type"          // an entry states another type
	LinksHigh    Code = "I6-links-high"    // a link count above the names
	LinksLow     Code = "I6-links-low"     // a link count below the names
	WrongParent  Code = "I7-parent"        // ".." names another directory
	SecondParent Code = "I7-second-parent" // a directory under two names
	Cycle        Code = "I7-cycle"         // directories that no path from the root reaches
	Lost         Code = "I8-lost"          // an inode without a name that is no orphan
	OrphanList   Code = "I8-orphan-list"   // the list and its members disagree
	WrongCount   Code = "I9-count"         // a counter differs from what it counts
	BadName      Code = "I10-name"         // a name that cannot be, or twice
	BadIndex     Code = "I10-index"        // the index or space map disagrees with the leaves
)

// costs says what each breach would cost the user.
var costs = map[Code]string{
	SharedBlock:  "writing one of the two overwrites the other: data is lost",
	BadStructure: "what it describes cannot be reached",
	BadData:      "this part of the file cannot be read",
	MarkedFree:   "the next write may overwrite it: data is lost",
	Leak:         "the space is lost until it is repaired, nothing else",
	Dangling:     "the name leads nowhere, or to a stranger's file once the inode is used again",
	WrongType:    "listings show the wrong type",
	LinksHigh:    "the space is not freed with the last name: a leak",
	LinksLow:     "removing one name destroys the file under its others: data is lost",
	WrongParent:  "\"..\" leads to the wrong place",
	SecondParent: "the tree is no tree: walks may not end, removal is undefined",
	Cycle:        "the directory and all below it cannot be reached",
	Lost:         "the file cannot be reached and its space is not freed",
	OrphanList:   "what a crash interrupted is not finished: a leak",
	WrongCount:   "free space is reported wrongly",
	BadName:      "the entry cannot be opened or removed by its name",
	BadIndex:     "the name may not be found, though it is listed",
}

// Harmless reports whether a breach is only a leak: no data is or can get lost.
func (c Code) Harmless() bool {
	return c == Leak || c == LinksHigh || c == Lost || c == OrphanList || c == WrongCount
}

// Invariant is the number of the invariant that the code breaks, 1 to 10.
func (c Code) Invariant() int {
	var n int
	_, _ = fmt.Sscanf(string(c), "I%d-", &n)
	return n
}

// Finding is one breach.
type Finding struct {
	Code      Code   `json:"code"`
	Invariant int    `json:"invariant"`
	Structure string `json:"structure"`
	Block     uint64 `json:"block,omitempty"`
	Inode     uint64 `json:"inode,omitempty"`
	Path      string `json:"path,omitempty"`
	Message   string `json:"message"`
	Cost      string `json:"cost"`
}

func (f Finding) String() string {
	s := fmt.Sprintf("I%d %s", f.Invariant, f.Structure)
	if f.Block != 0 {
		s += fmt.Sprintf(" (block %d)", f.Block)
	}
	if f.Path != "" {
		s += " " + f.Path
	}
	return s + ": " + f.Message + "; cost: " + f.Cost
}

// maxFindings bounds the list; the counts go on.
const maxFindings = 1000

// Report is the verdict on an image.
type Report struct {
	Findings []Finding    `json:"findings"`
	Counts   map[Code]int `json:"counts,omitempty"`
	Total    int          `json:"total"` // findings, also those not listed
	Harmless int          `json:"harmless"`

	Files  uint64 `json:"files"` // regular
	Dirs   uint64 `json:"directories"`
	Others uint64 `json:"others"`
	Inodes uint64 `json:"inodes"` // of the volume
	Used   uint64 `json:"used_blocks"`
	Blocks uint64 `json:"blocks"`
	Data   uint64 `json:"data_blocks_verified"`

	// Ordered says that the volume has no journal. A crash then leaves what Expected says.
	Ordered bool `json:"ordered,omitempty"`

	Orphans uint64 `json:"orphans"` // inodes on the orphan list: legal, and freed when the volume is next opened
}

// Clean reports whether nothing was found.
func (r *Report) Clean() bool { return r.Total == 0 }

// Expected reports whether a crash may leave a finding of this code: on a volume without a
// journal what is harmless, and a directory under two names; on others nothing.
func (r *Report) Expected(c Code) bool { return r.Ordered && (c.Harmless() || c == SecondParent) }

// Add counts and lists a finding; of which invariant it is, and its cost, come from its code.
func (r *Report) Add(f Finding) {
	f.Invariant, f.Cost = f.Code.Invariant(), costs[f.Code]
	if r.Ordered && f.Code == SecondParent {
		f.Cost = "none as long as both names stay: a crash inside a rename has left the old one"
	}
	if r.Counts == nil {
		r.Counts = map[Code]int{}
	}
	r.Counts[f.Code]++
	r.Total++
	if f.Code.Harmless() || r.Expected(f.Code) {
		r.Harmless++
	}
	if len(r.Findings) < maxFindings {
		r.Findings = append(r.Findings, f)
	}
}
