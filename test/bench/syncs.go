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

// syncs counts how often a message waits for the disk: when it is put into the
// queue, the server being down; when it is sent from there; and when it is sent at
// once, from the command until nothing is left of it here. This is another run,
// since counting slows everything down.
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
	for _, acts := range [][]string{{"queue", "flush"}, {"send"}} {
		for _, count := range []int{1, 100, 1000} {
			rows := make([]row, len(acts))
			for i, act := range acts {
				rows[i] = row{part: "syncs", rtt: -1, count: count, which: syncWords[act], measure: "syncs a message", cells: make(map[sender]cell)}
			}
			for _, who := range []sender{ours, chunking, smtpmail, mew} {
				if !b.peers.has(who) || count > 100 && who != ours || who == mew && acts[0] == "send" {
					continue
				}
				counts, err := b.syncsOf(who, places[0], count, acts, strace)
				if err != nil {
					return err
				}
				for i, n := range counts {
					rows[i].cells[who] = cell{figure: float64(n) / float64(count)}
				}
			}
			for _, r := range rows {
				b.add(fmt.Sprintf("%8d   %s", count, r.which), r)
			}
		}
	}
	b.note("To queue a message, its bytes, its draft, its state and their names are synced, and what came of the try.")
	b.note("smtpmail syncs nothing where it has no queue: what it is sending then is lost with Emacs.")
	return nil
}

// syncWords say what is done with the messages.
var syncWords = map[string]string{"queue": "put into the queue", "flush": "sent from the queue", "send": "sent at once"}

func findStrace() (string, error) {
	if found, err := exec.LookPath("strace"); err == nil {
		return found, nil
	}
	dir, err := unpack("strace")
	return filepath.Join(dir, "usr/bin/strace"), err
}

// syncsOf returns how often each of the acts waited for the disk, for so many
// messages.
func (b *suite) syncsOf(who sender, at place, count int, acts []string, strace string) ([]int, error) {
	atOnce := acts[0] == "send"
	behaviour := smtpd.Behaviour{EHLO: []string{"PIPELINING", "8BITMIME"}}
	if who == chunking {
		behaviour.EHLO = append(behaviour.EHLO, "CHUNKING")
	}
	server, err := smtpd.Start(smtpd.Script{Listen: []smtpd.Listen{{Closed: !atOnce}}, Behaviour: behaviour})
	if err != nil {
		return nil, err
	}
	defer server.Close()
	l, err := b.newLab(who, server, at.dir, "plain", false)
	if err != nil {
		return nil, err
	}
	defer l.close()
	calls := filepath.Join(l.home.Dir, "calls")
	l.wrapper = []string{strace, "-f", "-q", "--seccomp-bpf", "-o", calls,
		"-e", "trace=fsync,fdatasync,sync_file_range,msync,sync,syncfs,openat"}
	var counts []int
	for _, act := range acts {
		if act == "flush" {
			if err := server.Update(smtpd.Script{Behaviour: behaviour}); err != nil {
				return nil, err
			}
		}
		if _, err := l.queue(server, act, count); err != nil {
			return nil, err
		}
		text, err := os.ReadFile(calls)
		if err != nil {
			return nil, err
		}
		counts = append(counts, len(syncCall.FindAll(text, -1)))
	}
	if got := len(server.Messages()); got != count {
		return nil, fmt.Errorf("%s: the server has %d messages of %d", who, got, count)
	}
	return counts, nil
}

// syncCall is a line of strace's, about a call that waits for the disk or opens
// a file whose every write does.
var syncCall = regexp.MustCompile(`(?m)^\d+ +(fsync|fdatasync|sync_file_range|msync|sync|syncfs)\(.*|^\d+ +openat\(.*O_D?SYNC.*`)
