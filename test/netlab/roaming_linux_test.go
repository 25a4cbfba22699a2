// SPDX-License-Identifier: GPL-3.0-or-later

package netlab_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"submission/family"
	"submission/test/netlab"
)

// TestRoaming moves the client between two networks with the same addresses:
// Network tells them apart and knows the first again, for both families.
func TestRoaming(t *testing.T) {
	lab := netlab.New(t)
	v4, v6 := lab.Addresses()
	identity := func(ip netip.Addr) string {
		t.Helper()
		// What is sent through the gateway makes it known.
		r := new(family.Dialer).Connect(t.Context(), []netip.Addr{ip}, 587)
		if r.Outcome != family.Reset {
			t.Fatalf("to %s: %s, %q", ip, r.Outcome, r.Detail)
		}
		return family.Network(ip)
	}
	for ip, prefix := range map[netip.Addr]string{v4: "198.18.0.0/24 via ", v6: "fd00:0:0:1::/64 via "} {
		var seen []string
		for _, network := range []int{0, 1, 0, 1, 0} {
			lab.Roam(network)
			seen = append(seen, identity(ip))
		}
		if seen[0] == seen[1] || !strings.HasPrefix(seen[0], prefix) || !strings.HasPrefix(seen[1], prefix) {
			t.Errorf("two networks look like %q and %q", seen[0], seen[1])
		}
		if seen[0] != seen[2] || seen[1] != seen[3] || seen[2] != seen[4] {
			t.Errorf("a network was not known again: %q", seen)
		}
	}
}

// TestNetworkUnknown asks before anything was sent through the gateway, and
// where there is none.
func TestNetworkUnknown(t *testing.T) {
	lab := netlab.New(t)
	v4, v6 := lab.Addresses()
	none, _ := lab.Addresses()
	lab.NoRoute(none, "")
	for _, ip := range []netip.Addr{v4, v6, none, netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback(), {}} {
		if got := family.Network(ip); got != "" {
			t.Errorf("network towards %s is %q", ip, got)
		}
	}
}

// TestNetworkOnLink asks about a server on the client's own link: the default
// gateway stands for the network.
func TestNetworkOnLink(t *testing.T) {
	lab := netlab.New(t)
	far, _ := lab.Addresses()
	near, _ := lab.Absent()
	new(family.Dialer).Connect(t.Context(), []netip.Addr{far}, 587)
	if got := family.Network(near); got == "" || got != family.Network(far) {
		t.Errorf("near %q, far %q", got, family.Network(far))
	}
}

// TestScriptOfEachNetwork has 587 silent on one network and not on the other.
func TestScriptOfEachNetwork(t *testing.T) {
	lab := netlab.New(t)
	v4, _ := lab.Addresses()
	to := netip.AddrPortFrom(v4, 587)
	lab.Answer(to, netlab.ICMP(3, 13))
	for i, want := range []family.Outcome{family.Hard, family.Reset, family.Hard} {
		lab.Roam(i % 2)
		if r := new(family.Dialer).Connect(t.Context(), []netip.Addr{v4}, 587); r.Outcome != want {
			t.Errorf("on network %d: %s, %q; want %s", i%2, r.Outcome, r.Detail, want)
		}
	}
	lab.Answer(to, netlab.Pass())
	if r := new(family.Dialer).Connect(t.Context(), []netip.Addr{v4}, 587); r.Outcome != family.Reset {
		t.Errorf("after Pass: %s, %q", r.Outcome, r.Detail)
	}
}

// TestWatch hears the bell when the client roams, and not forever.
func TestWatch(t *testing.T) {
	lab := netlab.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	rung, done := make(chan struct{}, 100), make(chan struct{})
	go func() {
		defer close(done)
		family.Watch(ctx, func() { rung <- struct{}{} })
	}()
	// Watch doesn't say when it has begun to listen, so the network changes
	// until it is heard; the many changes of one move ring once.
	moves := 0
	for heard := false; !heard; {
		moves++
		lab.Roam(moves % 2)
		select {
		case <-rung:
			heard = true
		case <-time.After(2 * time.Second):
			if moves == 10 {
				t.Fatal("the bell was not heard")
			}
		}
	}
	cancel()
	<-done
	if n := len(rung); n > moves {
		t.Errorf("it rang %d times more for %d moves", n, moves)
	}
}
