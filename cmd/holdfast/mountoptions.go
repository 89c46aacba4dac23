package main

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// mountOptions are those of -o.
type mountOptions struct {
	readOnly, allowOther, dev, suid, noExec, sync, writeback bool

	remount bool // change a mount that is there

	commit   time.Duration // longest time without a commit
	ordering string        // file of the ordering log; "": none
	sloppy   bool          // unknown options are no error
}

// asksFor is whether one of the lists of options names an option.
func asksFor(lists []string, option string) bool {
	for _, list := range lists {
		if slices.Contains(strings.Split(list, ","), option) {
			return true
		}
	}
	return false
}

// parse takes a list as mount(8) passes it; later options win.
func (o *mountOptions) parse(list string) error {
	for name := range strings.SplitSeq(list, ",") {
		if err := o.set(name); err != nil {
			return err
		}
	}
	return nil
}

func (o *mountOptions) set(option string) error {
	name, value, valued := strings.Cut(option, "=")
	switch {
	case strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-") || name == "comment":
		return nil
	case name == "commit":
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil || n == 0 {
			return usage("option commit=%s: a number of seconds, 1 at least, is needed", value)
		}
		o.commit = time.Duration(n) * time.Second
		return nil
	case o.remount && (name == "user_id" || name == "group_id" || name == "max_read"):
		return nil // mount(8) says again what the mount has
	case name == "ordering_log" && value != "":
		o.ordering = value
		return nil
	case name == "mirror" && value != "":
		mirrorName = value
		return nil
	case name == "offset":
		n, err := parseSize(value)
		if err != nil {
			return usage("option offset=%s: %v", value, err)
		}
		imageOffset.n, offsetGiven = n, true
		return nil
	case valued:
		return o.unknown(option)
	}
	switch name {
	case "remount":
		o.remount = true
	case "degraded":
		degraded = true
	case "ro":
		o.readOnly = true
	case "rw":
		o.readOnly = false
	case "allow_other":
		o.allowOther = true
	case "noallow_other":
		o.allowOther = false
	case "dev":
		o.dev = true
	case "nodev":
		o.dev = false
	case "suid":
		o.suid = true
	case "nosuid":
		o.suid = false
	case "exec":
		o.noExec = false
	case "noexec":
		o.noExec = true
	case "sync", "dirsync":
		o.sync = true
	case "async", "nosync":
		o.sync = false
	case "writeback":
		o.writeback = true
	case "nowriteback":
		o.writeback = false
	case "", "default_permissions", "noatime", "atime", "relatime", "norelatime", "strictatime", "nostrictatime", "nodiratime",
		"diratime", "lazytime", "nolazytime", "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group",
		"nofail", "_netdev", "silent", "loud", "iversion", "noiversion", "symfollow", "nomand":
		// so anyway, or for mount(8) alone
	default:
		return o.unknown(option)
	}
	return nil
}

func (o *mountOptions) unknown(option string) error {
	if o.sloppy {
		return nil
	}
	return usage("unknown mount option %q", option)
}
