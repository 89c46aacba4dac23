package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdfast/crash"
	"holdfast/workload"
)

// A name that would run if a page did not quote it.
const evil = `<img src=x onerror=alert(1)>`

// reportOf is the page of an exploration of a script in which the states that show the tree
// after operation 0 are said to fail.
func reportOf(t *testing.T, script string, fail bool) (string, *crash.Report) {
	t.Helper()
	x, err := play("report.hf", script, "")
	if err != nil {
		t.Fatal(err)
	}
	r, err := crash.Explore(x.trace, crash.Options{Bad: true, Keep: 3, Label: x.label}, func(s *crash.State) error {
		err := x.check(s)
		if at, perr := progress(s.Point); err == nil && fail && perr == nil && at.Synced == 0 && at.Started > 0 {
			return &workload.Verdict{Class: workload.ErrAtomicity, Progress: at, During: x.run.During(at), Is: -1, Nearest: 0,
				Diff:  []workload.Difference{{Path: "/" + evil, Want: "file 3 bytes"}, {Path: "/b", Field: "size", Want: "3", Found: "0"}},
				Cause: errors.New("because of " + evil)}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := writeHTML(&b, "report.hf", x, r, (&sessionSource{name: "report.hf"}).replay); err != nil {
		t.Fatal(err)
	}
	return b.String(), r
}

var reportScript = fmt.Sprintf("image size=1m block=1k\ncreate a\n---\nwrite a 0 3000 1\nfsync a\ncreate %q\nmv %q b\nsync\n", evil, evil)

// longScript makes a timeline that is wider than any screen.
const longScript = "image size=1m block=1k\n---\nrepeat 60 {\ncreate f$i\nwrite f$i 0 2000 $i\nfsync f$i\n}\n"

// TestReport: the page has everything, quotes what it shows, and needs nothing from elsewhere.
func TestReport(t *testing.T) {
	for _, fail := range []bool{false, true} {
		page, r := reportOf(t, reportScript, fail)
		if again, _ := reportOf(t, reportScript, fail); again != page {
			t.Error("the same exploration gives another page")
		}
		for _, s := range []string{"http:", "https:", "<link", "@import", "url(", "<img", "src=\"", "ZgotmplZ"} {
			if strings.Contains(page, s) {
				t.Errorf("the page has %q in it", s)
			}
		}
		want := []string{"<!doctype html>", `name="viewport"`, "prefers-color-scheme: dark", r.States.String(), fmt.Sprintf("%016x", r.Hash), html.EscapeString(evil)}
		if fail {
			want = append(want, fmt.Sprintf("%d leaves fail", r.Violations), "atomicity", `<span class="del">- `, `<span class="add">&#43; /b: size 0</span>`)
		} else {
			want = append(want, "Every legal state is covered, and none fails")
		}
		for _, p := range r.Points {
			want = append(want, fmt.Sprintf(`id="p%d"`, p.Point.Index), fmt.Sprintf(`href="#p%d"`, p.Point.Index))
			for _, v := range p.Kept {
				want = append(want, "holdfast crash replay report.hf "+v.ID+" -o crash.img")
				for _, m := range v.Missing {
					want = append(want, html.EscapeString(m.String()))
				}
			}
		}
		for _, s := range want {
			if !strings.Contains(page, s) {
				t.Errorf("fail %v: the page lacks %q", fail, s)
			}
		}
		if got := strings.Contains(page, `id="violations"`); got != fail {
			t.Errorf("fail %v: a section of violations: %v", fail, got)
		}
	}
}

// TestReportInBrowser lays the page out as a laptop and a phone do: its script runs, nothing
// scrolls sideways but the timeline, and the filter works.
func TestReportInBrowser(t *testing.T) {
	var browser string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("no chromium here: install it to see the page laid out")
	}
	if testing.Short() {
		t.Skip("starts a browser")
	}
	short, _ := reportOf(t, reportScript, true)
	long, _ := reportOf(t, longScript, false)
	var b strings.Builder
	b.WriteString("<!doctype html><body>")
	type frame struct {
		page  string
		width int
	}
	frames := []frame{{short, 390}, {short, 1280}, {long, 390}, {long, 1280}}
	for _, f := range frames {
		fmt.Fprintf(&b, `<iframe width="%d" height="844" style="border:0" srcdoc="%s"></iframe>`, f.width, html.EscapeString(f.page))
	}
	b.WriteString(`<script>
addEventListener("load", function () {
  var out = [];
  for (var f of document.querySelectorAll("iframe")) {
    var d = f.contentDocument, root = d.documentElement, time = d.querySelector(".scroll"), only = d.getElementById("only");
    var rows = function () { return Array.from(d.querySelectorAll(".row:not(.head)")).filter(function (r) { return r.offsetParent; }).length; };
    var before = rows();
    if (only) only.click();
    out.push(["RESULT", root.dataset.ready, root.scrollWidth, root.clientWidth, time.scrollWidth > time.clientWidth, before, rows(), d.querySelectorAll(".row.bad").length, !!only].join(" "));
    f.remove();
  }
  document.body.textContent = out.join("\n");
});
</script>`)
	name := filepath.Join(t.TempDir(), "frames.html")
	if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir="+t.TempDir(), "--virtual-time-budget=10000", "--dump-dom", "file://"+name).Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", browser, err, out)
	}
	got := regexp.MustCompile(`RESULT (\S+) (\d+) (\d+) (\w+) (\d+) (\d+) (\d+) (\w+)`).FindAllStringSubmatch(string(out), -1)
	if len(got) != len(frames) {
		t.Fatalf("%d frames of %d:\n%.2000s", len(got), len(frames), out)
	}
	for i, m := range got {
		t.Log(m[0])
		ready, scroll, width, timeline, before, after, bad, filter := m[1], m[2], m[3], m[4], m[5], m[6], m[7], m[8]
		if ready != "yes" {
			t.Errorf("frame %d: the script of the page did not run to its end", i)
		}
		if scroll != width {
			t.Errorf("frame %d: the page is %s pixels wide on a screen of %s", i, scroll, width)
		}
		if frames[i].page == long && timeline != "true" {
			t.Errorf("frame %d: the timeline does not scroll in itself", i)
		}
		if filter == "true" && (after != bad || before == after) || filter != "true" && frames[i].page == short {
			t.Errorf("frame %d: the filter leaves %s of %s points, %s have violations", i, after, before, bad)
		}
	}
}
