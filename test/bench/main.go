// SPDX-License-Identifier: GPL-3.0-or-later

// Command bench measures the sending of mail from Emacs, ours beside msmtp,
// smtpmail, smtpmail-async and Mew 6.8 on the same server in the same run:
// round trips and seconds, how long Emacs doesn't listen, memory, and many
// messages that wait. It prints one table, holds it against what is wanted, and
// writes it as CSV; doc/benchmarks.md tells how to read it. Besides, it measures
// what it costs to know exactly how a connection ended, and how long the paper's
// cases take. Read the ratios: the seconds are those of the machine. Run it from
// the top of the project: make bench. With the names of some parts it measures
// only those.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"submission/test/batch"
)

func main() {
	if err := bench(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(only []string) error {
	start := time.Now()
	b := &suite{peers: findPeers()}
	fmt.Printf("On %s.\n", machine())
	for _, part := range []struct {
		name    string
		measure func() error
	}{
		{"trips", b.trips}, {"stall", b.stall}, {"memory", b.memory}, {"queue", b.queue}, {"syncs", b.syncs},
		{"", b.end}, {"connecting", connecting}, {"cases", cases},
	} {
		if len(only) > 0 && part.name != "" && !slices.Contains(only, part.name) {
			continue
		}
		if err := part.measure(); err != nil {
			return err
		}
	}
	fmt.Printf("\nAll in %v.\n", time.Since(start).Round(time.Second))
	return nil
}

// machine says what the figures were measured on.
func machine() string {
	model := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	emacs, _ := exec.Command(batch.Program(), "--version").Output()
	version, _, _ := strings.Cut(string(emacs), "\n")
	return fmt.Sprintf("%d × %s, %s, %s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.Version(), version)
}

// quietly runs a command; the error has what it said.
func quietly(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}

// median returns the middle one; of none it is 0.
func median(figures []float64) float64 {
	if len(figures) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(figures))[len(figures)/2]
}
