package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// A Go program cannot fork, so the server in the background is this program once more, with a pipe on which
// it says that it is ready, and nothing else; what it writes to stderr before that is passed on.

// readyEnv says to the program that it is the one in the background.
const readyEnv = "HOLDFAST_BACKGROUND"

// readyFD is its end of the pipe.
const readyFD = 3

func inBackground() bool { return os.Getenv(readyEnv) != "" }

// background starts the server and returns when it is ready; its exit status is ours if it does not get there.
func background() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	errR, errW, err := os.Pipe()
	if err != nil {
		return errors.Join(err, w.Close())
	}
	defer errR.Close()
	cmd := exec.Command(self)
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), readyEnv+"=1")
	cmd.Stderr = errW
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	errW.Close()
	if err != nil {
		return err
	}
	said, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if len(said) > 0 {
		return cmd.Process.Release()
	}
	text, _ := io.ReadAll(errR)
	err = cmd.Wait()
	var ee *exec.ExitError
	if !errors.As(err, &ee) {
		return errors.New("the server in the background ended before it was ready")
	}
	_, _ = os.Stderr.Write(bytes.TrimLeft(text, "\n"))
	status := exitFailure
	if s := ee.ExitCode(); s > 0 {
		status = s
	}
	return &statusError{status, nil}
}

// ready says to who waits that the mount is there; then the terminal is let go.
func ready() error {
	if !inBackground() {
		return nil
	}
	if err := os.Chdir("/"); err != nil { // no directory is to be in use by us
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := range 3 {
		if err := syscall.Dup3(int(null.Fd()), fd, 0); err != nil {
			return err
		}
	}
	pipe := os.NewFile(readyFD, "ready")
	_, err = pipe.Write([]byte{1})
	return errors.Join(err, pipe.Close())
}
