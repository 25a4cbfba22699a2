// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// faults makes the steps from number first up to number last fail.
type faults struct{ at, first, last int }

func (f *faults) before(step) error {
	f.at++
	if f.first <= f.at && f.at <= f.last {
		return syscall.EIO
	}
	return nil
}

// TestOneFault: a disk that fails once, at any step. The error is told, what
// is in memory is what is on disk, nothing is left lying about, and the same
// call then succeeds.
func TestOneFault(t *testing.T) {
	for name, stages := range lives() {
		for what, text := range lifeTexts() {
			t.Run(name+what, func(t *testing.T) {
				for n := 1; ; n++ {
					b := open(t)
					f := &faults{first: n, last: n}
					d := lifeDraft(t, b, what, text)
					b.disk.before = f.before
					e, err := b.Add(d)
					if err != nil {
						told(t, err)
						unadded(t, b, d, text)
						if e, err = b.Add(d); err != nil {
							t.Fatalf("fault %d: again: %v", n, err)
						}
					}
					for _, s := range stages {
						repeatable(t, b, e, s, n)
					}
					e.Release()
					if f.at < n {
						if n < 20 {
							t.Errorf("only %d steps", f.at)
						}
						return
					}
				}
			})
		}
	}
}

// repeatable does a stage, and where it fails holds memory against the disk
// and does it again, unless it is done but for durability.
func repeatable(t *testing.T, b *Box, e *Entry, s stage, n int) {
	t.Helper()
	before := e.State()
	err := s.act(e)
	if err == nil {
		return
	}
	told(t, err)
	if s.name == "remove" {
		if err := s.act(e); err != nil {
			t.Fatalf("fault %d: %s again: %v", n, s.name, err)
		}
		return
	}
	sameOnDisk(t, b, e)
	for _, name := range names(t, b) {
		if kind, _ := classify(name); kind == newState || kind == newMessage {
			t.Errorf("fault %d: %s: %s is left", n, s.name, name)
		}
	}
	if !reflect.DeepEqual(e.State(), before) {
		return
	}
	if err := s.act(e); err != nil {
		t.Fatalf("fault %d: %s again: %v", n, s.name, err)
	}
}

// told holds an error to be of our type, to keep its cause, and to be plain.
func told(t *testing.T, err error) {
	t.Helper()
	var typed *Error
	if !errors.As(err, &typed) || !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "the disk is failing") {
		t.Errorf("told so: %v", err)
	}
}

// unadded: after a failed Add only its files are there, as they were.
func unadded(t *testing.T, b *Box, d Draft, text string) {
	t.Helper()
	want := 1
	if d.Keep != "" {
		want = 2
		if got, err := os.ReadFile(d.Keep); err != nil || string(got) != "as it was typed" {
			t.Fatalf("what was to be kept: %q, %v", got, err)
		}
	}
	if got := names(t, b); len(got) != want {
		t.Fatalf("left behind: %q", got)
	}
	if got, err := os.ReadFile(d.File); err != nil || string(got) != text {
		t.Fatalf("the draft: %q, %v", got, err)
	}
}

// TestLastingFault: a disk that fails at some step and ever after. The next
// Emacs, with a sound disk, finds what a crash there would leave.
func TestLastingFault(t *testing.T) {
	for name, stages := range lives() {
		for what, text := range lifeTexts() {
			t.Run(name+what, func(t *testing.T) {
				for n := 1; ; n++ {
					b := open(t)
					f := &faults{first: n, last: 1 << 30}
					d := lifeDraft(t, b, what, text)
					b.disk.before = f.before
					allowed := []string{""}
					e, err := b.Add(d)
					if err != nil {
						told(t, err)
						if strings.Contains(err.Error(), "it may be sent after all") {
							allowed = []string{"queued"}
						}
					} else {
						allowed = []string{"queued"}
					}
					for i := 0; err == nil && i < len(stages); i++ {
						if err = stages[i].act(e); err == nil {
							allowed = stages[i].after
							continue
						}
						told(t, err)
						allowed = stages[i].during
						if stages[i].name != "remove" {
							sameOnDisk(t, b, e)
						}
					}
					if e != nil {
						e.Release()
					}
					status, found := survivor(openIn(t, b.disk.dir))
					if found != nil || !slices.Contains(allowed, status) {
						t.Errorf("fault from %d on (%v): %q, %v", n, err, status, found)
					}
					if err == nil {
						return
					}
				}
			})
		}
	}
}
