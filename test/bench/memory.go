// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// memory measures by how much the most memory that Emacs has had grows while
// it sends a message, and adds the most that the programs have had which it
// started meanwhile.
func (b *suite) memory() error {
	b.section("Memory in MB that sending one message takes beyond the message in its buffer, other programs that Emacs starts included")
	for _, m := range []struct {
		bytes int
		file  bool
	}{{25_000_000, false}, {1_000_000, true}, {100_000_000, true}} {
		r := row{part: "memory", rtt: -1, count: m.bytes, which: "buffer", measure: "memory", unit: "MB", cells: make(map[sender]cell)}
		label := "a buffer"
		if m.file {
			r.which, label = "file", "a file, with submission-submit"
		}
		for _, who := range senders {
			if !b.peers.hasTLS(who) || who == mew || who == chunking || m.file && who != ours {
				continue
			}
			var grown []float64
			for range map[bool]int{false: 1, true: 3}[m.file] {
				n, err := b.memoryOf(who, m.bytes, m.file)
				if err != nil {
					return err
				}
				grown = append(grown, n)
			}
			r.cells[who] = cell{figure: median(grown)}
		}
		b.add(fmt.Sprintf("%8s   %s", text(m.bytes), label), r)
	}
	b.note("Mew's memory is not measured: with 25 MB it would take two minutes. Only ours sends a file.")
	return nil
}

func (b *suite) memoryOf(who sender, bytes int, file bool) (float64, error) {
	server, stop, err := b.server()
	if err != nil {
		return 0, err
	}
	defer stop()
	l, err := b.newLab(who, server, "", "starttls", false)
	if err != nil {
		return 0, err
	}
	defer l.close()
	lisp := "nil"
	if file {
		name := filepath.Join(l.home.Dir, "message")
		lisp = strconv.Quote(name)
		line := strings.Repeat("x", 75) + "\n"
		message := "From: ann@example.org\nTo: bob@example.org\nSubject: Figures\n\n" + strings.Repeat(line, bytes/len(line))
		if err := os.WriteFile(name, []byte(message), 0o600); err != nil {
			return 0, err
		}
	}
	var others float64
	var watching sync.WaitGroup
	ended := make(chan struct{})
	f, err := l.emacs(server.Port(""), "memory.el", fmt.Sprintf("bench-bytes %d bench-file %s", bytes, lisp), func(pid int) {
		watching.Go(func() { others = peaks(pid, ended) })
	})
	close(ended)
	watching.Wait()
	if err != nil {
		return 0, err
	}
	if n := len(server.Messages()); n != 1 {
		return 0, fmt.Errorf("%s, %d bytes: the server has %d messages", who, bytes, n)
	}
	return median(f["memory"]) + others, nil
}

// peaks returns the sum, in MB, of the most memory that each descendant of a
// process has been seen to have had.
func peaks(ancestor int, ended <-chan struct{}) (sum float64) {
	most := make(map[int]float64)
	for again := time.NewTicker(20 * time.Millisecond); ; {
		select {
		case <-again.C:
		case <-ended:
			again.Stop()
			for _, peak := range most {
				sum += peak
			}
			return sum
		}
		parents, peaks := make(map[int]int), make(map[int]float64)
		files, _ := filepath.Glob("/proc/[0-9]*/status")
		for _, file := range files {
			text, _ := os.ReadFile(file)
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			for line := range strings.Lines(string(text)) {
				name, value, _ := strings.Cut(line, ":")
				n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
				switch name {
				case "PPid":
					parents[pid] = n
				case "VmHWM":
					peaks[pid] = float64(n) / 1024
				}
			}
		}
		for pid := range parents {
			for p := parents[pid]; p > 1; p = parents[p] {
				if p == ancestor {
					most[pid] = max(most[pid], peaks[pid])
				}
			}
		}
	}
}
