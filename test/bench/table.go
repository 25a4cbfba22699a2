// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sender is who sends, as it is called in the table.
type sender string

// The senders. With chunking the server offers CHUNKING to ours.
const (
	ours     sender = "submission"
	chunking sender = "+ CHUNKING"
	msmtp    sender = "msmtp"
	smtpmail sender = "smtpmail"
	async    sender = "smtpmail-async"
	mew      sender = "Mew 6.8"
)

var senders = []sender{ours, chunking, msmtp, smtpmail, async, mew}

// suite is what is measured, and the table of what was.
type suite struct {
	peers peers
	rows  []row
	notes []string
}

// row is one thing measured for everybody.
type row struct {
	part    string
	port    string        // trips: 587, 465 or 25
	rtt     time.Duration // to the server and back; less than 0: no matter here
	count   int           // recipients, bytes or messages
	which   string        // what of it
	measure string
	unit    string
	rate    bool    // more is better
	trips   int     // the least round trips
	floor   float64 // the least; 0: nothing is known
	cells   map[sender]cell
}

type cell struct {
	trips  int // 0: not counted
	figure float64
	mark   string // what the figure is of, where it isn't of what the row says
}

// ratio tells how many times better ours is.
func (r row) ratio(who sender) float64 {
	f, own := r.cells[who].figure, r.cells[ours].figure
	if r.rate {
		f, own = own, f
	}
	if own == 0 {
		return 0
	}
	return f / own
}

// least is the floor of a sender: with CHUNKING the message goes out with its
// envelope.
func (r row) least(who sender) (trips int, floor float64) {
	if who == chunking && r.trips > 0 {
		return r.trips - 1, r.floor - r.rtt.Seconds()
	}
	return r.trips, r.floor
}

const labelWidth, floorWidth, cellWidth = 46, 12, 20

func head() {
	fmt.Printf("\n%-*s%*s", labelWidth, "", floorWidth, "floor")
	for _, who := range senders {
		fmt.Printf("%*s", cellWidth, who)
	}
	fmt.Println()
}

// section prints what the rows that follow are about.
func (b *suite) section(format string, args ...any) {
	if len(b.rows) == 0 {
		head()
	}
	fmt.Printf("\n"+format+"\n", args...)
}

// note says something below the table, once.
func (b *suite) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(b.notes, text) {
		b.notes = append(b.notes, text)
	}
}

// add prints a row.
func (b *suite) add(label string, r row) {
	b.rows = append(b.rows, r)
	floor := "–"
	if r.trips > 0 {
		floor = fmt.Sprintf("%d %7.3f", r.trips, r.floor)
	} else if r.floor > 0 {
		floor = number(r.floor, r.unit)
	}
	fmt.Printf("%-*s%*s", labelWidth, label, floorWidth, floor)
	for _, who := range senders {
		c, ok := r.cells[who]
		if !ok {
			fmt.Printf("%*s", cellWidth, "–")
			continue
		}
		text := number(c.figure, r.unit) + c.mark
		if c.trips > 0 {
			text = fmt.Sprintf("%d %7s", c.trips, text)
		}
		times := "  –"
		if ratio := r.ratio(who); ratio > 0 && r.cells[ours].figure != 0 {
			digits := 1
			if ratio >= 100 {
				digits = 0
			}
			times = strconv.FormatFloat(ratio, 'f', digits, 64) + "x"
		}
		fmt.Printf("%*s%7s", cellWidth-7, text, times)
	}
	fmt.Println()
}

func number(f float64, unit string) string {
	digits := map[string]int{"s": 3, "messages/s": 0, "connections": 0}
	n, ok := digits[unit]
	if !ok {
		n = 1
	}
	return strconv.FormatFloat(f, 'f', n, 64)
}

// end prints the notes, holds the table against what is wanted, and writes it.
func (b *suite) end() error {
	if len(b.rows) == 0 {
		return nil
	}
	fmt.Printf("\nBehind each figure: how many times better ours is. –: not measured.\n")
	for _, who := range senders {
		if why, ok := b.peers.missing[who]; ok {
			fmt.Printf("%s is missing: %s\n", who, why)
		}
	}
	if b.peers.has(mew) && b.peers.noStunnel != nil {
		fmt.Printf("Mew 6.8 has no TLS of its own, and stunnel is missing: %v\n", b.peers.noStunnel)
	}
	for _, note := range b.notes {
		fmt.Println(note)
	}
	wanted := b.wanted()
	if len(wanted) > 0 {
		fmt.Printf("\nWanted:\n")
	}
	for _, w := range wanted {
		answer := "yes"
		if !w.met {
			answer = "NO "
		}
		fmt.Printf("  %s  %s: %s\n", answer, w.what, w.found)
	}
	return b.writeCSV()
}

const csvFile = "test/.run/bench.csv"

// writeCSV writes a line for each row and sender.
func (b *suite) writeCSV() error {
	lines := [][]string{{"part", "port", "rtt_ms", "count", "which", "measure", "unit", "sender",
		"floor_trips", "trips", "floor", "figure", "times_better_is_ours"}}
	digits := func(f float64) string { return strconv.FormatFloat(f, 'f', 4, 64) }
	whole := func(n int) string {
		if n <= 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	for _, r := range b.rows {
		rtt := ""
		if r.rtt >= 0 {
			rtt = strconv.FormatInt(r.rtt.Milliseconds(), 10)
		}
		for _, who := range senders {
			c, ok := r.cells[who]
			if !ok {
				continue
			}
			trips, floor := r.least(who)
			least := ""
			if trips > 0 || floor > 0 {
				least = digits(floor)
			}
			lines = append(lines, []string{r.part, r.port, rtt, whole(r.count), r.which, r.measure, r.unit, string(who),
				whole(trips), whole(c.trips), least, digits(c.figure), strings.TrimSuffix(digits(r.ratio(who)), "00")})
		}
	}
	if err := os.MkdirAll(filepath.Dir(csvFile), 0o755); err != nil {
		return err
	}
	f, err := os.Create(csvFile)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	err = errors.Join(w.WriteAll(lines), f.Close())
	fmt.Printf("\nThe table is in %s too.\n", csvFile)
	return err
}
