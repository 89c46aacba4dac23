//go:build !linux

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func runMount(*cobra.Command, *mountArgs) error {
	return errors.New("mounting is for Linux only")
}
