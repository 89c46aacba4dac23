package main

import "github.com/spf13/cobra"

func umountCommand(helper string) *cobra.Command {
	var lazy, force bool
	var ignored string
	c := &cobra.Command{
		Use:   "umount DIR",
		Short: "Unmount an image, and wait until it is durable and free",
		Long: `Unmount the image that is mounted on a directory. umount(8) does it as well, but returns while the server
still commits the last changes; this command returns when they are durable and the image is free for others.
(Commands of holdfast that open the image wait for that by themselves.)

Called as umount.holdfast or umount.fuse.holdfast it is the helper of umount(8).`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runUmount(args[0], lazy, force) },
	}
	c.Flags().BoolVarP(&lazy, "lazy", "l", false, "detach now, clean up when nothing on it is in use any more; does not wait")
	c.Flags().BoolVarP(&force, "force", "f", false, "give up requests that are not answered")
	if helper != "" { // what umount(8) says to its helpers
		c.Flags().BoolP("no-mtab", "n", false, "accepted")
		c.Flags().BoolP("verbose", "v", false, "accepted")
		c.Flags().BoolP("read-only", "r", false, "accepted")
		c.Flags().StringVarP(&ignored, "types", "t", "", "accepted")
		c.Flags().StringVarP(&ignored, "namespace", "N", "", "accepted")
	}
	return c
}
