//go:build linux

package fusefs_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A cluster is a PostgreSQL database on a mount; its socket is on the host.
type cluster struct {
	bin, db, sock string
	who           syscall.Credential
	server        *exec.Cmd
	said          bytes.Buffer // of the server
}

// program is a command of PostgreSQL as its user, and where the cluster is.
func (c *cluster) program(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Env = append(os.Environ(), "PGHOST="+c.sock, "PGDATA="+c.db, "PGDATABASE=postgres", "PGUSER=postgres")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &c.who}
	cmd.Dir = c.sock
	return cmd
}

func (c *cluster) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := c.program(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s\n%s", name, args, err, out, &c.said)
	}
	return strings.TrimSpace(string(out))
}

func (c *cluster) sql(t *testing.T, command string) string {
	t.Helper()
	return c.run(t, "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", command)
}

// start recovers the cluster and waits until it answers. The log wraps often, so that recovery meets checkpoints.
func (c *cluster) start(t *testing.T) {
	t.Helper()
	c.said.Reset()
	c.server = c.program("postgres", "-k", c.sock, "-c", "listen_addresses=", "-c", "shared_buffers=1MB", "-c", "max_wal_size=4MB",
		"-c", "min_wal_size=2MB", "-c", "restart_after_crash=off")
	c.server.Stderr = &c.said
	if err := c.server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.kill() })
	for end := time.Now().Add(time.Minute); c.program("pg_isready", "-q").Run() != nil; {
		if time.Now().After(end) {
			c.kill()
			t.Fatalf("PostgreSQL does not answer:\n%s", &c.said)
		}
	}
}

// kill ends the server at once. It returns when the last of its processes has let go of the log.
func (c *cluster) kill() {
	_ = c.server.Process.Signal(syscall.SIGQUIT)
	_ = c.server.Wait()
}

const pgClients = 4

// The server of the mount is killed while PostgreSQL commits. On the image that is left, PostgreSQL recovers, its
// tables and indexes are whole (amcheck), and each client finds every transaction that was acknowledged to it, and
// at most one more.
func TestKillPostgres(t *testing.T) {
	if os.Getenv("FUSEFS_PROGRAMS") != "all" {
		t.Skip("it takes long: make programs")
	}
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_amcheck")
	who, err := user.Lookup("postgres")
	if len(bins) == 0 || err != nil {
		t.Skip("no PostgreSQL here")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	uid, _ := strconv.Atoi(who.Uid)
	gid, _ := strconv.Atoi(who.Gid)
	c := &cluster{bin: filepath.Dir(slices.Max(bins)), sock: openDir(t), who: syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	if err := os.Chown(c.sock, uid, gid); err != nil {
		t.Fatal(err)
	}
	image, last := newImage(t, 512<<20), [pgClients]int{}
	const rounds = 6
	for round := range rounds + 1 { // the last one only looks
		s := start(t, image)
		c.db = filepath.Join(s.dir, "db")
		if round == 0 {
			if err := os.Mkdir(c.db, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(c.db, uid, gid); err != nil {
				t.Fatal(err)
			}
			c.run(t, "initdb", "--data-checksums", "-A", "trust", "-N", "--wal-segsize=1", "--locale=C")
		}
		_ = os.Remove(filepath.Join(c.db, "postmaster.pid"))
		c.start(t)
		if round == 0 {
			c.sql(t, "create extension amcheck; create table t(c int, n int, v text, primary key(c, n)); create index on t(v)")
			c.sql(t, "create table sum(c int primary key, n int); insert into sum select c, 0 from generate_series(0, 100) c")
		}
		c.run(t, "pg_amcheck", "--heapallindexed", "--parent-check", "-d", "postgres")
		for i := range last {
			got, err := strconv.Atoi(c.sql(t, fmt.Sprintf("select count(*) from t where c=%d", i)))
			if err != nil || got < last[i] || got > last[i]+1 {
				t.Fatalf("round %d: client %d has %d rows (%v), %d were acknowledged", round, i, got, err, last[i])
			}
			if same := c.sql(t, fmt.Sprintf("select (select coalesce(max(n), 0) from t where c=%d)=%d and (select n from sum where c=%d)=%d", i, got, i, got)); same != "t" {
				t.Fatalf("round %d: client %d: half of a transaction", round, i)
			}
			last[i] = got
		}
		if round == rounds {
			_ = c.server.Process.Signal(syscall.SIGINT)
			if err := c.server.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, &c.said)
			}
			c.run(t, "pg_checksums", "--check")
			s.stop(t)
			break
		}
		c.commitUntil(t, &last, 100+rnd.IntN(2000), func() { _ = s.cmd.Process.Kill() })
		c.kill()
		s.kill()
		check(t, image)
		if err := os.Remove(s.dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills, %v transactions acknowledged", rounds, last)
}

// commitUntil has clients commit small transactions of two tables, one behind the other, until so many are
// acknowledged in all; then it kills, and waits for the clients to fail. last is what was acknowledged to each.
func (c *cluster) commitUntil(t *testing.T, last *[pgClients]int, enough int, kill func()) {
	t.Helper()
	var acknowledged atomic.Int64
	var clients sync.WaitGroup
	for i := range last {
		cmd := c.program("psql", "-qAtX", "-v", "ON_ERROR_STOP=1")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		clients.Go(func() {
			defer func() { in.Close(); _ = cmd.Wait() }() // it fails
			for lines := bufio.NewScanner(out); ; {
				n := last[i] + 1
				_, err := fmt.Fprintf(in, "begin; insert into t values(%d, %d, repeat(md5(%d::text), %d)); update sum set n=%d where c=%d; commit;\nselect 'done';\n", i, n, n, 1+n*7%50, n, i)
				if err != nil && err != io.ErrClosedPipe || !lines.Scan() || lines.Text() != "done" {
					return
				}
				last[i] = n
				if acknowledged.Add(1) == int64(enough) {
					kill()
				}
			}
		})
	}
	clients.Wait()
	if n := acknowledged.Load(); n < int64(enough) {
		t.Fatalf("PostgreSQL stopped by itself, after %d of %d transactions:\n%s", n, enough, &c.said)
	}
}
