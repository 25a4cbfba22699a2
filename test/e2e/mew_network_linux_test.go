// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"submission/test/netlab"
	"submission/test/smtpd"
)

// mewRoad is a server as Mew may find it on the real ports.
type mewRoad struct {
	name  string
	make  func(s *site, host string, v4, v6 netip.Addr)
	lisp  string // settings of the case, elements of mew-config-alist
	brief bool   // somebody stays silent
	port  int    // where it is taken; 0: it is back in the queue
	tls   bool
	said  string // in Mew's log
}

// mewStarttls and mewTLS are settings with the fallback on, and for port 465.
const (
	mewStarttls = `("smtp-ssl" t) ("smtp-ssl-port" ,mew-smtp-port)`
	mewTLS      = `("smtp-ssl" t) ("smtp-ssl-port" 465)`
)

// ports puts mail servers on ports of an address.
func ports(ports ...uint16) func(*site, string, netip.Addr, netip.Addr) {
	return func(s *site, _ string, v4, _ netip.Addr) {
		for _, port := range ports {
			s.serve(v4, port)
			s.listen[len(s.listen)-1].TLS = port == 465
		}
	}
}

// fails has port 587 answer so, and puts a mail server on port 25.
func fails(answers ...netlab.Answer) func(*site, string, netip.Addr, netip.Addr) {
	return func(s *site, _ string, v4, _ netip.Addr) {
		for i, answer := range answers {
			s.lab.Answer(netip.AddrPortFrom(v4, []uint16{587, 25}[i]), answer)
		}
		if len(answers) < 2 {
			s.serve(v4, 25)
		}
	}
}

// speaks puts a mail server with rules on port 587, and a good one on port 25.
func speaks(rules ...smtpd.Rule) func(*site, string, netip.Addr, netip.Addr) {
	return func(s *site, _ string, v4, _ netip.Addr) {
		s.serve(v4, 587, rules...)
		s.serve(v4, 25)
	}
}

// onlyIPv6 has mail servers on ports of an address in the host's only record.
func onlyIPv6(ports ...uint16) func(*site, string, netip.Addr, netip.Addr) {
	return func(s *site, host string, _, v6 netip.Addr) {
		s.names[host] = []netip.Addr{v6}
		for _, port := range ports {
			s.serve(v6, port)
		}
	}
}

var mewRoads = []mewRoad{
	{name: "587 answers", make: ports(587, 25), port: 587},
	{name: "reset", make: ports(25), port: 25},
	{name: "ICMP hard", make: fails(netlab.ICMP(3, 13)), port: 25},
	{name: "ICMP soft", make: fails(netlab.ICMP(3, 1)), port: 25},
	{name: "silence", make: fails(netlab.Silence()), brief: true, port: 25},
	{name: "closed before the greeting", make: speaks(smtpd.Rule{On: "GREETING", Instead: smtpd.CloseConn}), port: 25},
	{name: "reset before the greeting", make: speaks(smtpd.Rule{On: "CONNECT", Instead: smtpd.Reset}), port: 25},
	{name: "never speaks", make: speaks(smtpd.Rule{On: "GREETING", Instead: smtpd.Silence}), brief: true, port: 25},
	{name: "another greeting", make: speaks(on("GREETING", "554 5.3.2 not here")), port: 25},
	{name: "an error after the greeting", make: speaks(on("EHLO", "421 4.3.2 going down")), said: "421 4.3.2 going down"},
	{name: "both reset", make: ports(), said: "reset (case 2)"},
	{name: "both unreachable", make: fails(netlab.ICMP(3, 1), netlab.ICMP(3, 13)), said: "soft (case 4)"},
	{name: "both silent", make: fails(netlab.Silence(), netlab.Silence()), brief: true, said: "timeout (case 5)"},
	{name: "reset, then silence", make: fails(netlab.Pass(), netlab.Silence()), brief: true, said: "timeout (case 5)"},
	{name: "only an AAAA record", make: onlyIPv6(587), port: 587},
	{name: "only an AAAA record, reset", make: onlyIPv6(25), port: 25},
	{name: "no such name", make: func(s *site, host string, _, _ netip.Addr) { delete(s.names, host) }, said: "no such name"},
	{name: "465", make: ports(465, 587, 25), lisp: mewTLS, port: 465, tls: true},
	{name: "465 refused", make: ports(587, 25), lisp: mewTLS, said: "reset"},
	{name: "465 silent", make: func(s *site, _ string, v4, _ netip.Addr) {
		s.lab.Answer(netip.AddrPortFrom(v4, 465), netlab.Silence())
		s.serve(v4, 587)
		s.serve(v4, 25)
	}, lisp: mewTLS, brief: true, said: "timeout"},
	{name: "STARTTLS", make: ports(587, 25), lisp: mewStarttls, port: 587, tls: true},
	{name: "STARTTLS, reset", make: ports(25), lisp: mewStarttls, port: 25, tls: true},
	{name: "STARTTLS, refused", make: speaks(on("STARTTLS", "454 4.7.0 no")), lisp: mewStarttls, said: "454 4.7.0 no"},
}

// TestMewNetwork sends to all of these at once, from one Emacs, which is never
// kept. What can't be sent is back in the queue, and nothing stays locked.
func TestMewNetwork(t *testing.T) {
	eachMewAt(t, func(t *testing.T, s *site, ready func() *mew) {
		first, _ := s.host("first")
		s.serve(first, 587)
		var cases, sends strings.Builder
		for i, road := range mewRoads {
			host := fmt.Sprintf("h%d", i)
			v4, v6 := s.host(host)
			road.make(s, host, v4, v6)
			fmt.Fprintf(&cases, "(%q (\"smtp-server\" \"%s.lab.test\") %s)\n", host, host, road.lisp)
			limit := patience
			if road.brief {
				limit = alarm
			}
			fmt.Fprintf(&sends, "(go %q %d)\n", host, limit)
		}
		m := ready()
		n := m.notesOf(s.at(mewFallbackOn + "(setq mew-config-alist `((\"first\" (\"smtp-server\" \"first.lab.test\"))" + cases.String() + `))
			(mew-config-setup)
			(defun go (case limit)
			  (setq mew-smtp-submission-timeout limit submission-greeting-timeout limit)
			  (mew-story-case case (concat case "@example.org"))
			  (accept-process-output nil 0.01))
			(go "first" 60) ; what is loaded with it is not measured
			(mew-story-wait)
			(site-measure)
			` + sends.String() + `
			(mew-story-wait)
			(mew-story-note)
			(princ (format "NOTE longest %s\n" site-longest))`))
		log := mewLogLines(m.log())
		got := byRecipient(s.server)
		back := map[string]bool{}
		for _, note := range n.list {
			if file, ok := strings.CutPrefix(note, "+queue/"); ok && !strings.ContainsAny(file, "#.") {
				text, err := os.ReadFile(m.path("Mail/queue/" + file))
				if err != nil {
					t.Fatal(err)
				}
				_, rest, _ := strings.Cut(string(text), "To: ")
				address, _, _ := strings.Cut(rest, "\n")
				back[address] = true
			}
		}
		for i, road := range mewRoads {
			t.Run(road.name, func(t *testing.T) {
				to := fmt.Sprintf("h%d@example.org", i)
				line := log[to]
				if road.port == 0 {
					if message, ok := got[to]; ok || !back[to] || !strings.Contains(line, road.said) {
						t.Errorf("taken %v at %s, in the queue %v, log %q", ok, message.Port, back[to], line)
					}
					return
				}
				message := got[to]
				if !strings.HasSuffix(message.Port, ":"+strconv.Itoa(road.port)) || message.TLS != road.tls || back[to] {
					t.Errorf("taken at %q, TLS %v, in the queue %v, log %q", message.Port, message.TLS, back[to], line)
				}
				name := map[int]string{25: "smtp", 587: "submission", 465: ":"}[road.port]
				if !strings.Contains(line, "status=sent") || !strings.Contains(line, name) || strings.Contains(line, "TLS") != road.tls {
					t.Errorf("log %q", line)
				}
			})
		}
		for _, note := range n.list {
			if strings.HasPrefix(note, "buffer ") || strings.HasSuffix(note, ".wrk") {
				t.Errorf("left behind: %s", note)
			}
			if text, ok := strings.CutPrefix(note, "longest "); ok {
				// An Emacs that waits for a step is kept for all of its alarm.
				if longest, err := strconv.ParseFloat(text, 64); err != nil || longest == 0 || longest >= alarm/2. {
					t.Errorf("Emacs was kept for %v s, %v", longest, err)
				}
				t.Logf("Emacs was kept for %s s at most", text)
			}
		}
		if t.Failed() {
			t.Logf("Emacs said:\n%s", n.output)
		}
	})
}

// mewLogLines returns the last line for each recipient in Mew's log.
func mewLogLines(log string) map[string]string {
	lines := map[string]string{}
	for line := range strings.Lines(log) {
		if _, rest, ok := strings.Cut(line, " recipients="); ok {
			to, _, _ := strings.Cut(rest, " ")
			lines[to] = line
		}
	}
	return lines
}
