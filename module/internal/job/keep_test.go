// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"submission/module/internal/outbox"
	"submission/test/smtpd"
)

// extensions are what a server offers besides the usual, in the clear and
// under TLS.
func extensions(more ...string) smtpd.Behaviour {
	usual := append([]string{"PIPELINING", "SIZE 52428800", "8BITMIME"}, more...)
	return smtpd.Behaviour{
		Names:   []string{"127.0.0.1"},
		Users:   map[string]string{"kazu": "secret"},
		EHLO:    append([]string{"STARTTLS"}, usual...),
		EHLOTLS: append([]string{"AUTH PLAIN"}, usual...),
	}
}

// everybody returns so many addresses.
func everybody(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("bob%03d@example.org", i))
	}
	return list
}

// The round trips to the reply to a message are the fewest that the protocol
// allows, whatever the number of recipients: of the first message on a
// connection, and of the next. The server counts them.
func TestRoundTrips(t *testing.T) {
	for _, tt := range []struct {
		name       string
		tls        bool
		secret     bool
		pipelining [2]int // first and further
		withChunks [2]int
		large      [2]int // more than 256 KB, with CHUNKING
	}{
		{"587", false, true, [2]int{9, 2}, [2]int{8, 1}, [2]int{9, 2}},
		{"465", true, true, [2]int{7, 2}, [2]int{6, 1}, [2]int{7, 2}},
		{"25", false, false, [2]int{8, 2}, [2]int{7, 1}, [2]int{8, 2}},
	} {
		for _, size := range []int{1000, 300_000} {
			for _, chunking := range []bool{false, true} {
				for _, n := range []int{1, 10, 100} {
					t.Run(fmt.Sprint(tt.name, " chunking ", chunking, " size ", size, " to ", n), func(t *testing.T) {
						want := tt.pipelining
						switch {
						case chunking && size > 256<<10:
							want = tt.large
						case chunking:
							want = tt.withChunks
						}
						o := newOffice(t, smtpd.Script{Behaviour: extensions("CHUNKING"), Listen: []smtpd.Listen{{TLS: tt.tls}}})
						roots, err := o.server.CA().Write(t.TempDir())
						if err != nil {
							t.Fatal(err)
						}
						change := func(s *Settings, r *Request) {
							s.KeepConnection, s.Chunking, s.Security = 60, chunking, "starttls"
							s.TrustFiles, r.Envelope.To = []string{roots}, everybody(n)
							if tt.tls {
								s.Security = "tls"
							}
							if tt.secret {
								s.User, r.Secret = "kazu", &Secret{User: "kazu", Password: "secret"}
							}
							o.fill(r, size)
						}
						before := 0
						for i, trips := range want {
							o.wait(o.submit(change), outbox.Accepted)
							sessions := o.server.Sessions()
							if len(sessions) != 1 {
								t.Fatalf("%d connections", len(sessions))
							}
							turns := sessions[0].Turns()
							if i == 0 { // TCP's own round trip, and that of a greeting that isn't asked for
								if turns++; !tt.tls {
									turns++
								}
							}
							if got := turns - before; got != trips {
								t.Errorf("message %d: %d round trips, want %d\n%+v", i+1, got, trips, sessions[0].Trace)
							}
							before = sessions[0].Turns()
						}
						if list := o.server.Messages(); len(list) != 2 || len(list[1].To) != n || (list[1].Chunks > 0) != chunking {
							t.Errorf("%d messages, the last in %d chunks", len(list), list[len(list)-1].Chunks)
						}
					})
				}
			}
		}
	}
}

// fill makes the message of a request as large as that.
func (o *office) fill(r *Request, size int) {
	o.t.Helper()
	text := []byte("Subject: test\n\n" + string(slices.Repeat([]byte("0123456789abcde\n"), size/16)))
	if err := os.WriteFile(r.File, text, 0o600); err != nil {
		o.t.Fatal(err)
	}
}

// A connection that is kept serves the next message, unless the server has
// closed it, or it is another's now.
func TestKeptConnections(t *testing.T) {
	closing := func(on string, end smtpd.End) smtpd.Rule {
		return smtpd.Rule{On: on, Reply: smtpd.Lines{"250 2.0.0 taken"}, Then: end}
	}
	for _, tt := range []struct {
		name     string
		rules    []smtpd.Rule
		most     int
		chunking bool
		change   func(i int, s *Settings, r *Request)
		want     int // connections
	}{
		{"kept", nil, 0, false, nil, 1},
		{"kept, with chunks", nil, 0, true, nil, 1},
		{"closed", []smtpd.Rule{closing("DOT", smtpd.CloseConn)}, 0, false, nil, 4},
		{"cut", []smtpd.Rule{closing("DOT", smtpd.Cut)}, 0, false, nil, 4},
		{"reset", []smtpd.Rule{closing("DOT", smtpd.Reset)}, 0, false, nil, 4},
		{"closed, with chunks", []smtpd.Rule{closing("BDAT", smtpd.CloseConn)}, 0, true, nil, 4},
		{"reset, with chunks", []smtpd.Rule{closing("BDAT", smtpd.Reset)}, 0, true, nil, 4},
		{"421 and closed", []smtpd.Rule{{On: "DOT", Reply: smtpd.Lines{"250 2.0.0 taken", "421 4.4.2 enough"}}}, 0, false, nil, 4},
		{"a limit of messages", nil, 2, false, nil, 2},
		{"a limit of messages, with chunks", nil, 2, true, nil, 2},
		{"another password", nil, 0, true, func(i int, _ *Settings, r *Request) { r.Secret.Password = fmt.Sprint("secret", i) }, 4},
		{"another user", nil, 0, true, func(i int, s *Settings, r *Request) {
			s.User = fmt.Sprint("kazu", i)
			r.Secret.User = s.User
		}, 4},
		{"not kept", nil, 0, true, func(_ int, s *Settings, _ *Request) { s.KeepConnection = 0 }, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := smtpd.Behaviour{Rules: tt.rules, MaxMessages: tt.most, Users: map[string]string{"kazu": "secret"},
				EHLO: []string{"PIPELINING", "CHUNKING", "AUTH PLAIN"}}
			for i := range 4 {
				b.Users[fmt.Sprint("kazu", i)] = "secret"
			}
			if tt.name == "another password" {
				b.Rules = []smtpd.Rule{{On: "AUTH-END", Reply: smtpd.Lines{"235 2.7.0 whatever"}}}
			}
			o := newOffice(t, smtpd.Script{Behaviour: b})
			for i := range 4 {
				o.wait(o.submit(func(s *Settings, r *Request) {
					s.KeepConnection, s.Chunking = 60, tt.chunking
					s.User, r.Secret = "kazu", &Secret{User: "kazu", Password: "secret"}
					if tt.change != nil {
						tt.change(i, s, r)
					}
				}), outbox.Accepted)
				// The worker must have had the time to look at the link.
				if tt.name == "not kept" {
					if _, err := o.server.WaitSessions(t.Context(), i+1); err != nil {
						t.Fatal(err)
					}
				}
			}
			if sessions, messages := len(o.server.Sessions()), len(o.server.Messages()); sessions != tt.want || messages != 4 {
				t.Errorf("%d messages over %d connections, want %d", messages, sessions, tt.want)
			}
		})
	}
}

// A connection is closed with QUIT when it has been kept for long enough.
func TestKeptNoLonger(t *testing.T) {
	o := newOffice(t, smtpd.Script{})
	o.wait(o.submit(func(s *Settings, _ *Request) { s.KeepConnection = 0.1 }), outbox.Accepted)
	sessions, err := o.server.WaitSessions(t.Context(), 1)
	if err != nil || sessions[0].End != "quit" {
		t.Errorf("%v, %q", err, sessions[0].End)
	}
	if commands := sessions[0].Commands(); slices.Contains(commands, "NOOP") {
		t.Errorf("%q", commands)
	}
}

// More recipients than a transaction takes get the message in several, each of
// them once, however the server says that it has enough.
func TestManyRecipients(t *testing.T) {
	unknown := smtpd.Rule{On: "RCPT", Match: "bob..7@", Reply: smtpd.Lines{"550 5.1.1 no such user"}}
	later := smtpd.Rule{On: "RCPT", Match: "bob..3@", Reply: smtpd.Lines{"450 4.2.1 later"}}
	tests := []struct {
		name         string
		limits       []string
		rules        []smtpd.Rule
		most         int // messages on a connection
		to           int
		status       outbox.Status
		transactions int
		connections  int
		refused      int
		left         int
	}{
		{"nothing is said", nil, nil, 0, 250, outbox.Accepted, 3, 1, 0, 0},
		{"a limit that is said", []string{"LIMITS RCPTMAX=20 MAILMAX=100"}, nil, 0, 50, outbox.Accepted, 3, 1, 0, 0},
		{"a limit of transactions that is said", []string{"LIMITS RCPTMAX=20 MAILMAX=2"}, nil, 0, 90, outbox.Accepted, 5, 3, 0, 0},
		{"a high limit", []string{"LIMITS RCPTMAX=1000"}, nil, 0, 250, outbox.Accepted, 1, 1, 0, 0},
		{"452", nil, []smtpd.Rule{
			{On: "RCPT", From: 31, Times: 70, Reply: smtpd.Lines{"452 4.5.3 too many recipients"}},
		}, 0, 100, outbox.Accepted, 4, 1, 0, 0},
		{"one message for a connection", nil, nil, 1, 250, outbox.Accepted, 3, 3, 0, 0},
		{"some unknown", nil, []smtpd.Rule{unknown}, 0, 250, outbox.Accepted, 3, 1, 25, 0},
		{"some later", nil, []smtpd.Rule{later}, 0, 250, outbox.Deferred, 3, 1, 0, 25},
		{"some unknown, some later, one message for a connection", nil, []smtpd.Rule{unknown, later}, 1, 250, outbox.Deferred, 3, 3, 25, 25},
		{"one of the parts unknown", []string{"LIMITS RCPTMAX=10"}, []smtpd.Rule{
			{On: "RCPT", Match: "bob02.@", Reply: smtpd.Lines{"550 5.1.1 no such user"}},
		}, 0, 30, outbox.Accepted, 2, 1, 10, 0},
		{"the first part for later", []string{"LIMITS RCPTMAX=10"}, []smtpd.Rule{
			{On: "RCPT", Match: "bob00.@", Reply: smtpd.Lines{"450 4.2.1 later"}},
			{On: "RCPT", Match: "bob", Reply: smtpd.Lines{"550 5.1.1 no such user"}},
		}, 0, 30, outbox.Deferred, 0, 1, 20, 10},
		{"452 to everybody", nil, []smtpd.Rule{{On: "RCPT", Reply: smtpd.Lines{"452 4.5.3 too many recipients"}}},
			0, 150, outbox.Deferred, 0, 1, 0, 150},
		{"the second part refused", nil, []smtpd.Rule{{On: "*", Match: `^(\.|BDAT.*)$`, From: 2, Reply: smtpd.Lines{"554 5.6.0 no"}}},
			0, 150, outbox.Refused, 1, 1, 0, 50},
		{"the second part lost", nil, []smtpd.Rule{{On: "DOT", From: 2, Instead: smtpd.CloseConn}},
			0, 250, outbox.Uncertain, 1, 1, 0, 150},
	}
	for _, tt := range tests {
		for _, chunking := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.name, ", chunking ", chunking), func(t *testing.T) {
				o := newOffice(t, smtpd.Script{Behaviour: smtpd.Behaviour{Rules: tt.rules, MaxMessages: tt.most,
					EHLO: append([]string{"PIPELINING", "CHUNKING"}, tt.limits...)}})
				all := everybody(tt.to)
				id := o.submit(func(s *Settings, r *Request) { s.Chunking, r.Envelope.To = chunking, all })
				s := o.wait(id, tt.status)
				got := make(map[string]int)
				messages := o.server.Messages()
				for _, m := range messages {
					for _, to := range m.To {
						got[to.Address]++
					}
				}
				for address, n := range got {
					if n > 1 {
						t.Errorf("%s has got it %d times", address, n)
					}
					if !slices.Contains(s.Receipt.Accepted, address) && tt.status != outbox.Uncertain {
						t.Errorf("%s has got it, and nobody knows", address)
					}
				}
				if len(s.Receipt.Accepted) != len(got) {
					t.Errorf("%d accepted, %d have got it", len(s.Receipt.Accepted), len(got))
				}
				left := len(s.Envelope.To)
				if tt.status == outbox.Accepted {
					left = 0
				}
				if len(messages) != tt.transactions || len(s.Receipt.Refused) != tt.refused || left != tt.left ||
					len(got)+tt.refused+tt.left != tt.to {
					t.Errorf("%d transactions, %d refused, %d left, %d of %d have got it", len(messages), len(s.Receipt.Refused), left, len(got), tt.to)
				}
				if n := len(o.server.Sessions()); n != tt.connections {
					t.Errorf("%d connections, want %d", n, tt.connections)
				}
			})
		}
	}
}

// Where a server says how many transactions and domains it takes, it never has
// to say that it has enough.
func TestLimits(t *testing.T) {
	o := newOffice(t, smtpd.Script{Behaviour: smtpd.Behaviour{
		EHLO: []string{"PIPELINING", "LIMITS MAILMAX=3 RCPTDOMAINMAX=2"}}})
	for range 4 {
		o.wait(o.submit(func(s *Settings, r *Request) {
			s.KeepConnection = 60
			r.Envelope.To = []string{"a@one.example", "b@Two.example", "c@two.example", "d@three.example", "e@one.example"}
		}), outbox.Accepted)
	}
	for i, s := range o.server.Sessions() {
		if len(s.Messages) != 3 && i < 2 {
			t.Errorf("connection %d had %d transactions", i+1, len(s.Messages))
		}
		if i < 2 && s.End != "quit" {
			t.Errorf("connection %d ended with %q", i+1, s.End)
		}
		for _, line := range s.Lines {
			if !line.Client && line.Text[0] == '4' {
				t.Errorf("the server has said %q", line.Text)
			}
		}
	}
	if n := len(o.server.Messages()); n != 8 {
		t.Errorf("%d transactions", n)
	}
}

// What one transaction came to is on disk, and not in doubt, when the next one
// begins.
func TestBetweenTransactions(t *testing.T) {
	o := newOffice(t, smtpd.Script{Behaviour: smtpd.Behaviour{
		Rules: []smtpd.Rule{{On: "MAIL", From: 2, Instead: smtpd.Silence}},
	}})
	id := o.submit(func(_ *Settings, r *Request) { r.Envelope.To = everybody(150) })
	if _, err := o.server.Wait(t.Context(), func(list []smtpd.Session) bool {
		n := 0
		for _, s := range list {
			for _, line := range s.Commands() {
				if len(line) > 4 && line[:4] == "MAIL" {
					n++
				}
			}
		}
		return n == 2
	}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(o.dir, id+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var s outbox.State
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	if s.Status != outbox.Sending || s.Dot || len(s.Envelope.To) != 50 || len(s.Receipt.Accepted) != 100 {
		t.Errorf("%s, dot %v, %d left, %d accepted", s.Status, s.Dot, len(s.Envelope.To), len(s.Receipt.Accepted))
	}
	o.Act(id, Cancel)
	o.wait(id, outbox.Cancelled)
}
