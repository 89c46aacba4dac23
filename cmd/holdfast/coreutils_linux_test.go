package main

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/volume"
)

// The coreutils of the host are the oracle of the verbs: the same words on a directory and on
// an image of it.

// gnu skips the test where the host has other tools.
func gnu(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		out, err := exec.Command(tool, "--version").Output()
		if err != nil || !bytes.Contains(out, []byte("GNU")) {
			t.Skipf("%s of GNU is not here", tool)
		}
	}
}

// hostRun runs a tool of the host in a directory.
func hostRun(t *testing.T, dir string, argv ...string) (out string, ok bool) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	p, err := cmd.Output()
	return string(p), err == nil
}

// inUTC makes local times those of UTC for a test.
func inUTC(t *testing.T) {
	local := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = local })
}

// hostTree makes a directory with something of every kind.
func hostTree(t *testing.T) string {
	t.Helper()
	top := filepath.Join(t.TempDir(), "top")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	stamp := time.Date(2020, 1, 1, 0, 0, 0, 123456789, time.UTC)
	for i, f := range []struct {
		name string
		perm os.FileMode
		size int
	}{
		{"flat/empty", 0o644, 0}, {"flat/one", 0o600, 1}, {"flat/k", 0o4755, 1024}, {"flat/k1", 0o2711, 1025}, {"flat/big", 0o1666, 10_300},
		{"flat/large", 0o444, 1_100_000}, {"flat/.dot", 0o640, 7}, {"flat/with space", 0o640, 7}, {"d/e/deep.go", 0o777, 40},
		{"d/UP.GO", 0o600, 511}, {"d/[x]", 0o600, 513}, {"run", 0o755, 10},
	} {
		name := filepath.Join(top, f.name)
		must(os.MkdirAll(filepath.Dir(name), 0o755))
		must(os.WriteFile(name, bytes.Repeat([]byte{'x'}, f.size), 0o600))
		must(os.Chmod(name, f.perm&0o777|map[bool]os.FileMode{true: os.ModeSetuid}[f.perm&0o4000 != 0]|
			map[bool]os.FileMode{true: os.ModeSetgid}[f.perm&0o2000 != 0]|map[bool]os.FileMode{true: os.ModeSticky}[f.perm&0o1000 != 0]))
		must(os.Chtimes(name, stamp, stamp.AddDate(0, 0, (i*5)%12)))
	}
	must(os.Mkdir(filepath.Join(top, "d/none"), 0o700))
	must(os.Link(filepath.Join(top, "flat/k"), filepath.Join(top, "d/hard")))
	must(os.Symlink("../flat/big", filepath.Join(top, "d/link")))
	must(os.Symlink("nowhere", filepath.Join(top, "d/broken")))
	must(os.Symlink("d", filepath.Join(top, "todir")))
	if _, ok := hostRun(t, top, "mkfifo", "d/fifo"); !ok {
		t.Fatal("mkfifo")
	}
	for _, dir := range []string{"d/e", "d/none", "d", "flat", "."} {
		must(os.Chtimes(filepath.Join(top, dir), stamp, stamp.AddDate(0, 1, 0)))
	}
	return top
}

// imageOf makes an image of a directory.
func imageOf(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "t.img")
	if _, errOut, ok := ourRun(t, "mkfs", "-q", "-N", "2048", "--from", dir, name, "32m"); !ok {
		t.Fatal(errOut)
	}
	return name
}

func sortLines(s string) string {
	lines := strings.SplitAfter(s, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func TestShownAsByCoreutils(t *testing.T) {
	gnu(t, "ls", "du", "stat", "find", "readlink")
	inUTC(t)
	top := hostTree(t)
	img := imageOf(t, top)
	files := []string{"flat/empty", "flat/one", "flat/k", "flat/k1", "flat/big", "flat/large", "flat/.dot", "d/hard", "d/link", "d/broken", "d/fifo", "todir", "run", "flat/with space"}
	// ours makes what we print comparable: the paths of the image are those below the directory.
	ours := func(s string) string {
		s = strings.ReplaceAll(s, img+":/\n", ".\n")
		return strings.ReplaceAll(s, img+":/", "./")
	}
	dirLine := regexp.MustCompile(`(?m)^(d\S+ \d+ \d+ \d+) +\d+ |^total .*\n`)
	check := func(name, host string, argv ...string) {
		t.Helper()
		got, errOut, ok := ourRun(t, argv...)
		got = ours(got)
		if strings.HasPrefix(name, "find") {
			got, host = sortLines(got), sortLines(host)
		}
		if strings.HasPrefix(name, "ls") { // directories have other sizes, and so has their sum
			squeeze := func(s string) string { return strings.Join(strings.Fields(dirLine.ReplaceAllString(s, "$1 - ")), " ") }
			if strings.Contains(name, "d ") || strings.HasSuffix(name, " ") {
				got, host = squeeze(got), squeeze(host)
			}
		}
		if !ok || got != host {
			t.Errorf("%s\n--- ours: %v\n%s%s\n--- the host's\n%s", name, ok, got, errOut, host)
		}
	}
	for _, flags := range []string{"", "-1", "-a", "-A", "-F", "-r", "-R", "-d", "-AF", "-dF", "-Ar", "-t", "-St", "-S", "-tr", "-n", "-nA", "-nr", "-nt", "-nS", "-nSr", "-nF", "-nh", "-nd"} {
		for _, dir := range []string{"flat", "d", "."} {
			if strings.ContainsAny(flags, "Sth") && dir != "flat" || strings.Contains(flags, "a") && dir == "." {
				continue // sizes of directories
			}
			host, ok := hostRun(t, top, "ls", "--time-style=long-iso", "-1"+strings.TrimPrefix(flags, "-"), "./"+dir)
			if !ok {
				t.Fatal("ls")
			}
			our := []string{"ls"}
			if flags != "" {
				our = append(our, flags)
			}
			if dir == "." {
				host = strings.ReplaceAll(host, "./.", ".")
				host = strings.ReplaceAll(host, "././", "./")
			}
			host = strings.ReplaceAll(host, "././", "./")
			if dir == "." && strings.ContainsAny(flags, "dR") {
				continue // "." has another name there
			}
			// Whatever shows a directory's size is compared without it, the rest to the byte.
			name := "ls " + flags + " " + dir
			if strings.Contains(flags, "n") && dir != "flat" || strings.Contains(flags, "d") {
				name += " d "
			} else if strings.Contains(flags, "n") {
				host = dirLine.ReplaceAllString(host, "")
				got, errOut, ok := ourRun(t, append(our, img+":/"+dir)...)
				if got = dirLine.ReplaceAllString(ours(got), ""); !ok || got != host {
					t.Errorf("%s\n--- ours\n%s%s\n--- the host's\n%s", name, got, errOut, host)
				}
				continue
			}
			check(name, host, append(our, img+":/"+dir)...)
		}
	}

	dirsOnly := regexp.MustCompile(`(?m)^.*\t\./(flat|d|d/e|d/none)\n|^.*\t\.\n`)
	for _, flags := range []string{"-ab", "-a --apparent-size", "-ah --apparent-size"} {
		words := strings.Fields(flags)
		host, _ := hostRun(t, top, append(append([]string{"du"}, words...), "./flat", "./d")...)
		got, errOut, ok := ourRun(t, append(append([]string{"du"}, words...), img+":/flat", img+":/d")...)
		host, got = dirsOnly.ReplaceAllString(host, ""), dirsOnly.ReplaceAllString(ours(got), "")
		if sortLines(host) != sortLines(got) || !ok || !strings.Contains(got, "./flat/k\n") || strings.Contains(got, "hard") {
			t.Errorf("du %s\n--- ours\n%s%s\n--- the host's\n%s", flags, got, errOut, host)
		}
	}
	for _, name := range []string{"flat/k", "flat/large", "flat/one"} {
		for _, flags := range []string{"-sb", "-cb", "-bc", "-sbh"} {
			host, _ := hostRun(t, top, "du", flags, "./"+name)
			check("du "+flags, host, "du", flags, img+":/"+name)
		}
	}

	for _, format := range []string{"%a", "%A", "%f", "%F", "%n", "%N", "%h", "%s", "%u:%g", "%y", "%Y", "%t,%T", "%%", "[%8s]", "[%-8s]", "[%08s]", "%#a", "%+Y", "%10A|", "%-12n|", "%q"} {
		for _, f := range files {
			host, ok := hostRun(t, top, "stat", "-c", format, "./"+f)
			if !ok {
				t.Fatalf("stat %s", format)
			}
			if strings.Contains(format, "n") || format == "%q" {
				// the names differ in length: widths do too
				if strings.ContainsAny(format, "1") {
					continue
				}
			}
			if format == "%q" {
				host = "?\n"
			}
			check("stat "+format+" "+f, host, "stat", "-c", format, img+":/"+f)
		}
	}
	for _, expr := range []string{
		"", "-type f", "-type d", "-type l,p", "-name *.go", "-iname *.GO", "-name [[]x]", "-name [!d]*", "-name .d*", "-name ?", "-path */e/*", "-links 2 -type f", "-links +1 -type f",
		"-size 1k -type f", "-size +1k -type f", "-size -2k -type f", "-size 1025c", "-size 2b", "-size +1M", "-size 3 -type f", "-newer ./flat/k1", "-newer ./run -type f",
		"-maxdepth 1", "-mindepth 2", "-maxdepth 1 -mindepth 1 -type d", "-empty", "-perm 600", "-perm -4000", "-perm /6000", "-perm u=rwx,go=rx", "-perm -u+x -type f", "-perm /0",
		"-samefile ./flat/k", "-name d -prune -o -print", "( -name d -o -name flat ) -print", "! -type f", "-not -type f -a -name d*", "-type f -o -type l", "-depth",
		"-newermt 2020-01-05 -type f", "-mtime +100", "-mtime -1", "-true", "-false", "-false -o -true", "-mmin +5", "-name d -print -print", "-type f -name one -o -type f -name k", "-d",
	} {
		words := strings.Fields(expr)
		host, ok := hostRun(t, top, append([]string{"find", "."}, words...)...)
		if !ok {
			t.Fatalf("find %s", expr)
		}
		for i, w := range words {
			if strings.HasPrefix(w, "./") {
				words[i] = img + ":" + w[1:]
			}
		}
		check("find "+expr, host, append([]string{"find", img + ":/"}, words...)...)
	}

	for _, f := range []string{"d/link", "d/broken", "todir", "todir/../flat/./k", "todir/link", "d//e/", "new", "todir/new"} {
		for _, flag := range []string{"-f", "-m", "-e"} {
			host, hok := hostRun(t, top, "readlink", flag, "./"+f)
			got, errOut, ok := ourRun(t, "readlink", flag, img+":/"+f)
			host = strings.ReplaceAll(host, realPath(t, top), "")
			if got = strings.ReplaceAll(got, img+":", ""); ok != hok || got != host {
				t.Errorf("readlink %s %s: %q%s, the host's %q", flag, f, got, errOut, host)
			}
		}
	}
}

func realPath(t *testing.T, dir string) string {
	t.Helper()
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	return real
}

// listing is all that is below a directory, in the words of find.
func listing(t *testing.T, top string) string {
	t.Helper()
	out, ok := hostRun(t, top, "find", ".", "-mindepth", "1", "(", "-type", "d", "-printf", `%P %y %m\n`, ")", "-o", "(", "-type", "l", "-printf", `%P %y -> %l\n`, ")",
		"-o", "-printf", `%P %y %m %s %n\n`)
	if !ok {
		t.Fatal("find")
	}
	return sortLines(out)
}

// listingOf is listing for an image.
func listingOf(t *testing.T, img string) string {
	t.Helper()
	var b strings.Builder
	im, err := openImage(img, false)
	if err != nil {
		t.Fatal(err)
	}
	w := &work{}
	root := operand{im, "", "/"}
	a, err := root.resolve(true)
	if err != nil {
		t.Fatal(err)
	}
	fail := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	w.walk(root, a, fail, func(o operand, a volume.Attr) error {
		name := strings.TrimPrefix(o.path, "/")
		switch {
		case name == "":
		case isDir(a):
			fmt.Fprintf(&b, "%s d %o\n", name, a.Mode&0o7777)
		case isLink(a):
			target, err := im.Readlink(a.Ino)
			fmt.Fprintf(&b, "%s l -> %s\n", name, target)
			return err
		default:
			kind := strings.ReplaceAll(string(modeString(a.Mode)[0]), "-", "f")
			fmt.Fprintf(&b, "%s %s %o %d %d\n", name, kind, a.Mode&0o7777, a.Size, a.Links)
		}
		return nil
	})
	fail(im.close(nil))
	return sortLines(b.String())
}

// TestDoneAsByCoreutils runs commands on a directory and on an image: after each the trees are
// alike, and both have failed or neither.
func TestDoneAsByCoreutils(t *testing.T) {
	gnu(t, "mv", "ln", "rm", "mkdir", "rmdir", "touch", "truncate", "chmod", "find", "mknod")
	top := filepath.Join(t.TempDir(), "top")
	if err := os.Mkdir(top, 0o755); err != nil {
		t.Fatal(err)
	}
	img := imageOf(t, top)
	for i, line := range []string{
		"mkdir @d @e @f", "mkdir @d", "mkdir -p @d/x/y/z @d", "mkdir -pm 700 @p/q/r @p", "mkdir -m 1777 @t", "mkdir -m g-w,o= @m", "mkdir @no/x @yes",
		"touch @d/a @d/b @c", "touch -c @none", "touch @no/x", "touch @d/a/", "touch @c/", "touch @new/", "mkdir @c", "mkdir -p @c", "mkdir -p @c/x",
		"truncate -s 1000 @c @big", "truncate -s +500 @c", "truncate -s -200 @c", "truncate -s <100 @c", "truncate -s >70k @c", "truncate -s /1000 @c", "truncate -s %4096 @c",
		"truncate -c -s 5 @none", "truncate -s 5 @d", "truncate -s 5 @no/x", "truncate -r @c @big", "truncate -r @c -s +1 @big",
		"ln @c @hard", "ln @c @d", "ln @none @x", "ln @c @hard", "ln -f @c @hard", "ln -f @d/a @hard", "ln @d @dd", "ln @c @no/x", "ln -t @e @c @d/a", "ln @c @d/a @f", "ln @c @d/a @hard",
		"ln -s c @s", "ln -s c @s", "ln -sf nowhere @s", "ln -s ../c @d", "ln -s d @tod", "ln -sfT e @tod", "ln -sf zz @tod", "ln -sr @d/a @p/q/r/rel", "ln -sr @p/q @p/q/r/up", "ln -sr @p @p/self",
		"ln -sr @tod/n @p/q/through", "ln -s x @no/y", "ln -sv a @ver", "ln @s @hards", "ln -srf @missing/x @p/self",
		"mv @d/b @d/b2", "mv @d/b2 @e", "mv @none @e", "mv @e/b2 @none/x", "mv @e/b2 @none/", "mv -n @e/b2 @c", "mv -n @e/b2 @b3", "mv -T @b3 @e", "mv -T @p/q @f", "mv @f/a @f/c @e", "mv -t @f @e/a @e/c",
		"mv @d @d/x", "mv @d @d", "mv @d @f/", "mv @f/d @renamed/", "mv @renamed @d", "mv @c @c", "mv @hard @d/a", "mv @d/a @hard", "mv @c @f/c", "mv @f @c", "mv @b3 @p/", "mv @d/x @b3", "mv @b3/ @newname",
		"ln @b3 @b4", "mv @b4 @b3", "mv -n @none @x", "mv @e @f @p", "mv @p/e @p/f /", "mv -f @s @tod", "mv @.. @x", "mv @s/ @x",
		"chmod 700 @p", "chmod -R go-rwx,u+X @p", "chmod a=r @none @p", "chmod u+w,+x @p", "chmod -x @p", "chmod 2750 @p", "chmod 755 @p", "chmod 00755 @p", "chmod u=g,g=u,o=u-x @p", "chmod -R u=rwX,g=rX,o= @d",
		"chmod --reference=@t @p", "chmod a+x @tod", "chmod u+q @p", "mknod -m 640 @pipe p", "mknod @pipe p", "mkdir -m 2755 @sg", "mkdir -p @sg/sub/sub", "touch @sg/f", "chmod 755 @sg", "chmod g-s @sg/sub",
		"rmdir @d", "rmdir @none @t", "rmdir -p @sg/sub/sub", "rmdir @c", "rmdir --ignore-fail-on-non-empty @d", "rmdir @tod", "rmdir @t/.",
		"rm @d @c", "rm @none @pipe", "rm -f @none", "rm -d @m", "rm -d @d", "rm @big/", "rm -f @c/x", "rm -r @d/.", "rm -r @d/..", "rm @tod", "rm -r @d @p @none", "rm -rf @e @none", "rm -rv @f",
		"mkdir -p @deep/" + strings.Repeat("n/", 50), "rm -r @deep", "touch @-x", "rm @-x", "touch -d @7 -h @none2", "touch -h @ver", "rm @ver",
	} {
		words := strings.Fields(line)
		host, ours := []string{words[0]}, []string{words[0]}
		for _, w := range words[1:] {
			if rest, ok := strings.CutPrefix(w, "--reference=@"); ok {
				host, ours = append(host, "--reference=./"+rest), append(ours, "--reference="+img+":/"+rest)
			} else if rest, ok := strings.CutPrefix(w, "@"); ok && w != "@7" {
				host, ours = append(host, "./"+rest), append(ours, img+":/"+rest)
			} else if w == "/" {
				host, ours = append(host, "."), append(ours, img+":/")
			} else {
				host, ours = append(host, w), append(ours, w)
			}
		}
		_, hok := hostRun(t, top, host...)
		var stdout, stderr bytes.Buffer
		status := run(ours, strings.NewReader(""), &stdout, &stderr)
		if hok != (status == 0) || status > 2 {
			t.Errorf("%d: %s: status %d %s; the host's succeeds: %v", i, line, status, stderr.String(), hok)
		}
		if got, want := listingOf(t, img), listing(t, top); got != want {
			t.Fatalf("%d: %s: %s\n--- ours\n%s\n--- the host's\n%s", i, line, stderr.String(), got, want)
		}
	}
	if out, errOut, ok := ourRun(t, "fsck", "-n", img); !ok {
		t.Fatal(out, errOut)
	}
}

// TestModesAsByChmod holds symbolic and octal modes, fixed ones and random ones, to the host's chmod.
func TestModesAsByChmod(t *testing.T) {
	gnu(t, "chmod", "stat")
	modes := []string{"0", "7777", "644", "0644", "00644", "000755", "4755", "02755", "u+x", "g-w", "o=r", "a+X", "+X", "+w", "-r", "=", "=r", "u=", "+s", "u+s", "g+s", "o+s", "a-s", "+t", "u+t", "o+t", "a+t", "-t",
		"ug+st", "u=g", "g=u,o=g", "o=u", "a=o", "u+g-x", "u=rwx,go=", "u=rwX,go=rX", "a=rwxst", "g=s", "=s", "=t", "u+r-w+x", "u-w=r", "=644", "+111", "-777", "=4755", "=0", "+06000", "-6000", "u=X", "g=X,u+x", "+x,-w", "ugo+rwx", "uug=rr", "go=,u+X", "a=u-o"}
	const seed = 1
	r := rand.New(rand.NewSource(seed))
	pick := func(letters string, most int) string {
		var b strings.Builder
		for range r.Intn(most + 1) {
			b.WriteByte(letters[r.Intn(len(letters))])
		}
		return b.String()
	}
	for range 300 {
		var clauses []string
		for range 1 + r.Intn(3) {
			c := pick("ugoa", 2)
			for range 1 + r.Intn(2) {
				c += string("+-="[r.Intn(3)])
				if r.Intn(4) == 0 {
					c += string("ugo"[r.Intn(3)])
				} else {
					c += pick("rwxXst", 3)
				}
			}
			clauses = append(clauses, c)
		}
		modes = append(modes, strings.Join(clauses, ","))
	}
	initial := []os.FileMode{0, 0o644, 0o755, 0o640 | os.ModeSetuid, 0o2770&0o777 | os.ModeSetgid, 0o111, 0o777 | os.ModeSetuid | os.ModeSetgid | os.ModeSticky, 0o604}
	top := t.TempDir()
	var paths []string
	for i := range initial {
		for _, kind := range []string{"f", "d"} {
			p := filepath.Join(top, fmt.Sprint(kind, i))
			if err := os.Mkdir(p, 0o700); kind == "d" && err != nil {
				t.Fatal(err)
			} else if kind == "f" {
				_ = os.Remove(p)
				if err := os.WriteFile(p, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			paths = append(paths, p)
		}
	}
	for _, mode := range modes {
		before := map[string]uint16{}
		for i, p := range paths {
			if err := os.Chmod(p, initial[i/2]); err != nil {
				t.Fatal(err)
			}
			before[p] = hostPerm(t, p)
		}
		_, ok := hostRun(t, top, append([]string{"chmod", "--", mode}, paths...)...)
		change, err := parseMode(mode)
		if ok != (err == nil) {
			t.Errorf("%s: %v; the host's succeeds: %v", mode, err, ok)
			continue
		}
		for _, p := range paths {
			dir := filepath.Base(p)[0] == 'd'
			if got, want := change.apply(before[p], dir, umask()), hostPerm(t, p); ok && got != want {
				t.Errorf("chmod %s of %04o (directory: %v): %04o, the host's %04o (seed %d)", mode, before[p], dir, got, want, seed)
			}
		}
	}
	for _, bad := range []string{"", "8", "10000", "u", "u+q", "+", "u+x,", ",u+x", "u+xg", "z+x", "u=644", "u+ug", "rwx", "0x1", "77777777777", "+8", "a"} {
		_, ok := hostRun(t, top, "chmod", "--", bad, paths[0])
		if _, err := parseMode(bad); ok != (err == nil) {
			t.Errorf("mode %q: %v; the host's succeeds: %v", bad, err, ok)
		}
	}
}

func hostPerm(t *testing.T, p string) uint16 {
	t.Helper()
	st, err := os.Lstat(p)
	if err != nil {
		t.Fatal(err)
	}
	m := uint16(st.Mode().Perm())
	for bit, mode := range map[uint16]os.FileMode{0o4000: os.ModeSetuid, 0o2000: os.ModeSetgid, 0o1000: os.ModeSticky} {
		if st.Mode()&mode != 0 {
			m |= bit
		}
	}
	return m
}

// TestTimesAsByTouch holds what touch understands to the host's touch.
func TestTimesAsByTouch(t *testing.T) {
	gnu(t, "touch", "stat")
	inUTC(t)
	top := t.TempDir()
	img := imageOf(t, top)
	for _, words := range [][]string{
		{"-t", "202402291234.56"}, {"-t", "2402291234"}, {"-t", "6901010000"}, {"-t", "6801010000.01"}, {"-t", "202413010000"}, {"-t", "1"}, {"-t", "202402301200"},
		{"-d", "@0"}, {"-d", "@1700000000.25"}, {"-d", "@-5"}, {"-d", "@-5.5"}, {"-d", "2024-02-29"}, {"-d", "2024-02-29 10:11"}, {"-d", "2024-02-29 10:11:12.5"}, {"-d", "2024-02-29T10:11:12Z"},
		{"-d", "2024-02-29 10:11:12 +0230"}, {"-d", "2024-02-29T10:11:12+02:30"}, {"-d", "20240229"}, {"-d", "Thu, 29 Feb 2024 10:11:12 +0000"}, {"-d", "2024-02-30"}, {"-d", "nonsense"},
	} {
		_, hok := hostRun(t, top, append([]string{"touch", "./f"}, words...)...)
		var stdout, stderr bytes.Buffer
		status := run(append([]string{"touch", img + ":/f"}, words...), nil, &stdout, &stderr)
		if hok != (status == 0) {
			t.Errorf("touch %q: status %d %s; the host's succeeds: %v", words, status, stderr.String(), hok)
		}
		if !hok {
			continue
		}
		host, _ := hostRun(t, top, "stat", "-c", "%x %y %X %Y", "./f")
		if got, _, _ := ourRun(t, "stat", "-c", "%x %y %X %Y", img+":/f"); got != host {
			t.Errorf("touch %q: %q, the host's %q", words, got, host)
		}
	}
}
