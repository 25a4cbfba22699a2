// SPDX-License-Identifier: GPL-3.0-or-later

package family

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestICMPTable has each row of RFC 1122's and RFC 4443's errors once, with the
// way they count for a connection that isn't open yet.
func TestICMPTable(t *testing.T) {
	codes := func(kind uint8, codes ...uint8) [][2]uint8 {
		var out [][2]uint8
		for _, code := range codes {
			out = append(out, [2]uint8{kind, code})
		}
		return out
	}
	for _, row := range []struct {
		v6      bool
		outcome Outcome
		codes   [][2]uint8
	}{
		{false, Hard, codes(3, 2, 3, 9, 10, 13, 14, 15)},
		{false, Soft, codes(3, 0, 1, 5, 6, 7, 8, 11, 12)},
		{false, Soft, codes(11, 0)},
		{false, Soft, codes(12, 0, 1, 2)},
		{false, Timeout, codes(3, 4, 16, 255)},
		{false, Timeout, codes(4, 0)},
		{false, Timeout, codes(11, 1)},
		{false, Timeout, codes(5, 0, 1)},
		{true, Hard, codes(1, 1, 4, 5, 6)},
		{true, Soft, codes(1, 0, 2, 3, 7, 8, 255)},
		{true, Soft, codes(3, 0, 1)},
		{true, Soft, codes(4, 0, 1, 2, 3)},
		{true, Timeout, codes(2, 0)},
		{true, Timeout, codes(100, 0)},
	} {
		for _, c := range row.codes {
			e := icmpError{v6: row.v6, kind: c[0], code: c[1], from: netip.MustParseAddr("192.0.2.254")}
			if got := e.outcome(); got != row.outcome {
				t.Errorf("%v: got %s, want %s", e, got, row.outcome)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	router, self := netip.MustParseAddr("192.0.2.254"), netip.MustParseAddr("127.0.0.1")
	for _, test := range []struct {
		icmp    icmpError
		outcome Outcome
		detail  string
	}{
		{icmpError{kind: 3, code: 13, from: router}, Hard, "ICMP 3/13 from 192.0.2.254 (forbidden by a firewall)"},
		{icmpError{kind: 3, code: 1, from: router}, Soft, "ICMP 3/1 from 192.0.2.254 (host unreachable)"},
		{icmpError{kind: 11, code: 0, from: router}, Soft, "ICMP 11/0 from 192.0.2.254 (too many hops)"},
		{icmpError{kind: 11, code: 1, from: router}, Timeout, "no answer, but ICMP 11/1 from 192.0.2.254 (a fragment was lost)"},
		{icmpError{kind: 3, code: 13, from: self}, Local, "rejected on this machine: ICMP 3/13 from 127.0.0.1 (forbidden by a firewall)"},
		{icmpError{kind: 3, code: 1, from: self}, Local, "no answer from the neighbour (the router, or the server if it is on this link)"},
		{icmpError{v6: true, kind: 1, code: 7, from: router}, Soft, "ICMPv6 1/7 from 192.0.2.254"},
	} {
		if outcome, detail := judge(test.icmp); outcome != test.outcome || detail != test.detail {
			t.Errorf("%v: got %s, %q; want %s, %q", test.icmp, outcome, detail, test.outcome, test.detail)
		}
	}
}

func TestByErrno(t *testing.T) {
	for errno, want := range map[syscall.Errno]Outcome{
		syscall.ECONNREFUSED:  Reset,
		syscall.ECONNRESET:    Closed,
		syscall.EPIPE:         Closed,
		syscall.ETIMEDOUT:     Timeout,
		syscall.ENETUNREACH:   Local,
		syscall.EHOSTUNREACH:  Local,
		syscall.EACCES:        Local,
		syscall.EADDRNOTAVAIL: Local,
		syscall.EMFILE:        Local,
		syscall.ENFILE:        Local,
		syscall.ENOMEM:        Local,
	} {
		if got, detail := byErrno(errno); got != want || detail == "" {
			t.Errorf("%v: got %s, %q; want %s", errno, got, detail, want)
		}
	}
}

func FuzzParseError(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 16))
	f.Add(append(append(make([]byte, 4), unix.SO_EE_ORIGIN_ICMP6, 1, 4), make([]byte, 40)...))
	f.Add([]byte{111, 0, 0, 0, unix.SO_EE_ORIGIN_ICMP, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, unix.AF_INET, 0, 0, 0, 192, 0, 2, 254})
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, ok := parseError(b); ok && (!e.from.IsValid() || e.String() == "") {
			t.Errorf("%+v", e)
		}
	})
}

// TestNoTrace looks at a connection that succeeded: the option is off, and the
// second descriptor is gone.
func TestNoTrace(t *testing.T) {
	for _, ip := range loopback(t) {
		t.Run(ip.String(), func(t *testing.T) {
			_, port := listen(t, ip)
			before := descriptors(t)
			r := new(Dialer).Connect(t.Context(), []netip.Addr{ip}, port)
			if r.Conn == nil {
				t.Fatal(r.Detail)
			}
			defer r.Conn.Close()
			if n := descriptors(t) - before; n != 1 {
				t.Errorf("%d new descriptors, want 1", n)
			}
			raw, err := r.Conn.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			raw.Control(func(fd uintptr) {
				level, option := unix.SOL_IP, unix.IP_RECVERR
				if ip.Is6() {
					level, option = unix.SOL_IPV6, unix.IPV6_RECVERR
				}
				if on, err := unix.GetsockoptInt(int(fd), level, option); on != 0 || err != nil {
					t.Errorf("the option is %d, %v", on, err)
				}
			})
		})
	}
}

// TestNoDescriptorsLeft fails in the ways loopback can, and counts.
func TestNoDescriptorsLeft(t *testing.T) {
	ln, port := listen(t, netip.MustParseAddr("127.0.0.1"))
	ln.Close()
	before := descriptors(t)
	for range 10 {
		if r := new(Dialer).Connect(t.Context(), addrs("127.0.0.1", "127.0.0.2"), port); r.Outcome != Reset {
			t.Fatalf("got %+v", r)
		}
	}
	if n := descriptors(t); n != before {
		t.Errorf("%d descriptors, were %d", n, before)
	}
}

// descriptors counts the sockets of this process.
func descriptors(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

func TestTooManyOpenFiles(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	r := new(Dialer).Connect(t.Context(), addrs("127.0.0.1"), 587)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if r.Outcome != Local || r.Detail != "too many open files" {
		t.Errorf("got %+v", r)
	}
}
