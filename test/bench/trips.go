// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"submission/test/delay"
	"submission/test/smtpd"
)

// recipientCounts is to how many recipients the messages go whose round trips
// are counted: two to each, one after the other.
var recipientCounts = []int{1, 10, 100}

var distances = []time.Duration{0, 50 * time.Millisecond, 200 * time.Millisecond}

// A door is a port as servers keep it; its floors are the least round trips to
// the reply to a message, for the first one on a connection and the next.
type door struct {
	name     string
	security string
	user     bool
	first    int
}

var doors = []door{
	{"587", "starttls", true, 9}, // TCP, greeting, EHLO, STARTTLS, TLS, EHLO, AUTH, envelope, message
	{"465", "tls", true, 7},      // TCP, TLS, greeting, EHLO, AUTH, envelope, message
	{"25", "starttls", false, 8}, // as 587, without AUTH
}

// further is the floor for another message on a connection.
const further = 2

// trip is one sender and one door at one distance.
type trip struct {
	who  sender
	door door
	rtt  time.Duration
}

// trips counts round trips and measures the seconds to the final reply.
func (b *suite) trips() error {
	b.section("Round trips, and seconds from connecting to the reply to the message")
	b.note("Seconds at 0 ms are what the machine needs; the floor has none of that.")
	b.note("Mew makes a connection with stunnel that it closes again, to see whether it works, before the first one: both count.")
	all := make(map[trip][][]pair)
	for _, rtt := range distances {
		if err := b.tripsAt(all, rtt); err != nil {
			return err
		}
	}
	for _, door := range doors {
		for _, rtt := range distances {
			for i, n := range recipientCounts {
				for j, which := range []string{"first", "further"} {
					least := []int{door.first, further}[j]
					r := row{
						part: "trips", port: door.name, rtt: rtt, count: n, which: which,
						measure: "to the reply to the message", unit: "s",
						trips: least, floor: rtt.Seconds() * float64(least), cells: make(map[sender]cell),
					}
					for _, who := range senders {
						if runs := all[trip{who, door, rtt}]; len(runs) > 0 {
							r.cells[who] = middlePair(runs, i, j)
						}
					}
					b.add(fmt.Sprintf("%-5s%6v%6d rcpt   %s", door.name, rtt, n, which), r)
				}
			}
		}
	}
	return nil
}

// pair is what the first and the further message took.
type pair [2]cell

func middlePair(runs [][]pair, i, j int) cell {
	var list []cell
	for _, run := range runs {
		list = append(list, run[i][j])
	}
	slices.SortFunc(list, func(a, b cell) int { return int((a.figure - b.figure) * 1e9) })
	return list[len(list)/2]
}

// rivals are those whose seconds are close to each other: they are measured by
// turns and several times.
var rivals = []sender{ours, chunking, msmtp}

// tripsAt measures everybody at one distance. Where the machine's time is all
// there is, there is only one at a time; else all do little but wait, and so
// they do it together.
func (b *suite) tripsAt(all map[trip][][]pair, rtt time.Duration) error {
	times := map[time.Duration]int{0: 3, 50 * time.Millisecond: 5, 200 * time.Millisecond: 3}[rtt]
	var mu sync.Mutex
	var failed error
	measure := func(t trip) {
		if !b.peers.hasTLS(t.who) {
			return
		}
		got, err := b.trip(t)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s on %s, %v: %w", t.who, t.door.name, t.rtt, err))
			return
		}
		all[t] = append(all[t], got)
	}
	others := slices.DeleteFunc(slices.Clone(senders), func(who sender) bool { return slices.Contains(rivals, who) })
	var group sync.WaitGroup
	for _, part := range []struct {
		times int
		who   []sender
	}{{times, rivals}, {1, others}} {
		for _, door := range doors {
			inTurn := func() {
				for range part.times {
					for _, who := range part.who {
						measure(trip{who, door, rtt})
					}
				}
			}
			switch {
			case rtt == 0:
				inTurn()
			case part.times > 1:
				group.Go(inTurn)
			default:
				for _, who := range part.who {
					group.Go(func() { measure(trip{who, door, rtt}) })
				}
			}
		}
	}
	group.Wait()
	return failed
}

// trip sends the messages and reads the record of the server.
func (b *suite) trip(t trip) ([]pair, error) {
	behaviour := smtpd.Behaviour{
		Names:   []string{"127.0.0.1"},
		EHLO:    []string{"PIPELINING", "SIZE 52428800", "8BITMIME", "STARTTLS"},
		EHLOTLS: []string{"PIPELINING", "SIZE 52428800", "8BITMIME"},
	}
	if t.door.user {
		behaviour.Users = map[string]string{"kazu": "secret"}
		behaviour.EHLOTLS = append(behaviour.EHLOTLS, "AUTH PLAIN")
	}
	if t.who == chunking {
		behaviour.EHLOTLS = append(behaviour.EHLOTLS, "CHUNKING")
	}
	server, err := smtpd.Start(smtpd.Script{Behaviour: behaviour, Listen: []smtpd.Listen{{TLS: t.door.security == "tls"}}})
	if err != nil {
		return nil, err
	}
	defer server.Close()
	proxy, err := delay.Start(server.Addr(""), t.rtt/2)
	if err != nil {
		return nil, err
	}
	defer proxy.Close()
	l, err := b.newLab(t.who, server, "", t.door.security, t.door.user)
	if err != nil {
		return nil, err
	}
	defer l.close()
	if t.who == msmtp {
		err = l.msmtp(proxy.Port())
	} else {
		_, err = l.emacs(proxy.Port(), "trips.el", fmt.Sprintf("bench-recipients '(%s)", strings.Join(words(recipientCounts), " ")), nil)
	}
	if err != nil {
		return nil, err
	}
	return t.read(server.Sessions())
}

// msmtp sends the messages without Emacs, which would be measured only where
// it doesn't count.
func (l *lab) msmtp(port int) error {
	if err := l.furnish(port); err != nil {
		return err
	}
	for _, n := range recipientCounts {
		args := []string{"--file=" + filepath.Join(l.home.Dir, ".msmtprc"), "--"}
		for i := range n {
			args = append(args, fmt.Sprintf("bob%03d@example.org", i+1))
		}
		for range 2 {
			cmd := exec.Command(filepath.Join(l.home.Dir, "msmtp"), args...)
			cmd.Stdin = strings.NewReader("From: ann@example.org\nTo: bob@example.org\nSubject: Figures\n\n" +
				strings.Repeat(strings.Repeat("x", 75)+"\n", 20))
			if err := quietly(cmd); err != nil {
				return err
			}
		}
	}
	return nil
}

// read makes figures of the record of a server. A connection over which no
// message goes counts as a part of the next one.
func (t trip) read(sessions []smtpd.Session) ([]pair, error) {
	var list []cell
	var idle []smtpd.Session
	for _, s := range sessions {
		if len(s.Messages) == 0 {
			idle = append(idle, s)
			continue
		}
		var before time.Time
		for i, m := range s.Messages {
			c := cell{}
			var began time.Time
			c.trips, began = turns(s, before, m.At)
			if i == 0 {
				c.trips += t.opening()
				start := s.Start
				for _, other := range idle {
					n, _ := turns(other, time.Time{}, s.Start)
					c.trips += n + t.opening()
					start = idle[0].Start
				}
				idle = nil
				// The server hears of a connection after a round trip and a half.
				c.figure = (m.At.Sub(start) + 2*t.rtt).Seconds()
			} else {
				c.figure = (m.At.Sub(began) + t.rtt).Seconds()
			}
			before = m.At
			list = append(list, c)
		}
	}
	if len(list) != 2*len(recipientCounts) {
		return nil, fmt.Errorf("the server has %d messages", len(list))
	}
	var pairs []pair
	for p := range slices.Chunk(list, 2) {
		pairs = append(pairs, pair(p))
	}
	return pairs, nil
}

// opening is the round trips of a connection that the server can't count: TCP,
// and the greeting where it comes first.
func (t trip) opening() int {
	if t.door.security == "tls" {
		return 1
	}
	return 2
}

// turns counts how often the client began to write, after a time and before
// another, and says when it did first: what it wrote after the server had is
// another round trip.
func turns(s smtpd.Session, after, before time.Time) (n int, began time.Time) {
	for _, stretch := range s.Trace {
		if stretch.Client && stretch.Start.After(after) && stretch.Start.Before(before) {
			if n++; began.IsZero() {
				began = stretch.Start
			}
		}
	}
	return n, began
}
