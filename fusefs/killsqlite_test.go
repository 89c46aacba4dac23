//go:build linux

package fusefs_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The server is killed while SQLite commits. In each mode that promises it, the database is whole, and has every
// transaction that was acknowledged, and of the others a beginning.
func TestKillSQLite(t *testing.T) {
	need(t, "sqlite3")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i, mode := range []string{"delete", "truncate", "persist", "wal"} {
		t.Run(mode, func(t *testing.T) { killSQLite(t, mode, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
}

func killSQLite(t *testing.T, mode string, rnd *rand.Rand) {
	image := newImage(t, 64<<20)
	last := 0
	for round := range 3 { // the second time with what the first has left; the third only looks
		s := start(t, image)
		db := filepath.Join(s.dir, "db")
		sqlite := func(command string) string {
			out, err := exec.Command("sqlite3", db, command).CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", command, err, out)
			}
			return strings.TrimSpace(string(out))
		}
		sqlite("pragma journal_mode=" + mode + "; create table if not exists t(n integer primary key, v blob)")
		if got := sqlite("pragma integrity_check"); got != "ok" {
			t.Fatal(got)
		}
		if got, err := strconv.Atoi(sqlite("select count(*) from t where n=rowid")); err != nil || got < last || sqlite("select coalesce(max(n), 0) from t") != fmt.Sprint(got) {
			t.Fatalf("%d rows (%v), %d were acknowledged", got, err, last)
		} else {
			last = got
		}
		if round == 2 {
			s.stop(t)
			break
		}
		var script strings.Builder
		// With less, "delete" does not wait for its removal of the journal, which is the commit.
		fmt.Fprintf(&script, "pragma journal_mode=%s; pragma synchronous=extra;\n", mode)
		for n := last + 1; n < last+5000; n++ {
			fmt.Fprintf(&script, "insert into t values(%d, randomblob(%d)); select 'done', %d;\n", n, 1+rnd.IntN(20_000), n)
		}
		c := exec.Command("sqlite3", "-bail", db)
		c.Stdin = strings.NewReader(script.String())
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		until := last + 1 + rnd.IntN(100)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if n, ok := strings.CutPrefix(lines.Text(), "done|"); ok {
				last, _ = strconv.Atoi(n)
			}
			if last == until {
				_ = s.cmd.Process.Kill()
			}
		}
		_ = c.Wait() // it fails, when it notices
		s.kill()
		if last < until {
			t.Fatalf("SQLite stopped at %d by itself", last)
		}
		check(t, image)
		if err := os.Remove(s.dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d rows acknowledged", last)
}
