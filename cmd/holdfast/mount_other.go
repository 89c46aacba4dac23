//go:build !linux

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

var errLinuxOnly = errors.New("mounting is for Linux only")

func runMount(*cobra.Command, *mountArgs) error { return errLinuxOnly }

func mountedImage(arg string) string { return arg }

func runUmount(string, bool, bool) error { return errLinuxOnly }

func (o *mountOptions) asMounted(string) error { return errLinuxOnly }
