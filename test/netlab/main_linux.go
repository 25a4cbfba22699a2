// SPDX-License-Identifier: GPL-3.0-or-later

package netlab

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

// clientVariable marks a process that Main has started.
const clientVariable = "SUBMISSION_NETLAB_CLIENT"

func inClient() bool { return os.Getenv(clientVariable) != "" }

// Main is for a TestMain: os.Exit(netlab.Main(m)). It runs the tests in a
// process whose network is the client of the laboratory, goroutines and all,
// and returns its exit code. One laboratory at a time can be open there. Whoever
// is not root stays where they are.
func Main(m *testing.M) int {
	if inClient() || os.Geteuid() != 0 {
		// These tests wait for the network, not for a processor. Whoever sets
		// -parallel is heard: flags are read later.
		if err := flag.Set("test.parallel", "64"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}
	// The child is to end with this thread, so the thread must not end before.
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), clientVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "the tests in a network namespace of their own:", err)
	return 1
}
