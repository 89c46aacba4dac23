package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"holdfast/volume"
)

// A mounted image is locked, so what others want to know of it, or done to it, they ask of the
// process that serves it: over a Unix socket, mode 0600, in a directory of the user alone. Its name
// is made of the device and inode of the image's file, so that every path of the file leads there; of
// a mirror each file has one.
// The client sends one line of JSON, the server answers with lines of JSON, the last of which has a
// result or an error; who hangs up takes the request back.

// request is what a client asks for.
type request struct {
	Command string `json:"command"` // "scrub", "df" or "sync"
	Name    string `json:"name"`    // of the image, as the client calls it
	Rate    int64  `json:"rate,omitempty"`
}

// answer is one line of what the server says.
type answer struct {
	Done   int64          `json:"done,omitempty"` // bytes, of
	Total  int64          `json:"total,omitempty"`
	Scrub  *scrubbed      `json:"scrub,omitempty"`
	Df     *volume.Statfs `json:"df,omitempty"`
	Synced bool           `json:"synced,omitempty"`
	Error  string         `json:"error,omitempty"`
}

// controlDirs are where the socket of an image may be, best first.
func controlDirs() []string {
	var list []string
	if d := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(d) {
		list = append(list, filepath.Join(d, "holdfast"))
	}
	if os.Getuid() == 0 {
		return append(list, "/run/holdfast")
	}
	return append(list, fmt.Sprintf("/run/user/%d/holdfast", os.Getuid()))
}

// controlName is the name of the socket of an image.
func controlName(image string, offset int64) (string, error) {
	st, err := os.Stat(image)
	if err != nil {
		return "", err
	}
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return "", errors.ErrUnsupported
	}
	return fmt.Sprintf("%x-%x-%x", s.Dev, s.Ino, offset), nil
}

// ownDir makes a directory that is the user's alone, or refuses one that is not.
func ownDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if s, ok := st.Sys().(*syscall.Stat_t); !ok || !st.IsDir() || st.Mode().Perm()&0o077 != 0 || int(s.Uid) != os.Getuid() {
		return fmt.Errorf("%s: not a directory of this user alone", dir)
	}
	return nil
}

// serveControl answers requests about an image that is open for writing, until stop is called, which
// takes back what is under way. Where there is no place for a socket nobody can ask.
func serveControl(im *image) (stop func()) {
	c := &controller{im: im}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	var sockets []net.Listener
	for _, f := range im.file.files {
		l := listenControl(f.name)
		if l == nil {
			continue
		}
		sockets = append(sockets, l)
		group.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				group.Go(func() { c.answer(ctx, conn) })
			}
		})
	}
	return func() {
		for _, l := range sockets {
			_ = l.Close() // it removes the socket
		}
		cancel()
		group.Wait()
	}
}

// listenControl is the socket of a file of an image, nil if there is no place for one.
func listenControl(file string) net.Listener {
	name, err := controlName(file, imageOffset.n)
	if err != nil {
		return nil
	}
	for _, dir := range controlDirs() {
		if ownDir(dir) != nil {
			continue
		}
		path := filepath.Join(dir, name)
		_ = os.Remove(path) // the lock of the image is ours: it is of a server that was killed
		if l, err := net.Listen("unix", path); err == nil {
			_ = os.Chmod(path, 0o600)
			return l
		}
	}
	return nil
}

// controller answers for one image.
type controller struct {
	im    *image
	scrub sync.Mutex // one at a time
}

// askTime bounds how long a client may take to say what it wants.
const askTime = 5 * time.Second

// answer is one request.
func (c *controller) answer(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
	defer stop()
	_ = conn.SetReadDeadline(time.Now().Add(askTime))
	var q request
	if json.NewDecoder(io.LimitReader(conn, 1<<16)).Decode(&q) != nil {
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	go func() { // what comes next is that the client hangs up
		_, _ = conn.Read(make([]byte, 1))
		cancel()
	}()
	out := json.NewEncoder(conn)
	say := func(a answer) {
		_ = conn.SetWriteDeadline(time.Now().Add(askTime))
		if out.Encode(a) != nil {
			cancel()
		}
	}
	switch q.Command {
	case "df":
		s, err := c.im.Statfs()
		if err != nil {
			say(answer{Error: describe(err)})
			return
		}
		say(answer{Df: &s})
	case "sync":
		if err := c.im.Sync(); err != nil {
			say(answer{Error: describe(err)})
			return
		}
		say(answer{Synced: true})
	case "scrub":
		if !c.scrub.TryLock() {
			say(answer{Error: "it is being scrubbed already"})
			return
		}
		defer c.scrub.Unlock()
		last := time.Now()
		s, err := scrubVolume(ctx, c.im, q.Name, q.Rate, func(n, total int64) {
			if now := time.Now(); now.Sub(last) > 100*time.Millisecond {
				last = now
				say(answer{Done: n, Total: total})
			}
		})
		if err != nil {
			say(answer{Error: describe(err)})
			return
		}
		say(answer{Scrub: s})
	default:
		say(answer{Error: fmt.Sprintf("unknown request %q", q.Command)})
	}
}

// errNotServed says that nobody answers for an image.
var errNotServed = errors.New("not served")

// ask sends a request to who serves an image, and gives its last answer.
func ask(ctx context.Context, q request, progress func(done, total int64)) (*answer, error) {
	name, err := controlName(q.Name, imageOffset.n)
	if err != nil {
		return nil, errNotServed
	}
	for _, dir := range controlDirs() {
		if _, err := os.Lstat(dir); err != nil || ownDir(dir) != nil {
			continue
		}
		conn, err := net.Dial("unix", filepath.Join(dir, name))
		if err != nil {
			continue
		}
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		if err := json.NewEncoder(conn).Encode(q); err != nil {
			return nil, err
		}
		for in := json.NewDecoder(bufio.NewReader(conn)); ; {
			var a answer
			switch err := in.Decode(&a); {
			case ctx.Err() != nil:
				return nil, fmt.Errorf("%s: interrupted", q.Name)
			case err != nil:
				return nil, fmt.Errorf("%s: who serves it has gone", q.Name)
			case a.Error != "":
				return nil, fmt.Errorf("%s: %s", q.Name, a.Error)
			case a.Scrub != nil || a.Df != nil || a.Synced:
				return &a, nil
			case progress != nil:
				progress(a.Done, a.Total)
			}
		}
	}
	return nil, errNotServed
}
