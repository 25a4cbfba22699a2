// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"submission/module/internal/outbox"
	"submission/test/smtpd"
)

// TestTransient: nothing is sent again by itself, and a person still can.
func TestTransient(t *testing.T) {
	o := newOffice(t, smtpd.Script{Behaviour: smtpd.Behaviour{
		Rules: []smtpd.Rule{{On: "MAIL", Times: 1, Reply: smtpd.Lines{"451 later"}}},
	}})
	o.transient = true
	id := o.submit(nil)
	o.wait(id, outbox.Deferred)
	o.sendDue(time.Now().Add(time.Hour))
	ids, _ := o.SendAll()
	if ids = append(ids, o.sendDeferred()...); len(ids) > 0 {
		t.Errorf("taken by itself: %v", ids)
	}
	if n := len(o.server.Sessions()); n != 1 {
		t.Errorf("%d connections", n)
	}
	if err := o.Act(id, Send); err != nil {
		t.Fatal(err)
	}
	o.wait(id, outbox.Accepted)
}

// TestKeepConnection: a message that comes within the time goes over the link
// of the one before; where the server has closed it, over a new one.
func TestKeepConnection(t *testing.T) {
	for name, test := range map[string]struct {
		keep        float64
		most        int // messages on a connection
		connections int
	}{
		"kept":                 {keep: 60, connections: 1},
		"not kept":             {connections: 3},
		"closed by the server": {keep: 60, most: 1, connections: 3},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, smtpd.Script{Behaviour: smtpd.Behaviour{MaxMessages: test.most}})
			for range 3 {
				o.wait(o.submit(func(s *Settings, _ *Request) { s.KeepConnection = test.keep }), outbox.Accepted)
			}
			if n := len(o.server.Sessions()); n != test.connections {
				t.Errorf("3 messages over %d connections, want %d", n, test.connections)
			}
		})
	}
}

// TestAskWhenOffered: the secret is asked for where AUTH is on offer, and not
// elsewhere.
func TestAskWhenOffered(t *testing.T) {
	users := map[string]string{"kazu": "secret"}
	for name, test := range map[string]struct {
		server smtpd.Behaviour
		answer *Answer // nil: there must be no question
		want   outbox.Status
	}{
		"not offered": {want: outbox.Accepted},
		"right":       {server: smtpd.Behaviour{Users: users}, answer: &Answer{Secret: &Secret{User: "kazu", Password: "secret"}}, want: outbox.Accepted},
		"an identity": {server: smtpd.Behaviour{Users: users}, answer: &Answer{Secret: &Secret{User: "kazu", Password: "secret", Identity: "kazu"}}, want: outbox.Accepted},
		"wrong":       {server: smtpd.Behaviour{Users: users}, answer: &Answer{Secret: &Secret{User: "kazu", Password: "?"}}, want: outbox.Held},
		"none":        {server: smtpd.Behaviour{Users: users}, answer: &Answer{}, want: outbox.Held},
	} {
		t.Run(name, func(t *testing.T) {
			if test.answer != nil {
				test.server.EHLO = []string{"AUTH PLAIN LOGIN"}
			}
			o := newOffice(t, smtpd.Script{Behaviour: test.server})
			id := o.submit(func(s *Settings, _ *Request) { s.AskWhenOffered = true })
			if test.answer != nil {
				q := <-o.asked
				if q.Why != "offered" || q.Port != o.server.Port("") || !strings.Contains(q.Reply, "PLAIN") {
					t.Errorf("asked %+v", q)
				}
				o.Answer(q.Ask, test.answer)
			}
			state := o.wait(id, test.want)
			if test.want == outbox.Held && state.Reason != outbox.ReasonAuth {
				t.Errorf("held for %q", state.Reason)
			}
			if n := len(o.asked); n > 0 {
				t.Errorf("%d more questions", n)
			}
			if text, err := json.Marshal(state); err != nil || strings.Contains(string(text), "secret") {
				t.Errorf("the state has the secret, or %v: %s", err, text)
			}
		})
	}
}
