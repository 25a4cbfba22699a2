// SPDX-License-Identifier: GPL-3.0-or-later

package netlab_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"submission/family"
	"submission/test/netlab"
)

func TestMain(m *testing.M) { os.Exit(netlab.Main(m)) }

// A row is one way in which a step can end.
type row struct {
	name    string
	only    string // "ipv4", "ipv6", or "" for both
	make    func(t *testing.T, lab *netlab.Lab, to netip.AddrPort)
	target  func(lab *netlab.Lab) (v4, v6 netip.Addr) // nil: a new address of the server
	alarm   time.Duration                             // 0: long enough for any machine
	outcome family.Outcome
	detail  string // a regular expression for all of it; ROUTER and CLIENT are addresses
}

// brief is the alarm where nothing will come.
const brief = 300 * time.Millisecond

const noAnswer = `no answer in [0-9.]+ s, [0-9]+ SYNs? sent`

func rows() []row {
	rows := []row{
		{name: "open", make: accept(nil), outcome: family.Connected},
		{name: "open and silent", make: accept(func(net.Conn) {}), outcome: family.Connected},
		{name: "1 SYN lost", make: lose(1), outcome: family.Connected},
		{name: "2 SYNs lost", make: lose(2), outcome: family.Connected},
		{name: "RST", make: nothing, outcome: family.Reset, detail: `connection refused \(RST\)`},
		{name: "silence", make: answer(netlab.Silence()), alarm: brief, outcome: family.Timeout, detail: noAnswer},
		{name: "no route", make: noRoute(""), outcome: family.Local, detail: "no route"},
		{name: "unreachable route", make: noRoute("unreachable"), outcome: family.Local,
			detail: "unreachable, says this machine's routing table"},
		{name: "prohibit route", make: noRoute("prohibit"), outcome: family.Local,
			detail: `forbidden on this machine \(permission denied\)`},
		{name: "blackhole route", make: noRoute("blackhole"), outcome: family.Local, detail: ".*invalid argument.*"},
		{name: "no neighbour", make: nothing, target: (*netlab.Lab).Absent, outcome: family.Local,
			detail: "no answer from the neighbour .*"},
		{name: "own firewall drops", make: ownFirewall("drop"), alarm: brief, outcome: family.Timeout, detail: noAnswer},
		{name: "own firewall rejects", only: "ipv4", make: ownFirewall("reject with icmp type admin-prohibited"),
			outcome: family.Local, detail: `rejected on this machine: ICMP 3/13 from CLIENT .*`},
		{name: "own firewall rejects as by default", only: "ipv4", make: ownFirewall("reject"),
			outcome: family.Local, detail: `rejected on this machine: ICMP 3/3 from CLIENT .*`},
		{name: "own firewall rejects", only: "ipv6", make: ownFirewall("reject with icmpv6 type admin-prohibited"),
			outcome: family.Local, detail: `rejected on this machine: ICMPv6 1/1 from CLIENT .*`},
	}
	for _, icmp := range []struct {
		only    string
		kind    uint8
		codes   []uint8
		outcome family.Outcome
	}{
		{"ipv4", 3, []uint8{2, 3, 9, 10, 13, 14, 15}, family.Hard},
		{"ipv4", 3, []uint8{0, 1, 5, 6, 7, 8, 11, 12}, family.Soft},
		{"ipv4", 11, []uint8{0}, family.Soft},
		{"ipv4", 12, []uint8{0, 1, 2}, family.Soft},
		{"ipv4", 3, []uint8{4, 16}, family.Timeout},
		{"ipv4", 4, []uint8{0}, family.Timeout},
		{"ipv4", 11, []uint8{1}, family.Timeout},
		{"ipv6", 1, []uint8{1, 4, 5, 6}, family.Hard},
		{"ipv6", 1, []uint8{0, 2, 3, 7, 8}, family.Soft},
		{"ipv6", 3, []uint8{0, 1}, family.Soft},
		{"ipv6", 4, []uint8{0, 1, 2}, family.Soft},
		{"ipv6", 2, []uint8{0}, family.Timeout},
	} {
		protocol := map[string]string{"ipv4": "ICMP", "ipv6": "ICMPv6"}[icmp.only]
		for _, code := range icmp.codes {
			r := row{
				name:    fmt.Sprintf("%s %d/%d", protocol, icmp.kind, code),
				only:    icmp.only,
				make:    answer(netlab.ICMP(icmp.kind, code)),
				outcome: icmp.outcome,
				detail:  fmt.Sprintf(`%s %d/%d from ROUTER( \(.*\))?`, protocol, icmp.kind, code),
			}
			if icmp.outcome == family.Timeout {
				r.alarm = brief
				r.detail = noAnswer + "|no answer, but " + r.detail
			}
			rows = append(rows, r)
		}
	}
	return rows
}

// TestOutcomes has each way a step can end, on both ports and in both families:
// the exact outcome, and a detail that says what was seen.
func TestOutcomes(t *testing.T) {
	lab := netlab.New(t)
	for _, r := range rows() {
		for _, port := range []uint16{587, 25} {
			if r.only != "ipv6" {
				t.Run(fmt.Sprintf("%s/ipv4/%d", r.name, port), func(t *testing.T) { r.test(t, lab, false, port) })
			}
			if r.only != "ipv4" {
				t.Run(fmt.Sprintf("%s/ipv6/%d", r.name, port), func(t *testing.T) { r.test(t, lab, true, port) })
			}
		}
	}
}

func (r row) test(t *testing.T, lab *netlab.Lab, v6 bool, port uint16) {
	t.Parallel()
	target := (*netlab.Lab).Addresses
	if r.target != nil {
		target = r.target
	}
	ip, six := target(lab)
	router, client := "198.18.0.1", "198.18.0.2"
	if v6 {
		ip, router, client = six, "fd00:0:0:1::1", "fd00:0:0:1::2"
	}
	r.make(t, lab, netip.AddrPortFrom(ip, port))
	d := family.Dialer{Alarm: r.alarm}
	if d.Alarm == 0 {
		d.Alarm = time.Minute
	}
	got := d.Connect(t.Context(), []netip.Addr{ip}, int(port))
	if got.Conn != nil {
		defer got.Conn.Close()
	}
	detail := strings.NewReplacer("ROUTER", regexp.QuoteMeta(router), "CLIENT", regexp.QuoteMeta(client)).Replace(r.detail)
	if got.Outcome != r.outcome || !regexp.MustCompile("^("+detail+")$").MatchString(got.Detail) {
		t.Errorf("got %s, %q; want %s, %s", got.Outcome, got.Detail, r.outcome, detail)
	}
	if (got.Conn != nil) != (r.outcome == family.Connected) {
		t.Errorf("outcome %s with connection %v", got.Outcome, got.Conn)
	}
}

// TestClosedAtOnce connects to a server that accepts and resets: either connect
// itself tells (closed, not case 2), or the first read does.
func TestClosedAtOnce(t *testing.T) {
	lab := netlab.New(t)
	for name, pick := range map[string]func(v4, v6 netip.Addr) netip.Addr{
		"ipv4": func(v4, _ netip.Addr) netip.Addr { return v4 },
		"ipv6": func(_, v6 netip.Addr) netip.Addr { return v6 },
	} {
		t.Run(name, func(t *testing.T) {
			to := netip.AddrPortFrom(pick(lab.Addresses()), 587)
			accept(func(conn net.Conn) {
				conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
			})(t, lab, to)
			seen := map[family.Outcome]int{}
			for range 50 {
				r := new(family.Dialer).Connect(t.Context(), []netip.Addr{to.Addr()}, 587)
				seen[r.Outcome]++
				switch r.Outcome {
				case family.Closed:
					if r.Detail != "accepted, and reset at once" {
						t.Errorf("it says %q", r.Detail)
					}
				case family.Connected:
					if _, err := r.Conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("the first read says %v", err)
					}
					r.Conn.Close()
				default:
					t.Fatalf("got %s, %q", r.Outcome, r.Detail)
				}
			}
			t.Log(seen)
		})
	}
}

// TestSeveralAddresses has steps of more than one address.
func TestSeveralAddresses(t *testing.T) {
	lab := netlab.New(t)
	type what func(t *testing.T, lab *netlab.Lab, to netip.AddrPort)
	for name, test := range map[string]struct {
		addresses []what
		stagger   time.Duration // longer than any failure takes, unless the test is about it
		outcome   family.Outcome
		decides   int
		details   []string
	}{
		"ICMP, then open":      {[]what{answer(netlab.ICMP(3, 13)), accept(nil)}, time.Minute, family.Connected, 1, []string{"ICMP 3/13"}},
		"silence, then open":   {[]what{answer(netlab.Silence()), accept(nil)}, time.Millisecond, family.Connected, 1, nil},
		"RST, ICMP hard, soft": {[]what{nothing, answer(netlab.ICMP(3, 10)), answer(netlab.ICMP(3, 1))}, time.Minute, family.Soft, 2, []string{"(RST)", "ICMP 3/10", "ICMP 3/1 "}},
		"RST, silence":         {[]what{nothing, answer(netlab.Silence())}, time.Minute, family.Timeout, 1, []string{"(RST)", "no answer in"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var list []netip.Addr
			for _, make := range test.addresses {
				v4, _ := lab.Addresses()
				make(t, lab, netip.AddrPortFrom(v4, 587))
				list = append(list, v4)
			}
			d := family.Dialer{Alarm: time.Minute, Stagger: test.stagger}
			if test.outcome == family.Timeout {
				d.Alarm = brief
			}
			r := d.Connect(t.Context(), list, 587)
			if r.Conn != nil {
				defer r.Conn.Close()
			}
			if r.Outcome != test.outcome || r.Address != list[test.decides] {
				t.Errorf("got %s by %s, %q; want %s by %s", r.Outcome, r.Address, r.Detail, test.outcome, list[test.decides])
			}
			for i, detail := range test.details {
				if !strings.Contains(r.Detail, list[i].String()+": ") || !strings.Contains(r.Detail, detail) {
					t.Errorf("%q doesn't say %q of %s", r.Detail, detail, list[i])
				}
			}
		})
	}
}

func nothing(*testing.T, *netlab.Lab, netip.AddrPort) {}

func answer(what netlab.Answer) func(*testing.T, *netlab.Lab, netip.AddrPort) {
	return func(_ *testing.T, lab *netlab.Lab, to netip.AddrPort) { lab.Answer(to, what) }
}

func noRoute(kind string) func(*testing.T, *netlab.Lab, netip.AddrPort) {
	return func(_ *testing.T, lab *netlab.Lab, to netip.AddrPort) { lab.NoRoute(to.Addr(), kind) }
}

// lose makes an open port of which the first n SYNs are lost.
func lose(n int) func(*testing.T, *netlab.Lab, netip.AddrPort) {
	return func(t *testing.T, lab *netlab.Lab, to netip.AddrPort) {
		accept(nil)(t, lab, to)
		lab.Answer(to, netlab.Lose(n))
	}
}

// accept makes an open port; with nil it greets.
func accept(serve func(net.Conn)) func(*testing.T, *netlab.Lab, netip.AddrPort) {
	if serve == nil {
		serve = func(conn net.Conn) {
			io.WriteString(conn, "220 hello\r\n")
			conn.Close()
		}
	}
	return func(t *testing.T, lab *netlab.Lab, to netip.AddrPort) {
		ln := lab.Listen(t, to)
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				serve(conn)
			}
		}()
	}
}

// ownFirewall makes a firewall on the client for one address and port.
func ownFirewall(verdict string) func(*testing.T, *netlab.Lab, netip.AddrPort) {
	return func(t *testing.T, lab *netlab.Lab, to netip.AddrPort) {
		ip := "ip6"
		if to.Addr().Is4() {
			ip = "ip"
		}
		lab.Client.Firewall(t, fmt.Sprintf(`table inet own {
	chain output {
		type filter hook output priority 0;
		%s daddr %s tcp dport %d %s
	}
}`, ip, to.Addr(), to.Port(), verdict))
	}
}
