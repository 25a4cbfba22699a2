// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"submission/test/delay"
	"submission/test/smtpd"
)

var sizes = []int{10_000, 1_000_000, 25_000_000}

// mewPatience is the size of message above which Mew is not waited for.
const mewPatience = 2_000_000

// stall measures how long Emacs doesn't listen while a message is sent.
func (b *suite) stall() error {
	b.section("Milliseconds for which Emacs doesn't listen, with STARTTLS: in the command that sends, and in all until the message is sent")
	b.note("The first message of 10 KB is the first one of that Emacs; the further ones are the middle one of three, the larger ones of others than ours only one.")
	b.note("Mew hands on 200 KB a second at most: with 25 MB only its command is measured.")
	for _, at := range []struct {
		rtt   time.Duration
		sizes []int
	}{{0, sizes}, {200 * time.Millisecond, sizes[:2]}} {
		found := make(map[sender]figures)
		for _, who := range senders {
			if who == chunking || !b.peers.hasTLS(who) {
				continue
			}
			f, err := b.stallOf(who, at.rtt, at.sizes)
			if err != nil {
				return err
			}
			found[who] = f
		}
		for i, name := range append([]string{"first"}, words(at.sizes)...) {
			size := at.sizes[max(i-1, 0)]
			for _, what := range []string{"command", "total"} {
				r := row{part: "stall", rtt: at.rtt, count: size, which: map[bool]string{true: "first", false: "further"}[i == 0],
					measure: what, unit: "ms", cells: make(map[sender]cell)}
				for who, f := range found {
					if list := f[what+"-"+name]; len(list) > 0 {
						r.cells[who] = cell{figure: median(list) * 1000}
					}
				}
				b.add(fmt.Sprintf("%8v%8s   %-10s%s", at.rtt, text(size), r.which, what), r)
			}
		}
	}
	return nil
}

func (b *suite) stallOf(who sender, rtt time.Duration, sizes []int) (figures, error) {
	server, stop, err := b.server()
	if err != nil {
		return nil, err
	}
	defer stop()
	proxy, err := delay.Start(server.Addr(""), rtt/2)
	if err != nil {
		return nil, err
	}
	defer proxy.Close()
	l, err := b.newLab(who, server, "", "starttls", false)
	if err != nil {
		return nil, err
	}
	defer l.close()
	runs, patience := 1, sizes[len(sizes)-1]
	switch who {
	case ours:
		runs = 3
	case mew:
		patience = mewPatience
	}
	f, err := l.emacs(proxy.Port(), "stall.el", fmt.Sprintf("bench-sizes '(%s) bench-runs %d bench-patience %d",
		strings.Join(words(sizes), " "), runs, patience), nil)
	want := 0
	for name, list := range f {
		if strings.HasPrefix(name, "total") {
			want += len(list)
		}
	}
	if n := len(server.Messages()); err == nil && n < want {
		err = fmt.Errorf("%s: the server has %d messages of %d", who, n, want)
	}
	return f, err
}

// server starts one that keeps what it gets in files.
func (b *suite) server() (*smtpd.Server, func(), error) {
	store, err := os.MkdirTemp("", "submission-bench-")
	if err != nil {
		return nil, nil, err
	}
	server, err := smtpd.Start(smtpd.Script{Store: store, Behaviour: smtpd.Behaviour{
		Names:   []string{"127.0.0.1"},
		EHLO:    []string{"PIPELINING", "SIZE 200000000", "8BITMIME", "STARTTLS"},
		EHLOTLS: []string{"PIPELINING", "SIZE 200000000", "8BITMIME"},
	}})
	if err != nil {
		os.RemoveAll(store)
		return nil, nil, err
	}
	return server, func() { server.Close(); os.RemoveAll(store) }, nil
}

func words(numbers []int) []string { return strings.Fields(strings.Trim(fmt.Sprint(numbers), "[]")) }

func text(bytes int) string {
	if bytes >= 1_000_000 {
		return fmt.Sprintf("%d MB", bytes/1_000_000)
	}
	return fmt.Sprintf("%d KB", bytes/1000)
}
