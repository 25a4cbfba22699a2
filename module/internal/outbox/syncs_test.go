// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"testing"
	"time"
)

// TestSyncs: how often a message waits for the disk, and what that is for.
func TestSyncs(t *testing.T) {
	b := open(t)
	syncs := 0
	b.disk.before = func(s step) error {
		if s.op == "sync" || s.op == "syncdir" {
			syncs++
		}
		return nil
	}
	try := func(s *State) { s.Tries++ }
	silent := func(s *State) {
		later := time.Date(2026, 11, 21, 22, 16, 0, 0, time.UTC)
		s.Detail, s.NextTry = "no answer", &later
	}
	took := func(s *State) { s.Receipt.Reply = "250 ok" }
	var e *Entry
	for _, stage := range []struct {
		name string
		act  func() error
		want int
	}{
		{"queueing", func() (err error) { e, err = b.Add(draftOf(t, b, sample)); return }, 3},
		{"sending", func() error { return e.Move(Sending, try) }, 0},
		{"no answer", func() error { return e.Move(Deferred, silent) }, 2},
		{"sending again", func() error { return e.Move(Sending, try) }, 0},
		{"some bytes are out", func() error { return e.MarkData() }, 1},
		{"they are out already", func() error { return e.MarkData() }, 0},
		{"the mark", func() error { return e.MarkDot() }, 1},
		{"accepted", func() error { return e.Move(Accepted, took) }, 1},
		{"the names of all that were accepted", b.Sync, 1},
		{"removing", func() error { return e.Remove() }, 0},
	} {
		syncs = 0
		must(t, stage.act())
		if syncs != stage.want {
			t.Errorf("%s: %d syncs, want %d", stage.name, syncs, stage.want)
		}
	}
}

// TestHeadInPlace: a change of the head leaves the rest of the file alone, and
// isn't made in place in a file that somebody has laid out in another way.
func TestHeadInPlace(t *testing.T) {
	for name, edit := range map[string]func(string) string{
		"as written":      func(text string) string { return text },
		"edited":          func(text string) string { return text + "\n" },
		"edited at first": func(text string) string { return " " + text[:len(text)-1] },
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			e := add(t, b, sample)
			file := b.disk.path(stateName(e.ID()))
			rewrite(t, file, edit)
			inPlace := 0
			b.disk.before = func(s step) error {
				if s.op == "overwrite" {
					inPlace++
				}
				return nil
			}
			e.Release()
			e = claim(t, b, e.ID())
			must(t, e.Move(Sending, nil))
			sameOnDisk(t, b, e)
			must(t, e.MarkDot())
			sameOnDisk(t, b, e)
			// The first change of an edited file has put it in order.
			want := 2
			if name != "as written" {
				want = 1
			}
			if inPlace != want {
				t.Errorf("%d changes in place, want %d", inPlace, want)
			}
		})
	}
}
