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

const aged = "Date: Sat, 21 Nov 2009 23:15:00 +0000\nSubject: test\n\nhello\n"

// TestRefreshDate: a late message gets a new date, until a server has asked
// for its bytes.
func TestRefreshDate(t *testing.T) {
	for name, test := range map[string]struct {
		refresh bool
		fail    smtpd.Rule
		renewed bool // the date that arrives is the one of the second try
		stays   bool // the date that arrives is the old one
	}{
		"no":                 {fail: smtpd.Rule{On: "MAIL", Reply: smtpd.Lines{"451 later"}}, stays: true},
		"before DATA":        {refresh: true, fail: smtpd.Rule{On: "MAIL", Reply: smtpd.Lines{"451 later"}}, renewed: true},
		"after DATA":         {refresh: true, fail: smtpd.Rule{On: "DOT", Reply: smtpd.Lines{"451 later"}}},
		"refused before 354": {refresh: true, fail: smtpd.Rule{On: "DATA", Reply: smtpd.Lines{"451 later"}}, renewed: true},
	} {
		t.Run(name, func(t *testing.T) {
			test.fail.Times = 1
			o := newOffice(t, smtpd.Script{Behaviour: smtpd.Behaviour{Rules: []smtpd.Rule{test.fail}}})
			id := o.submit(func(s *Settings, r *Request) {
				s.RefreshDate = test.refresh
				if err := os.WriteFile(r.File, []byte(aged), 0o600); err != nil {
					t.Fatal(err)
				}
			})
			o.wait(id, outbox.Deferred)
			// What is there after the first try, made old enough to be renewed again.
			file := filepath.Join(o.dir, id+".eml")
			first, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, rest, _ := strings.Cut(string(first), "\n")
			marked := "Date: Sun, 22 Nov 2009 23:15:00 +0000\n" + rest
			if err := os.WriteFile(file, []byte(marked), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := o.Act(id, Send); err != nil {
				t.Fatal(err)
			}
			o.wait(id, outbox.Accepted)
			sent, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(sent) != marked; got != test.renewed {
				t.Errorf("sent: %q", sent)
			}
			if test.stays != (string(first) == aged) {
				t.Errorf("after the first try: %q", first)
			}
			if _, tail, _ := strings.Cut(string(sent), "\n"); tail != rest {
				t.Errorf("the rest: %q", tail)
			}
		})
	}
}

// TestLog: one line for what was accepted and for what was cancelled.
func TestLog(t *testing.T) {
	o := newOffice(t, smtpd.Script{Behaviour: smtpd.Behaviour{Rules: []smtpd.Rule{{On: "MAIL", Match: "slow", Reply: smtpd.Lines{"451 later"}}}}})
	log := filepath.Join(t.TempDir(), "new", "log")
	sent := o.submit(nil)
	o.wait(sent, outbox.Accepted)
	late := o.submit(func(_ *Settings, r *Request) { r.Envelope.From = "slow@example.org" })
	o.wait(late, outbox.Deferred)
	if err := o.Act(late, Cancel); err != nil {
		t.Fatal(err)
	}
	o.wait(late, outbox.Cancelled)
	for _, id := range []string{sent, late, late} { // the second time it is gone
		if err := o.Settle(id, log); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != 2 {
		t.Fatalf("%q", text)
	}
	for i, want := range []string{
		"accepted\t" + sent + "\t-\t127.0.0.1\tbob@example.org\t127.0.0.1\t",
		"cancelled\t" + late + "\t-\t127.0.0.1\tbob@example.org\t127.0.0.1\t",
	} {
		fields := strings.Split(lines[i], "\t")
		if _, err := time.Parse(time.RFC3339, fields[0]); err != nil || len(fields) != 9 || !strings.Contains(lines[i], want) {
			t.Errorf("%q", lines[i])
		}
	}
	// A log that can't be written keeps no message in the outbox.
	again := o.submit(nil)
	o.wait(again, outbox.Accepted)
	if err := o.Settle(again, filepath.Join(log, "x")); err != nil {
		t.Error(err)
	}
	if states, _ := o.box.List(); len(states) != 0 {
		t.Errorf("still there: %v", states)
	}
}

func TestLogLine(t *testing.T) {
	s := outbox.State{
		ID: "1", Status: outbox.Accepted, MessageID: "<1\t@x>", Settings: json.RawMessage(`{"host":"mail.example.org","user":"ann"}`),
		Receipt: outbox.Receipt{Accepted: []string{"a@x", "b@x"}, Host: "mail.example.org", Port: 587, Reply: "250 ok\r\nyes"},
	}
	want := "2026-11-21T22:15:00Z\taccepted\t1\t<1 @x>\tann@mail.example.org\ta@x,b@x\tmail.example.org\t587\t250 ok  yes\n"
	if got := logLine(s, time.Date(2026, 11, 21, 22, 15, 0, 0, time.UTC)); got != want {
		t.Errorf("%q", got)
	}
	if got := logLine(outbox.State{}, time.Time{}); strings.Count(got, "\t") != 8 {
		t.Errorf("%q", got)
	}
}

// TestChange: a message that waits goes to another server.
func TestChange(t *testing.T) {
	o := newOffice(t, smtpd.Script{Listen: []smtpd.Listen{
		{Name: "", Closed: true},
		{Name: "open"},
	}})
	id := o.submit(nil)
	o.wait(id, outbox.Deferred)
	set := Settings{Host: "127.0.0.1", Port: o.server.Port("open"), Security: "plain"}
	raw, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Change(id, json.RawMessage(`{"host":""}`)); err == nil {
		t.Error("settings that can't be were taken")
	}
	if err := o.Change(id, raw); err != nil {
		t.Fatal(err)
	}
	if err := o.Act(id, Send); err != nil {
		t.Fatal(err)
	}
	o.wait(id, outbox.Accepted)
	if err := o.Change(id, raw); !errors.Is(err, outbox.ErrMove) {
		t.Errorf("accepted: %v", err)
	}
}
