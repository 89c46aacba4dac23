package main

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// helperName is the annotation of the root command that says as what the program was called.
const helperName = "helper"

// asHelper is the command line that the name of the program stands for: mkfs.holdfast,
// fsck.holdfast, mount.holdfast and umount.holdfast, as mkfs(8), fsck(8), mount(8) and umount(8) call them,
// are the commands of these names; the type of a mount is fuse.holdfast. For that
// type mount.fuse(8), where it is installed, calls the program itself: holdfast IMAGE DIR -o OPTIONS.
func asHelper(argv []string) (helper string, args []string) {
	if len(argv) == 0 {
		return "", nil
	}
	name := strings.TrimSuffix(filepath.Base(argv[0]), ".exe")
	switch name {
	case "mkfs.holdfast", "fsck.holdfast":
		verb, _, _ := strings.Cut(name, ".")
		return name, append([]string{verb}, argv[1:]...)
	case "mount.holdfast", "fuse.holdfast", "mount.fuse.holdfast":
		return name, append([]string{"mount"}, argv[1:]...)
	case "umount.holdfast", "umount.fuse.holdfast":
		return name, append([]string{"umount"}, argv[1:]...)
	}
	if len(argv) == 5 && filepath.IsAbs(argv[1]) && argv[3] == "-o" { // no command is called so
		return "mount.fuse", append([]string{"mount"}, argv[1:]...)
	}
	return "", argv[1:]
}

// commandName is how messages call a command.
func commandName(cmd *cobra.Command) string {
	if name := cmd.Root().Annotations[helperName]; name != "" {
		return name
	}
	return cmd.CommandPath()
}
