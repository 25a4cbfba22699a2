// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"submission/module/internal/event"
	"submission/module/internal/outbox"
	"submission/test/smtpd"
)

// office is a dispatcher with a server, and somebody who reads its events.
type office struct {
	*Dispatcher
	t      *testing.T
	server *smtpd.Server
	dir    string
	states chan outbox.State // as they are told
	asked  chan event.Ask
	warned chan string
}

const limit = 30 * time.Second // for what takes milliseconds

func newOffice(t *testing.T, script smtpd.Script) *office {
	t.Helper()
	server, err := smtpd.Start(script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	o := &office{t: t, server: server, dir: filepath.Join(t.TempDir(), "outbox"), states: make(chan outbox.State, 10000), asked: make(chan event.Ask, 100), warned: make(chan string, 100)}
	r, w := io.Pipe()
	stream := event.NewStream(w)
	t.Cleanup(stream.Close)
	go func() {
		for lines := bufio.NewScanner(r); lines.Scan(); {
			var e struct {
				Event, Text string
				State       outbox.State
			}
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Errorf("event %s: %v", lines.Text(), err)
			}
			switch e.Event {
			case "ask":
				var q event.Ask
				if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
					t.Errorf("event %s: %v", lines.Text(), err)
				}
				o.asked <- q
			case "state":
				o.states <- e.State
			case "warning":
				o.warned <- e.Text
			case "error":
				t.Errorf("a fault: %s", e.Text)
			}
		}
	}()
	if o.Dispatcher, err = NewDispatcher(o.dir, "", false, stream); err != nil {
		t.Fatal(err)
	}
	return o
}

// submit queues a message with settings and returns its id.
func (o *office) submit(change func(*Settings, *Request)) string {
	o.t.Helper()
	file := filepath.Join(o.dir, outbox.DraftPrefix+outbox.NewID(time.Now()))
	if err := os.WriteFile(file, []byte("Subject: test\n\nhello\n"), 0o600); err != nil {
		o.t.Fatal(err)
	}
	set := Settings{Host: "127.0.0.1", Port: o.server.Port(""), Security: "plain"}
	r := Request{File: file, Envelope: Envelope{From: "ann@example.org", To: []string{"bob@example.org"}}}
	if change != nil {
		change(&set, &r)
	}
	var err error
	if r.Settings, err = json.Marshal(set); err != nil {
		o.t.Fatal(err)
	}
	id, err := o.Submit(r)
	if err != nil {
		o.t.Fatal(err)
	}
	return id
}

// wait returns the state of a message when it is told to have a status.
func (o *office) wait(id string, status outbox.Status) outbox.State {
	o.t.Helper()
	late := time.After(limit)
	for {
		select {
		case s := <-o.states:
			if s.ID == id && s.Status == status {
				return s
			}
		case <-late:
			o.t.Fatalf("message %s is not told to be %s", id, status)
		}
	}
}

// all waits until n messages have a status.
func (o *office) all(n int, status outbox.Status) {
	o.t.Helper()
	late := time.After(limit)
	for seen := 0; seen < n; {
		select {
		case s := <-o.states:
			if s.Status == status {
				seen++
			}
		case <-late:
			o.t.Fatalf("%d messages are %s, not %d", seen, status, n)
		}
	}
}

func TestOneConnectionForMany(t *testing.T) {
	// The first message is slow, so the others wait behind it.
	o := newOffice(t, smtpd.Script{Behaviour: smtpd.Behaviour{
		Rules: []smtpd.Rule{{On: "MAIL", Times: 1, Delay: smtpd.Duration(time.Second)}},
	}})
	const n = 20
	for range n {
		o.submit(nil)
	}
	o.all(n, outbox.Accepted)
	if sessions, messages := len(o.server.Sessions()), len(o.server.Messages()); sessions != 1 || messages != n {
		t.Errorf("%d messages over %d connections", messages, sessions)
	}
}

// TestOneThatIsStuck: the others go over another connection.
func TestOneThatIsStuck(t *testing.T) {
	o := newOffice(t, smtpd.Script{Behaviour: smtpd.Behaviour{
		Rules: []smtpd.Rule{{On: "DOT", From: 2, Times: 1, Instead: smtpd.Silence}},
	}})
	o.patience = 50 * time.Millisecond
	const n = 5
	for range n {
		o.submit(nil)
	}
	o.all(n-1, outbox.Accepted)
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.tasks) != 1 {
		t.Errorf("this Emacs is busy with %d messages", len(o.tasks))
	}
}

func TestALimitOfMessagesIsNoFailure(t *testing.T) {
	o := newOffice(t, smtpd.Script{Behaviour: smtpd.Behaviour{
		MaxMessages: 5,
		Rules:       []smtpd.Rule{{On: "MAIL", Times: 1, Delay: smtpd.Duration(time.Second)}},
	}})
	const n = 20
	for range n {
		o.submit(nil)
	}
	o.all(n, outbox.Accepted)
	if messages := len(o.server.Messages()); messages != n {
		t.Errorf("%d messages arrived, not %d", messages, n)
	}
}

func TestAServerThatIsDownIsTriedOnce(t *testing.T) {
	o := newOffice(t, smtpd.Script{Behaviour: smtpd.Behaviour{
		Rules: []smtpd.Rule{{On: "GREETING", Delay: smtpd.Duration(time.Second), Reply: smtpd.Lines{"421 4.3.2 down"}}},
	}})
	const n = 10
	for range n {
		o.submit(nil)
	}
	o.all(n, outbox.Deferred)
	if sessions := len(o.server.Sessions()); sessions != 1 {
		t.Errorf("%d connections to a server that is down", sessions)
	}
	// Those that were not tried themselves were written once, and count a try.
	states, _ := o.box.List()
	rewritten := 0
	for _, s := range states {
		if s.Tries != 1 {
			t.Errorf("%s: %d tries", s.ID, s.Tries)
		}
		if s.Rev > 2 {
			rewritten++
		}
	}
	if rewritten > 1 {
		t.Errorf("%d of %d states were written more often than needed", rewritten, len(states))
	}
	ids, _ := o.SendAll()
	for _, id := range ids {
		o.wait(id, outbox.Deferred)
	}
}

func TestRetryWhenDue(t *testing.T) {
	o := newOffice(t, smtpd.Script{Behaviour: smtpd.Behaviour{
		Rules: []smtpd.Rule{{On: "MAIL", Times: 1, Reply: smtpd.Lines{"451 4.3.0 later"}}},
	}})
	id := o.submit(func(s *Settings, _ *Request) { s.RetryMinutes = []float64{1.0 / 60} })
	if s := o.wait(id, outbox.Deferred); s.NextTry == nil || s.Tries != 1 {
		t.Errorf("deferred with next try %v after %d tries", s.NextTry, s.Tries)
	}
	if s := o.wait(id, outbox.Accepted); s.Tries != 2 {
		t.Errorf("accepted at try %d", s.Tries)
	}
}

func TestNotBefore(t *testing.T) {
	o := newOffice(t, smtpd.Script{})
	at := time.Now().Add(1500 * time.Millisecond).UTC()
	id := o.submit(func(_ *Settings, r *Request) { r.NotBefore = &at })
	if ids, _ := o.SendAll(); len(ids) != 0 {
		t.Errorf("SendAll took what has its time: %v", ids)
	}
	o.wait(id, outbox.Accepted)
	if now := time.Now(); now.Before(at) {
		t.Errorf("sent %v too early", at.Sub(now))
	}
}

func TestRetryAfter(t *testing.T) {
	for tries, want := range map[int]time.Duration{0: 1, 1: 1, 2: 5, 3: 15, 4: 30, 5: 60, 6: 60, 100: 60} {
		if got := (Settings{}).retryAfter(tries); got != want*time.Minute {
			t.Errorf("after %d tries: %v, want %v", tries, got, want*time.Minute)
		}
	}
}

func TestActions(t *testing.T) {
	silent := smtpd.Behaviour{Rules: []smtpd.Rule{{On: "GREETING", Instead: smtpd.Silence}}}
	refusing := smtpd.Behaviour{Rules: []smtpd.Rule{{On: "MAIL", Times: 1, Reply: smtpd.Lines{"550 5.7.1 no"}}}}
	lost := smtpd.Behaviour{Rules: []smtpd.Rule{{On: "DOT", Times: 1, Instead: smtpd.CloseConn}}}
	tests := []struct {
		name   string
		server smtpd.Behaviour
		first  outbox.Status // when the action comes
		action Action
		then   outbox.Status
		reason outbox.Reason
	}{
		{"cancel while connecting", silent, outbox.Sending, Cancel, outbox.Cancelled, outbox.ReasonUser},
		{"hold while connecting", silent, outbox.Sending, Hold, outbox.Held, outbox.ReasonUser},
		{"cancel what was refused", refusing, outbox.Refused, Cancel, outbox.Cancelled, outbox.ReasonUser},
		{"send what was refused", refusing, outbox.Refused, Send, outbox.Accepted, ""},
		{"an uncertain one has arrived", lost, outbox.Uncertain, Arrived, outbox.Accepted, ""},
		{"send an uncertain one again", lost, outbox.Uncertain, Send, outbox.Accepted, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := newOffice(t, smtpd.Script{Behaviour: tt.server})
			id := o.submit(nil)
			o.wait(id, tt.first)
			if err := o.Act(id, tt.action); err != nil {
				t.Fatal(err)
			}
			s := o.wait(id, tt.then)
			if s.Reason != tt.reason {
				t.Errorf("reason %q, want %q", s.Reason, tt.reason)
			}
			if tt.action == Arrived && fmt.Sprint(s.Receipt.Accepted) != "[bob@example.org]" {
				t.Errorf("accepted for %v", s.Receipt.Accepted)
			}
		})
	}
}

func TestCancelWhatWaitsBehindAnother(t *testing.T) {
	o := newOffice(t, smtpd.Script{Behaviour: smtpd.Behaviour{
		Rules: []smtpd.Rule{{On: "GREETING", Instead: smtpd.Silence}},
	}})
	first := o.submit(nil)
	o.wait(first, outbox.Sending)
	second := o.submit(nil)
	if err := o.Act(second, Cancel); err != nil {
		t.Fatal(err)
	}
	o.wait(second, outbox.Cancelled)
	if err := o.Settle(second, ""); err != nil {
		t.Fatal(err)
	}
	if err := o.Act(second, Send); err == nil {
		t.Error("what has left the outbox was sent again")
	}
	o.Act(first, Cancel)
	o.wait(first, outbox.Cancelled)
}
