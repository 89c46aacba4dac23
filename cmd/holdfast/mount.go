package main

import (
	"cmp"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// mountArgs is the command line of mount.
type mountArgs struct {
	image, dir string
	options    mountOptions
	ordering   string // file of the ordering log; "": none
	daemon     bool
	fake       bool // everything but the mount, mount(8) -f
}

func mountCommand(helper string) *cobra.Command {
	var m mountArgs
	var lists []string
	var readOnly, readWrite, sloppy bool
	var ignored string
	c := &cobra.Command{
		Use:   "mount IMAGE DIR",
		Short: "Mount an image (Linux, FUSE)",
		Long: `Mount an image on a directory and serve it until it is unmounted (umount DIR), or until
SIGINT, SIGTERM or SIGHUP; then everything is durable and the exit status is 0. umount refuses a mount that is
in use; a signal detaches it, and who still has files open gets errors. With --daemon the command
returns when the mount is there. root mounts without help, others need fusermount3.

fsync makes everything before it durable; the rest is committed at least every 5 seconds.

Options of -o, separated by commas:
  ro rw              changes are refused, or not; an image that cannot be written is mounted ro
  allow_other        others than who mounts may come in
  commit=N           commit at least every N seconds (5)
  sync               every change is durable before the call returns
  writeback          the kernel keeps written pages back: faster, but what a crash leaves of data that
                     was not fsynced is no longer the order in which it was written
  ordering_log=FILE  write down in which order the requests took effect, as --ordering-log
  offset=SIZE        where in the file the image begins, as --offset
  mirror=FILE        the second file of a mirror, as --mirror; degraded opens one without the other
  dev suid noexec    device nodes and set-user-ID bits are ignored unless these are given
  remount            change a mount that is there: ro, rw, dev, suid, exec and their opposites
  default_permissions noatime  are always so; relatime, strictatime, defaults, auto, user, nofail and x-...
                     are accepted, and have no effect

--ordering-log FILE is for those who test what a crash leaves: what the image holds after one is what a
beginning of that log makes of what it held before, with all that is said to be durable. A line is a JSON
object; go doc holdfast/fusefs Ordered describes it. Changes wait for one another and for the log.

Called as mount.holdfast or fuse.holdfast (a link in /sbin) it is the helper of mount(8), which needs it for
"mount -t holdfast" and for "mount -o remount DIR", and returns when the mount is there;
allow_other, dev and suid then hold for root unless noallow_other, nodev or nosuid are given.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			m.image, m.dir = args[0], args[1]
			m.options.commit = defaultCommit
			if helper != "" && os.Geteuid() == 0 {
				// As any other file system that root mounts; for users mount(8) says nosuid and nodev itself.
				m.options.allowOther, m.options.dev, m.options.suid = true, true, true
			}
			if asksFor(lists, "remount") {
				if err := m.options.asMounted(m.dir); err != nil {
					return err
				}
			}
			for _, list := range lists {
				if err := m.options.parse(list); err != nil {
					return err
				}
			}
			if err := mirrorUsage(cmd); err != nil { // options name them, too
				return err
			}
			if readOnly {
				m.options.readOnly = true
			}
			if readWrite {
				m.options.readOnly = false
			}
			m.ordering = cmp.Or(m.ordering, m.options.ordering)
			m.daemon = m.daemon || helper != ""
			return runMount(cmd, &m)
		},
	}
	c.Flags().StringArrayVarP(&lists, "options", "o", nil, "mount options, separated by commas")
	c.Flags().BoolVarP(&readOnly, "ro", "r", false, "refuse changes, as -o ro")
	c.Flags().BoolVarP(&readWrite, "rw", "w", false, "allow changes, as -o rw")
	c.Flags().StringVar(&m.ordering, "ordering-log", "", "write the order in which requests take effect to `FILE`")
	c.Flags().BoolVar(&m.daemon, "daemon", false, "return when the mount is there; the server goes on in the background")
	if helper != "" { // what mount(8) says to its helpers
		c.Flags().BoolVarP(&m.fake, "fake", "f", false, "do everything but the mount")
		c.Flags().BoolVarP(&sloppy, "sloppy", "s", false, "ignore unknown options")
		c.Flags().BoolP("no-mtab", "n", false, "accepted")
		c.Flags().BoolP("verbose", "v", false, "accepted")
		c.Flags().StringVarP(&ignored, "types", "t", "", "accepted")
		c.Flags().StringVarP(&ignored, "namespace", "N", "", "accepted")
		run := c.RunE
		c.RunE = func(cmd *cobra.Command, args []string) error {
			m.options.sloppy = sloppy
			return run(cmd, args)
		}
	}
	return c
}

// defaultCommit is how long a change may wait for its commit.
const defaultCommit = 5 * time.Second

// noCommit is what follows for a mount whose volume no longer commits.
func noCommit(image string, err error) error {
	return fmt.Errorf("%s: changes are refused from now on: %w", image, err)
}
