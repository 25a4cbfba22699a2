// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"submission/module/internal/outbox"
	"submission/test/smtpd"
)

// TestTroubleIsTold: what can't be sent is told by name when a person asks, and
// not again by the schedule; the others are sent.
func TestTroubleIsTold(t *testing.T) {
	o := newOffice(t, smtpd.Script{Behaviour: smtpd.Behaviour{
		Rules: []smtpd.Rule{{On: "GREETING", Times: 1, Reply: smtpd.Lines{"421 4.3.2 down"}}},
	}})
	const bad = "20261121T221500-00000bad"
	if err := os.WriteFile(filepath.Join(o.dir, bad+".json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := o.submit(nil)
	o.wait(good, outbox.Deferred)
	for range 2 {
		o.sendDue(time.Now())
		o.SendAll()
		o.sendDue(time.Now())
		select {
		case text := <-o.warned:
			if !strings.Contains(text, bad) || !strings.Contains(text, "damaged") {
				t.Errorf("told: %s", text)
			}
		case <-time.After(limit):
			t.Fatal("nothing was told")
		}
	}
	o.wait(good, outbox.Accepted)
	if len(o.warned) > 0 {
		t.Errorf("told once more: %s", <-o.warned)
	}
}

func TestTroublesOfTheDiskAreOne(t *testing.T) {
	var told troubles
	full := func(name string) error { return &os.PathError{Op: "write", Path: name, Err: os.ErrPermission} }
	if !told.news(full("a")) || told.news(full("a")) || !told.news(full("b")) {
		t.Error("the same is told once, and something else too")
	}
	_, gone := os.Open(filepath.Join(t.TempDir(), "a"))
	_, gone2 := os.Open(filepath.Join(t.TempDir(), "b"))
	if !told.news(gone) || told.news(gone2) {
		t.Error("what the system says of two files is the same trouble")
	}
	told.forget()
	if !told.news(gone2) {
		t.Error("nothing was forgotten")
	}
}

func TestDue(t *testing.T) {
	now := time.Date(2026, 11, 21, 22, 15, 0, 0, time.UTC)
	at := func(d time.Duration) *time.Time { then := now.Add(d); return &then }
	settings := func(minutes ...float64) json.RawMessage {
		raw, err := json.Marshal(Settings{Host: "mail.example.org", Port: 587, Security: "plain", RetryMinutes: minutes})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for _, tt := range []struct {
		name     string
		status   outbox.Status
		next     *time.Time
		tries    int
		settings json.RawMessage
		want     bool
	}{
		{"no time was said", outbox.Queued, nil, 0, settings(), true},
		{"the time has come", outbox.Deferred, at(0), 1, settings(), true},
		{"long ago", outbox.Deferred, at(-10 * 365 * 24 * time.Hour), 1, settings(), true},
		{"in a minute", outbox.Deferred, at(time.Minute), 1, settings(), false},
		{"in an hour, after many tries", outbox.Deferred, at(time.Hour), 9, settings(), false},
		{"the clock was an hour ahead", outbox.Deferred, at(time.Hour), 1, settings(), true},
		{"the clock was years ahead", outbox.Deferred, at(10 * 365 * 24 * time.Hour), 9, settings(), true},
		{"every two days, as wanted", outbox.Deferred, at(48 * time.Hour), 3, settings(2880), false},
		{"a person wants it next year", outbox.Queued, at(365 * 24 * time.Hour), 0, settings(), false},
		{"settings that nobody understands", outbox.Deferred, at(365 * 24 * time.Hour), 1, json.RawMessage("[]"), false},
	} {
		if got := due(outbox.State{Status: tt.status, NextTry: tt.next, Tries: tt.tries, Settings: tt.settings}, now); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// TestNextDue: the schedule looks when the next message is due, and doesn't
// wait in haste for one that is due and can't be taken.
func TestNextDue(t *testing.T) {
	o := newOffice(t, smtpd.Script{})
	now := time.Now()
	add := func(next time.Time) {
		t.Helper()
		file := filepath.Join(o.dir, outbox.DraftPrefix+outbox.NewID(now))
		if err := os.WriteFile(file, []byte("Subject: test\n\nhello\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		entry, err := o.box.Add(outbox.Draft{File: file, Settings: json.RawMessage("{}"), NextTry: &next})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(entry.Release) // it is ours, so the schedule can't have it
	}
	add(now.Add(-time.Hour))
	if next := o.nextDue(now); !next.Equal(now.Add(glance)) {
		t.Errorf("a message that can't be taken is looked for after %v", next.Sub(now))
	}
	add(now.Add(glance / 2))
	if next := o.nextDue(now); next.Sub(now) > glance/2 {
		t.Errorf("a message that will be due is looked for after %v", next.Sub(now))
	}
}

// TestEndedStaysOurs: another Emacs is not told of a message that was accepted
// here and is not settled yet.
func TestEndedStaysOurs(t *testing.T) {
	o := newOffice(t, smtpd.Script{})
	log := filepath.Join(t.TempDir(), "log")
	id := o.submit(nil)
	o.wait(id, outbox.Accepted)
	other, err := outbox.Open(o.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Claim(id); !errors.Is(err, outbox.ErrBusy) {
		t.Errorf("another has it: %v", err)
	}
	if err := o.Settle(id, log); err != nil {
		t.Error(err)
	}
	if _, err := other.Claim(id); !errors.Is(err, outbox.ErrGone) {
		t.Errorf("once it was settled: %v", err)
	}
	if left, err := os.ReadDir(o.dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := o.Settle(id, log); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if lines, err := os.ReadFile(log); err != nil || strings.Count(string(lines), "\n") != 1 {
		t.Errorf("the log: %q, %v", lines, err)
	}
}
