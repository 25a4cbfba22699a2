// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"submission/test/smtpd"
)

// syncs counts how often a message waits for the disk, from the command that
// sends it until nothing is left of it here: sent at once to a server that is
// there, and put into the queue and sent from there. This is another run, since
// counting slows everything down.
func (b *suite) syncs() error {
	b.section("Syncs a message, on a disk")
	strace, err := findStrace()
	if err != nil {
		b.note("Syncs are not counted, as strace is missing: %v", err)
		return nil
	}
	places, err := places()
	if err != nil {
		return err
	}
	for _, what := range []string{"sent at once", "queued, then sent"} {
		for _, count := range []int{1, 100, 1000} {
			r := row{part: "syncs", rtt: -1, count: count, which: what, measure: "syncs a message", cells: make(map[sender]cell)}
			for _, who := range []sender{ours, chunking, smtpmail, mew} {
				if !b.peers.has(who) || count > 100 && who != ours || who == mew && what == "sent at once" {
					continue
				}
				n, err := b.syncsOf(who, places[0], count, what == "sent at once", strace)
				if err != nil {
					return err
				}
				r.cells[who] = cell{figure: float64(n) / float64(count)}
			}
			b.add(fmt.Sprintf("%8d   %s", count, what), r)
		}
	}
	b.note("smtpmail syncs nothing where it has no queue: what it is sending then is lost with Emacs.")
	return nil
}

func findStrace() (string, error) {
	if found, err := exec.LookPath("strace"); err == nil {
		return found, nil
	}
	dir, err := unpack("strace")
	return filepath.Join(dir, "usr/bin/strace"), err
}

func (b *suite) syncsOf(who sender, at place, count int, atOnce bool, strace string) (int, error) {
	behaviour := smtpd.Behaviour{EHLO: []string{"PIPELINING", "8BITMIME"}}
	if who == chunking {
		behaviour.EHLO = append(behaviour.EHLO, "CHUNKING")
	}
	server, err := smtpd.Start(smtpd.Script{Listen: []smtpd.Listen{{Closed: !atOnce}}, Behaviour: behaviour})
	if err != nil {
		return 0, err
	}
	defer server.Close()
	l, err := b.newLab(who, server, at.dir, "plain", false)
	if err != nil {
		return 0, err
	}
	defer l.close()
	calls := filepath.Join(l.home.Dir, "calls")
	l.wrapper = []string{strace, "-f", "-q", "--seccomp-bpf", "-o", calls,
		"-e", "trace=fsync,fdatasync,sync_file_range,msync,sync,syncfs,openat"}
	acts := []string{"queue", "flush"}
	if atOnce {
		acts = []string{"send"}
	}
	n := 0
	for _, act := range acts {
		if act == "flush" {
			if err := server.Update(smtpd.Script{Behaviour: behaviour}); err != nil {
				return 0, err
			}
		}
		if _, err := l.queue(server, act, count); err != nil {
			return 0, err
		}
		text, err := os.ReadFile(calls)
		if err != nil {
			return 0, err
		}
		n += len(syncCall.FindAll(text, -1))
	}
	if got := len(server.Messages()); got != count {
		return 0, fmt.Errorf("%s: the server has %d messages of %d", who, got, count)
	}
	return n, nil
}

// syncCall is a line of strace's, about a call that waits for the disk or opens
// a file whose every write does.
var syncCall = regexp.MustCompile(`(?m)^\d+ +(fsync|fdatasync|sync_file_range|msync|sync|syncfs)\(.*|^\d+ +openat\(.*O_D?SYNC.*`)
