// SPDX-License-Identifier: GPL-3.0-or-later

// Command bench counts round trips and measures the seconds they take, beside
// msmtp, smtpmail and smtpmail-async in the same run (see doc/benchmarks.md);
// and it measures how long the sending command keeps Emacs, ours beside
// smtpmail in the same run, to a server next door and to one 100 ms away, for
// messages of 10 KB, 1 MB and 25 MB; what it costs to know exactly how a
// connection ended, beside a plain dialer; and how long the paper's cases take.
// Read the ratios: the seconds are those of the machine. Run it from the top of
// the project: make bench. With the names of some parts it measures only those.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"submission/test/delay"
	"submission/test/smtpd"
)

var sizes = []int{10_000, 1_000_000, 25_000_000}

const runs = 3

func main() {
	for _, part := range []struct {
		name    string
		measure func() error
	}{{"trips", trips}, {"emacs", bench}, {"queue", queue}, {"connecting", connecting}, {"cases", cases}} {
		if len(os.Args) > 1 && !slices.Contains(os.Args[1:], part.name) {
			continue
		}
		if err := part.measure(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
}

func bench() error {
	store, err := os.MkdirTemp("", "submission-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(store)
	server, err := smtpd.Start(smtpd.Script{Store: store, Behaviour: smtpd.Behaviour{Names: []string{"127.0.0.1"}}})
	if err != nil {
		return err
	}
	defer server.Close()

	fmt.Printf("How long the sending command keeps Emacs, in milliseconds (median of %d)\n\n", runs)
	fmt.Printf("%-12s %9s %12s %12s %9s   %s\n", "delay", "message", "smtpmail", "submission", "ratio", "file and submit alone; memory")
	for _, oneWay := range []time.Duration{0, 100 * time.Millisecond} {
		proxy, err := delay.Start(server.Addr(""), oneWay)
		if err != nil {
			return err
		}
		figures := make(map[string][]float64)
		for _, who := range []string{"smtpmail", "submission"} {
			if err := measure(figures, who, proxy.Port(), server); err != nil {
				return err
			}
		}
		proxy.Close()
		for _, size := range sizes {
			theirs, ours := median(figures, "smtpmail send", size), median(figures, "submission send", size)
			fmt.Printf("%-12s %9s %12.1f %12.1f %8.0fx   %.1f ms; %+.1f MB\n",
				oneWay.String()+" each", text(size), theirs*1000, ours*1000, theirs/ours,
				median(figures, "submission submit", size)*1000, slices.Max(figures[fmt.Sprint("submission memory ", size)]))
		}
	}
	return nil
}

// measure starts an Emacs for one sender and adds what it prints to figures.
func measure(figures map[string][]float64, who string, port int, server *smtpd.Server) error {
	home, err := os.MkdirTemp("", "submission-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	ca, err := server.CA().Write(home)
	if err != nil {
		return err
	}
	settings := fmt.Sprintf("(setq bench-port %d bench-who '%s bench-sizes '%s bench-runs %d gnutls-trustfiles '(%q) auth-sources nil)",
		port, who, strings.NewReplacer("[", "(", "]", ")").Replace(fmt.Sprint(sizes)), runs, ca)
	cmd := exec.Command(emacsProgram(), "-Q", "--batch", "-L", "lisp", "--eval", settings,
		"-l", filepath.Join("test", "bench", "bench.el"))
	cmd.Env = append(os.Environ(), "HOME="+home)
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", who, err, errors.String())
	}
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		var w, what string
		var size int
		var seconds float64
		if _, err := fmt.Sscan(lines.Text(), &w, &what, &size, &seconds); err != nil {
			return fmt.Errorf("%s printed %q", who, lines.Text())
		}
		key := fmt.Sprint(w, " ", what, " ", size)
		figures[key] = append(figures[key], seconds)
	}
	return nil
}

func emacsProgram() string {
	if emacs := os.Getenv("EMACS"); emacs != "" {
		return emacs
	}
	return "emacs"
}

func median(figures map[string][]float64, what string, size int) float64 {
	f := slices.Sorted(slices.Values(figures[fmt.Sprint(what, " ", size)]))
	if len(f) == 0 {
		return 0
	}
	return f[len(f)/2]
}

func text(bytes int) string {
	if bytes >= 1_000_000 {
		return fmt.Sprintf("%d MB", bytes/1_000_000)
	}
	return fmt.Sprintf("%d KB", bytes/1000)
}
