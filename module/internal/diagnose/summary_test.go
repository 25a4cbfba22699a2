// SPDX-License-Identifier: GPL-3.0-or-later

package diagnose

import (
	"fmt"
	"strings"
	"testing"

	"submission/fallback"
)

// row makes a row of which a step over IPv4 to port 587 is known.
func row(line int, step Step, change func(*Row)) Row {
	step.Family, step.Port = fallback.IPv4, fallback.Submission
	if step.State == "" {
		step.State = Done
	}
	step.Case = step.Outcome.Case()
	r := Row{Server: Server{Line: line, Host: "mail.example.org", Kind: Unknown}, State: Done, Steps: []Step{step}}
	if change != nil {
		change(&r)
	}
	return r
}

func TestSum(t *testing.T) {
	outcome := func(o fallback.Outcome) Step { return Step{Outcome: o} }
	rows := []Row{
		row(1, outcome(fallback.Connected), func(r *Row) { r.Kind = "ISP" }),
		row(2, outcome(fallback.Connected), func(r *Row) { r.Repeat = 1 }),
		row(3, outcome(fallback.Connected), func(r *Row) { r.Local = true; r.Kind = "ISP" }),
		row(4, Step{}, func(r *Row) { r.Repeat = 3; r.Steps = nil }), // a local one again
		row(5, outcome(fallback.Reset), nil),
		row(6, outcome(fallback.Hard), nil),
		row(7, outcome(fallback.Soft), nil),
		row(8, outcome(fallback.Timeout), nil),
		row(9, outcome(fallback.Connected), func(r *Row) { r.Way = SSH }),
		row(10, outcome(fallback.Connected), func(r *Row) { r.Way = SSL }),
		row(11, outcome(fallback.Local), nil),
		row(12, Step{State: Skipped}, nil),
		row(13, Step{}, func(r *Row) { r.Steps = nil }), // no such name
		row(14, Step{State: Cancelled}, func(r *Row) { r.State = Cancelled }),
		row(15, Step{State: Waiting}, func(r *Row) { r.State = Trying }),
		row(16, Step{}, func(r *Row) { r.Steps, r.State = nil, Waiting }),
	}
	s := Sum(rows)
	want := "{16 2 1 13 [{ISP 1} {ASP 0} {Company 0} {University 0} {Unknown 12}] " +
		"[{Case 1 (Submission) 1} {Case 2 (TCP RST) 1} {Case 3 (Hard error) 1} {Case 4 (Soft error) 1} {Case 5 (TCP timeout) 1} " +
		"{SSH(22) 1} {SSL(465) 1} {None of these 3} {Not finished 3}]}"
	if got := fmt.Sprint(s); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, table := range [][]Count{s.Kinds, s.Cases} {
		sum := 0
		for _, c := range table {
			sum += c.Count
		}
		if sum != s.Servers {
			t.Errorf("%v adds up to %d, not %d", table, sum, s.Servers)
		}
	}
}

func TestWords(t *testing.T) {
	seen := func(change func(*Step)) Step {
		s := Step{Outcome: fallback.Connected, Greeting: "220 x", TLS: "verified", AuthSecure: []string{"PLAIN"}, Mail: 530, MailReply: "530 5.7.0 no"}
		change(&s)
		return s
	}
	tests := []struct {
		name string
		row  Row
		want string // the beginning
	}{
		{"yes", row(1, seen(func(*Step) {}), nil), "yes, because port 587 over IPv4 offers AUTH (PLAIN) and refuses mail without it (530 5.7.0 no)"},
		{"another 5xx", row(1, seen(func(s *Step) { s.Mail = 550 }), nil), "yes, "},
		{"AUTH without TLS", row(1, seen(func(s *Step) { s.TLS, s.AuthClear, s.AuthSecure = "", []string{"CRAM-MD5"}, nil }), nil), "yes, because port 587 over IPv4 offers AUTH (CRAM-MD5)"},
		{"AUTH before TLS only", row(1, seen(func(s *Step) { s.AuthClear, s.AuthSecure = []string{"PLAIN"}, nil }), nil), "no, because port 587 over IPv4 refuses mail (530 5.7.0 no) and offers no AUTH"},
		{"mail taken", row(1, seen(func(s *Step) { s.Mail, s.MailReply = 250, "250 ok" }), nil), "no, because port 587 over IPv4 takes mail without AUTH (250 ok), or this network is authorised"},
		{"put off", row(1, seen(func(s *Step) { s.Mail = 451 }), nil), "not known, "},
		{"lost", row(1, seen(func(s *Step) { s.Mail, s.Problem = 0, "tls: EOF" }), nil), "not known, because port 587 over IPv4 was greeted and then lost: tls: EOF"},
		{"reset", row(1, Step{Outcome: fallback.Reset}, nil), "no, "},
		{"soft", row(1, Step{Outcome: fallback.Soft}, nil), "not known, "},
		{"local", row(1, Step{Outcome: fallback.Local, Detail: "no route"}, nil), "not known, because of trouble on this machine"},
		{"cancelled", row(1, Step{State: Cancelled}, nil), "not known, because port 587 over IPv4 was cancelled"},
		{"skipped", row(1, Step{State: Skipped, Detail: "the server has no IPv4 address"}, nil), "not known, because the server has no IPv4 address"},
		{"no such name", row(1, Step{}, func(r *Row) { r.Steps, r.Detail = nil, "no such name: x" }), "not known, because no such name: x"},
		{"under way", row(1, seen(func(*Step) {}), func(r *Row) { r.State = Trying }), "not known yet, "},
		{"a no from the server weighs more than silence", row(1, seen(func(s *Step) { s.Mail = 250 }), func(r *Row) {
			r.Steps = append([]Step{{Family: fallback.IPv6, Port: 587, State: Done, Outcome: fallback.Timeout}}, r.Steps...)
		}), "no, because port 587 over IPv4 takes"},
		{"a yes weighs most", row(1, seen(func(*Step) {}), func(r *Row) {
			other := seen(func(s *Step) { s.Mail = 250 })
			other.Family, other.Port, other.State = fallback.IPv6, 587, Done
			r.Steps = append([]Step{other}, r.Steps...)
		}), "yes, "},
		{"port 25 says nothing about it", row(1, Step{Outcome: fallback.Reset}, func(r *Row) {
			other := seen(func(*Step) {})
			other.Family, other.Port, other.State = fallback.IPv4, 25, Done
			r.Steps = append(r.Steps, other)
		}), "no, "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := words(tt.row); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
