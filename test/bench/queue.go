// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"os"

	"submission/test/smtpd"
)

// place is where an outbox is.
type place struct{ name, dir string }

// places are a directory on a disk, and one in memory where there is one.
func places() ([]place, error) {
	if err := os.MkdirAll("test/.run", 0o755); err != nil {
		return nil, err
	}
	list := []place{{"disk", "test/.run"}}
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		list = append(list, place{"tmpfs", "/dev/shm"})
	}
	return list, nil
}

// queue measures many messages of 10 KB that wait for a server: how fast they
// are put there and sent, and for how long Emacs doesn't listen meanwhile.
func (b *suite) queue() error {
	b.section("Waiting messages of 10 KB, to a server next door, without TLS: messages a second; while they are sent, milliseconds for which Emacs doesn't listen, MB")
	b.note("msmtp and smtpmail-async have no queue in Emacs.")
	places, err := places()
	if err != nil {
		return err
	}
	for _, at := range places {
		rows := make([]row, 6)
		for i, r := range []row{
			{which: "queued", unit: "messages/s", rate: true},
			{which: "sent", unit: "messages/s", rate: true},
			{which: "deaf, longest", unit: "ms"},
			{which: "deaf, in all", unit: "ms"},
			{which: "memory of Emacs", unit: "MB"},
			{which: "connections", unit: "connections"},
		} {
			r.part, r.rtt, r.count, r.measure, r.cells = "queue", -1, 1000, at.name, make(map[sender]cell)
			rows[i] = r
		}
		for _, who := range []sender{ours, chunking, smtpmail, mew} {
			count := 1000
			if who == smtpmail && at.name == "disk" || who == mew {
				count = 100 // they take a second for some ten, wherever it is
			}
			if !b.peers.has(who) || at.name == "disk" && (who == mew || who == chunking) {
				continue
			}
			q, err := b.queueOf(who, at, count)
			if err != nil {
				return err
			}
			mark := ""
			if count != 1000 {
				mark = "*"
				b.note("*: with 100 messages.")
			}
			for i, f := range []float64{q.queued, q.sent, q.longest * 1000, q.total * 1000, q.memory, float64(q.connections)} {
				if i > 1 && mark != "" {
					continue // no figure for each message
				}
				rows[i].cells[who] = cell{figure: f, mark: mark}
			}
		}
		for _, r := range rows {
			b.add(fmt.Sprintf("%8d   %-7s%s", r.count, at.name, r.which), r)
		}
		if at.name == "disk" && len(places) > 1 {
			continue // to have an end: the disk is no slower for many
		}
		// Once more with 1,000: the machine may have other work, too.
		for _, n := range []int{10_000, 1000} {
			q, err := b.queueOf(ours, at, n)
			if err != nil {
				return err
			}
			for i, f := range []float64{q.queued, q.sent, q.longest * 1000, q.total * 1000, q.memory} {
				r := rows[i]
				r.count, r.cells = n, map[sender]cell{ours: {figure: f}}
				b.add(fmt.Sprintf("%8d   %-7s%s", n, at.name, r.which), r)
			}
		}
	}
	return nil
}

// queued is what a queue took: messages a second, seconds, MB.
type queued struct {
	queued, sent, longest, total, memory float64
	connections                          int
}

func (b *suite) queueOf(who sender, at place, count int) (queued, error) {
	behaviour := smtpd.Behaviour{EHLO: []string{"PIPELINING", "8BITMIME"}}
	if who == chunking {
		behaviour.EHLO = append(behaviour.EHLO, "CHUNKING")
	}
	server, err := smtpd.Start(smtpd.Script{Listen: []smtpd.Listen{{Closed: true}}, Behaviour: behaviour})
	if err != nil {
		return queued{}, err
	}
	defer server.Close()
	l, err := b.newLab(who, server, at.dir, "plain", false)
	if err != nil {
		return queued{}, err
	}
	defer l.close()
	put, err := l.queue(server, "queue", count)
	if err != nil {
		return queued{}, err
	}
	if err := server.Update(smtpd.Script{Behaviour: behaviour}); err != nil {
		return queued{}, err
	}
	sent, err := l.queue(server, "flush", count)
	if err != nil {
		return queued{}, err
	}
	if n := len(server.Messages()); n != count {
		return queued{}, fmt.Errorf("%s: the server has %d messages of %d", who, n, count)
	}
	return queued{
		float64(count) / put["queued"][0], float64(count) / sent["seconds"][0],
		sent["longest"][0], sent["total"][0], sent["memory"][0], len(server.Sessions()),
	}, nil
}

// queue runs queue.el.
func (l *lab) queue(server *smtpd.Server, what string, count int) (figures, error) {
	f, err := l.emacs(server.Port(""), "queue.el", fmt.Sprintf("bench-what '%s bench-count %d", what, count), nil)
	if err == nil && (len(f["queued"]) == 0 && what != "flush" || len(f["seconds"]) == 0) {
		err = fmt.Errorf("%s: no figures", l.who)
	}
	return f, err
}
