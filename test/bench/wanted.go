// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"time"
)

// wish is something that is wanted of the figures, and what was found.
type wish struct {
	what  string
	met   bool
	found string
}

// The bounds of what is wanted.
const (
	slack      = 1.05 // of the floor and what the machine needs
	noise      = 0.98 // of our time is msmtp's: as fast
	queueTimes = 10   // faster than smtpmail's queue
	syncsMost  = 3    // for a message
	growth     = 4    // MB more for 100 MB than for 1 MB
	manyTimes  = 0.9  // as fast with 10,000 messages as with 1,000
)

// wanted holds the rows against what is wanted of them. What wasn't measured
// isn't judged.
func (b *suite) wanted() []wish {
	var list []wish
	list = append(list, b.wantedTrips()...)
	var sent, sentMany, sentTheirs float64
	memory := make(map[int]float64)
	syncs, syncsWhere := 0.0, ""
	for _, r := range b.rows {
		switch c := r.cells[ours]; {
		case r.part == "queue" && r.measure == "tmpfs" && r.which == "sent" && r.count == 1000:
			if theirs := r.cells[smtpmail].figure; theirs > 0 {
				sentTheirs = theirs
			}
			if sent == 0 || c.figure < sent {
				sent = c.figure
			}
		case r.part == "queue" && r.measure == "tmpfs" && r.which == "sent":
			sentMany = c.figure
		case r.part == "memory" && r.which == "file":
			memory[r.count] = c.figure
		case r.part == "syncs" && r.which == syncWords["flush"]:
			for _, who := range []sender{ours, chunking} {
				if f := r.cells[who].figure; f > syncs {
					syncs, syncsWhere = f, fmt.Sprintf("%d %s", r.count, r.which)
				}
			}
		}
	}
	if sentTheirs > 0 {
		list = append(list, wish{"1,000 waiting messages ten times as fast as smtpmail, on a tmpfs",
			sent >= queueTimes*sentTheirs, fmt.Sprintf("%.0f times", sent/sentTheirs)})
	}
	if sentMany > 0 {
		list = append(list, wish{"10,000 waiting messages as fast as 1,000, on a tmpfs",
			sentMany >= manyTimes*sent, fmt.Sprintf("%.0f and %.0f a second", sentMany, sent)})
	}
	if syncs > 0 {
		list = append(list, wish{"at most three syncs to send a message that waits", syncs <= syncsMost, fmt.Sprintf("%.1f with %s", syncs, syncsWhere)})
	}
	if len(memory) == 2 {
		more := memory[100_000_000] - memory[1_000_000]
		list = append(list, wish{"memory for 100 MB at most 4 MB more than for 1 MB", more <= growth, fmt.Sprintf("%+.1f MB", more)})
	}
	return list
}

// wantedTrips looks for the worst of the rows with round trips.
func (b *suite) wantedTrips() []wish {
	type where struct {
		door, which string
		count       int
		who         sender
	}
	machine := make(map[where]float64) // what it needs at no distance
	var trips int
	var late, behind float64
	var tripsAt, lateAt, behindAt string
	for _, r := range b.rows {
		if r.part != "trips" {
			continue
		}
		for _, who := range []sender{ours, chunking} {
			c, at := r.cells[who], where{r.port, r.which, r.count, who}
			name := fmt.Sprintf("%s on %s, %v, %d, %s", who, r.port, r.rtt, r.count, r.which)
			least, floor := r.least(who)
			if more := c.trips - least; more > trips {
				trips, tripsAt = more, name
			}
			if r.rtt == 0 {
				machine[at] = c.figure
				continue
			}
			if part := c.figure / (floor + machine[at]); part > late {
				late, lateAt = part, name
			}
		}
		theirs, ok := r.cells[msmtp]
		if !ok || r.rtt == 0*time.Second {
			continue
		}
		if part := r.cells[ours].figure / theirs.figure; part > behind {
			behind, behindAt = part, fmt.Sprintf("%s, %v, %d, %s", r.port, r.rtt, r.count, r.which)
		}
	}
	if late == 0 {
		return nil
	}
	list := []wish{
		{"round trips are those of the floor", trips == 0, "in every row"},
		{"seconds at 50 and 200 ms at most 5 % above the floor and what the machine needs at 0 ms", late <= slack,
			fmt.Sprintf("at most %.1f %% (%s)", (late-1)*100, lateAt)},
	}
	if trips > 0 {
		list[0].found = fmt.Sprintf("%d more (%s)", trips, tripsAt)
	}
	if behind > 0 {
		list = append(list, wish{"never behind msmtp", behind <= 1/noise, fmt.Sprintf("%.3f of its time at worst (%s)", behind, behindAt)})
	}
	return list
}
