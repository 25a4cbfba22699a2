// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"submission/test/netlab"
	"submission/test/smtpd"
)

// ending is a way for port 587 to fail, or not.
type ending struct {
	name    string
	only    string // "ipv4", "ipv6", or "" for both
	make    func(s *site, to netip.AddrPort)
	host    bool // it is about the whole address, so port 25 is tried over the other family
	brief   bool // the alarm will ring
	outcome string
	number  int    // the paper's case
	detail  string // a regular expression for all of it; ROUTER and CLIENT are addresses
}

// alarm is the alarm of a step that nobody will answer, in seconds, and
// patience that of the others: long enough for any machine.
const (
	alarm    = 3
	patience = 60
)

const noAnswer = `no answer in [0-9.]+ s, [0-9]+ SYNs? sent`

func endings() []ending {
	list := []ending{
		{name: "open", make: serving(), outcome: "connected", number: 1},
		{name: "1 SYN lost", make: func(s *site, to netip.AddrPort) {
			serving()(s, to)
			s.lab.Answer(to, netlab.Lose(1))
		}, outcome: "connected", number: 1},
		{name: "RST", make: nothing, outcome: "reset", number: 2, detail: `connection refused \(RST\)`},
		{name: "accepted and reset at once", make: serving(smtpd.Rule{On: "CONNECT", Instead: smtpd.Reset}),
			outcome: "closed", detail: ".+"},
		{name: "silence", make: answer(netlab.Silence()), brief: true, outcome: "timeout", number: 5, detail: noAnswer},
		{name: "no route", make: noRoute(""), host: true, outcome: "local", detail: "no route"},
		{name: "unreachable route", make: noRoute("unreachable"), host: true, outcome: "local",
			detail: "unreachable, says this machine's routing table"},
		{name: "prohibit route", make: noRoute("prohibit"), host: true, outcome: "local",
			detail: `forbidden on this machine \(permission denied\)`},
		{name: "blackhole route", make: noRoute("blackhole"), host: true, outcome: "local", detail: ".*invalid argument.*"},
		{name: "no neighbour", host: true, outcome: "local", detail: "no answer from the neighbour .*"},
		{name: "own firewall drops", make: ownFirewall("drop"), brief: true, outcome: "timeout", number: 5, detail: noAnswer},
		{name: "own firewall rejects", only: "ipv4", make: ownFirewall("reject with icmp type admin-prohibited"),
			outcome: "local", detail: "rejected on this machine: ICMP 3/13 from CLIENT .*"},
		{name: "own firewall rejects", only: "ipv6", make: ownFirewall("reject with icmpv6 type admin-prohibited"),
			outcome: "local", detail: "rejected on this machine: ICMPv6 1/1 from CLIENT .*"},
	}
	for _, icmp := range []struct {
		only    string
		kind    uint8
		codes   []uint8
		outcome string
		number  int
	}{
		{"ipv4", 3, []uint8{2, 3, 9, 10, 13, 14, 15}, "hard", 3},
		{"ipv4", 3, []uint8{0, 1, 5, 6, 7, 8, 11, 12}, "soft", 4},
		{"ipv4", 11, []uint8{0}, "soft", 4},
		{"ipv4", 12, []uint8{0, 1, 2}, "soft", 4},
		{"ipv4", 3, []uint8{4, 16}, "timeout", 5},
		{"ipv4", 4, []uint8{0}, "timeout", 5},
		{"ipv4", 11, []uint8{1}, "timeout", 5},
		{"ipv6", 1, []uint8{1, 4, 5, 6}, "hard", 3},
		{"ipv6", 1, []uint8{0, 2, 3, 7, 8}, "soft", 4},
		{"ipv6", 3, []uint8{0, 1}, "soft", 4},
		{"ipv6", 4, []uint8{0, 1, 2}, "soft", 4},
		{"ipv6", 2, []uint8{0}, "timeout", 5},
	} {
		protocol := map[string]string{"ipv4": "ICMP", "ipv6": "ICMPv6"}[icmp.only]
		for _, code := range icmp.codes {
			e := ending{
				name: fmt.Sprintf("%s %d/%d", protocol, icmp.kind, code), only: icmp.only,
				make: answer(netlab.ICMP(icmp.kind, code)), outcome: icmp.outcome, number: icmp.number,
				detail: fmt.Sprintf(`%s %d/%d from ROUTER( \(.*\))?`, protocol, icmp.kind, code),
			}
			if e.outcome == "timeout" {
				e.brief, e.detail = true, noAnswer+"|no answer, but "+e.detail
			}
			list = append(list, e)
		}
	}
	return list
}

// told is an ending in one family, the host whose port 587 ends so, and what the
// sender is to be told.
type told struct {
	ending
	family   string
	host     string
	sequence string
	attempts []attempt // Detail is a regular expression
}

// TestOutcomesFromEmacs sends a message to a host for each way in which port
// 587 can fail, in both families, all from one Emacs and at once: the next step
// gets it, the receipt says what happened, and Emacs is never kept.
func TestOutcomesFromEmacs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, _ := s.host("first")
	s.serve(first, 587)
	var all []told
	for _, e := range endings() {
		for _, family := range []string{"ipv4", "ipv6"} {
			if e.only == "" || e.only == family {
				all = append(all, e.build(s, family, fmt.Sprintf("h%d", len(all))))
			}
		}
	}
	var lisp strings.Builder
	for _, h := range all {
		wait := patience
		if h.brief {
			wait = alarm
		}
		fmt.Fprintf(&lisp, "(site-send %q '%s %d)\n", h.host, h.sequence, wait)
	}
	s.open()
	got := s.tell(`
		(site-send "first" 'mew 60) ; what is loaded with the first message is not measured
		(site-measure)
		` + lisp.String() + `
		(story-wait)
		(probe-note "longest" :values (vector (number-to-string site-longest)))`)
	for _, h := range all {
		t.Run(h.name+"/"+h.family, func(t *testing.T) { h.check(t, s, got[h.host]) })
	}
	// An Emacs that waits for a step is kept for all of its alarm.
	longest, err := strconv.ParseFloat(value(t, s.notes(), "longest"), 64)
	if err != nil || longest == 0 || longest >= alarm/2. {
		t.Errorf("Emacs was kept for %v s, %v", longest, err)
	}
	t.Logf("%d messages; Emacs was kept for %.0f ms at most", len(all), longest*1000)
}

// build makes a host for an ending and says what its receipt must have.
func (e ending) build(s *site, family, name string) told {
	v4, v6 := s.host(name)
	ip, other, its := v4, v6, "ipv6"
	if family == "ipv6" {
		ip, other, its = v6, v4, "ipv4"
	}
	if e.make == nil {
		absent4, absent6 := s.lab.Absent()
		ip = absent4
		if family == "ipv6" {
			ip = absent6
		}
		s.names[name] = []netip.Addr{ip, other}
	} else {
		e.make(s, netip.AddrPortFrom(ip, 587))
	}
	h := told{ending: e, family: family, host: name}
	add := func(family string, port int, address netip.Addr, outcome string, number int, detail string) {
		h.attempts = append(h.attempts, attempt{Family: family, Port: port, Address: address.String(),
			Outcome: outcome, Case: number, Detail: detail})
	}
	router, client := "198.18.0.1", "198.18.0.2"
	if family == "ipv6" {
		router, client = "fd00:0:0:1::1", "fd00:0:0:1::2"
	}
	detail := strings.NewReplacer("ROUTER", regexp.QuoteMeta(router), "CLIENT", regexp.QuoteMeta(client)).Replace(e.detail)
	add(family, 587, ip, e.outcome, e.number, detail)
	last, over := ip, family
	switch {
	case e.host:
		h.sequence = fmt.Sprintf("((%s . 587) (%s . 25))", family, its)
		last, over = other, its
	case family == "ipv4":
		h.sequence = "mew"
	default:
		h.sequence = "symmetric"
		if e.outcome != "connected" {
			add("ipv4", 587, other, "reset", 2, `connection refused \(RST\)`)
		}
	}
	s.serve(last, 25)
	if e.outcome != "connected" {
		add(over, 25, last, "connected", 1, "")
	}
	return h
}

// check compares a receipt and what the server has with what they must be.
func (h told) check(t *testing.T, s *site, got receipt) {
	if len(got.Attempts) != len(h.attempts) || got.Status != "accepted" || got.TLS != "verified" {
		t.Fatalf("%s, TLS %q, attempts %+v; want %+v", got.Status, got.TLS, got.Attempts, h.attempts)
	}
	for i, want := range h.attempts {
		a := got.Attempts[i]
		if !regexp.MustCompile("^(" + want.Detail + ")$").MatchString(a.Detail) {
			t.Errorf("step %d: detail %q, want %s", i+1, a.Detail, want.Detail)
		}
		if a.Outcome == "timeout" && a.Elapsed < alarm-0.1 {
			t.Errorf("step %d: the alarm rang after %v s", i+1, a.Elapsed)
		}
		if want.Detail, want.Elapsed = a.Detail, a.Elapsed; a != want {
			t.Errorf("step %d: %+v, want %+v", i+1, a, want)
		}
	}
	last := h.attempts[len(h.attempts)-1]
	if got.Family != last.Family || got.Port != last.Port || got.Address != last.Address {
		t.Errorf("it went to %s %s port %d, want %+v", got.Family, got.Address, got.Port, last)
	}
	at := byRecipient(s.server)[h.host+"@example.org"].Port
	if want := netip.AddrPortFrom(netip.MustParseAddr(last.Address), uint16(last.Port)).String(); at != want {
		t.Errorf("it arrived at %q, want %s", at, want)
	}
}

func nothing(*site, netip.AddrPort) {}

func answer(what netlab.Answer) func(*site, netip.AddrPort) {
	return func(s *site, to netip.AddrPort) { s.lab.Answer(to, what) }
}

func noRoute(kind string) func(*site, netip.AddrPort) {
	return func(s *site, to netip.AddrPort) { s.lab.NoRoute(to.Addr(), kind) }
}

// serving puts a mail server there.
func serving(rules ...smtpd.Rule) func(*site, netip.AddrPort) {
	return func(s *site, to netip.AddrPort) { s.serve(to.Addr(), to.Port(), rules...) }
}

// ownFirewall makes a firewall on the client for one address and port.
func ownFirewall(verdict string) func(*site, netip.AddrPort) {
	return func(s *site, to netip.AddrPort) {
		ip := "ip6"
		if to.Addr().Is4() {
			ip = "ip"
		}
		s.lab.Client.Firewall(s.t, fmt.Sprintf(`table inet own {
	chain output {
		type filter hook output priority 0;
		%s daddr %s tcp dport %d %s
	}
}`, ip, to.Addr(), to.Port(), verdict))
	}
}
