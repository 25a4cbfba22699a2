// SPDX-License-Identifier: GPL-3.0-or-later

package family

import (
	"fmt"
	"net/netip"
	"testing"
)

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestOf(t *testing.T) {
	a := addressesOf(addrs("fd00::1", "fd00::2", "fd00::3", "198.18.0.1", "::ffff:198.18.0.1", "198.18.0.2"))
	for _, test := range []struct {
		fam  string
		a    Addresses
		want []netip.Addr
	}{
		{"ipv4", a, addrs("198.18.0.1", "198.18.0.2")},
		{"ipv6", a, addrs("fd00::1", "fd00::2", "fd00::3")},
		{"any", a, addrs("fd00::1", "198.18.0.1", "fd00::2", "198.18.0.2", "fd00::3")},
		{"any", Addresses{IPv4: a.IPv4}, a.IPv4},
		{"any", Addresses{IPv6: a.IPv6}, a.IPv6},
		{"", a, nil},
		{"ipx", a, nil},
	} {
		if got := test.a.Of(test.fam); fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%q of %v: got %v, want %v", test.fam, test.a, got, test.want)
		}
	}
}

func TestReachableFrom(t *testing.T) {
	world := Addresses{addrs("192.0.2.1"), addrs("2001:db8::1")}
	for name, test := range map[string]struct {
		own, want []netip.Addr
		target    Addresses
	}{
		"no network":         {addrs("127.0.0.1", "::1"), nil, world},
		"link-local only":    {addrs("127.0.0.1", "::1", "169.254.3.4", "fe80::1"), nil, world},
		"IPv4 only":          {addrs("198.18.0.2", "fe80::1"), addrs("192.0.2.1"), world},
		"IPv6 only":          {addrs("fd00::2", "127.0.0.1"), addrs("2001:db8::1"), world},
		"both":               {addrs("fd00::2", "198.18.0.2"), addrs("2001:db8::1", "192.0.2.1"), world},
		"loopback":           {addrs("127.0.0.1"), addrs("127.0.0.1"), Addresses{addrs("127.0.0.1"), addrs("::1")}},
		"loopback is absent": {addrs("198.18.0.2"), nil, Addresses{IPv4: addrs("127.0.0.1")}},
		"link-local":         {addrs("fe80::1"), addrs("fe80::2%eth0"), Addresses{IPv6: addrs("fe80::2%eth0")}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.target.reachableFrom(test.own).Of("any"); fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestHereHasLoopback(t *testing.T) {
	if got := (Addresses{IPv4: addrs("127.0.0.1")}).Here(); len(got.IPv4) != 1 {
		t.Error("127.0.0.1 is not reachable from here")
	}
}
