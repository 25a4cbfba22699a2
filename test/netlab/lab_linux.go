// SPDX-License-Identifier: GPL-3.0-or-later

package netlab

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A Lab is a client, a server, and what is between them.
type Lab struct {
	Client, Server *Namespace

	t       testing.TB
	mu      sync.Mutex
	next    uint32     // number of the next server address
	absent  byte       // number of the next address on the client's link that nobody has
	routers [2]*router // of the client's two networks; the second when Roam wants it
	network int        // the one the client is on
}

// New makes a laboratory for the time of a test.
func New(t testing.TB) *Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: the network laboratory makes network namespaces, and only root may")
	}
	l := &Lab{t: t, Server: newNamespace(t), absent: 100}
	if inClient() {
		here, err := netns.Get()
		if err != nil {
			t.Fatal(err)
		}
		l.Client = setUp(t, here)
		// This namespace outlives the laboratory: the next one starts clean.
		t.Cleanup(func() { l.Client.Firewall(t, "flush ruleset") })
	} else {
		l.Client = newNamespace(t)
	}
	lo := l.Server.up(t, "lo")
	l.Server.Sysctl(t, "net.ipv6.ip_nonlocal_bind", "1") // for listening on routed addresses
	for _, prefix := range []string{"198.19.0.0/16", "fd00:0:0:19::/64"} {
		// Every address of these belongs to the server.
		l.Server.route(t, prefix, netlink.Route{LinkIndex: lo.Attrs().Index, Type: syscall.RTN_LOCAL, Table: 255, Scope: netlink.SCOPE_HOST})
	}
	l.routers[0] = newRouter(t, l, 0)
	l.join(0)
	return l
}

// Addresses returns an IPv4 and an IPv6 address of the server that no test has
// had yet. All of their ports answer with RST until something listens there or
// Answer says otherwise.
func (l *Lab) Addresses() (v4, v6 netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	four, six := [4]byte{198, 19}, netip.MustParseAddr("fd00:0:0:19::").As16()
	binary.BigEndian.PutUint16(four[2:], uint16(l.next))
	binary.BigEndian.PutUint32(six[12:], l.next)
	return netip.AddrFrom4(four), netip.AddrFrom16(six)
}

// Absent returns addresses on the client's own link that nobody has: the
// neighbour's link address can't be found (ARP, RFC 4861).
func (l *Lab) Absent() (v4, v6 netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.absent++
	six := netip.MustParseAddr("fd00:0:0:1::").As16()
	six[15] = l.absent
	return netip.AddrFrom4([4]byte{198, 18, 0, l.absent}), netip.AddrFrom16(six)
}

// Router returns the addresses of the client's gateway, which its ICMP errors
// come from.
func (l *Lab) Router() (v4, v6 netip.Addr) {
	return netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("fd00:0:0:1::1")
}

// Listen listens on an address of the server until the test is over.
func (l *Lab) Listen(t testing.TB, on netip.AddrPort) net.Listener {
	t.Helper()
	return l.Server.Listen(t, on)
}

// Answer says what the router of the network that the client is on does with
// SYNs to an address and port of the server.
func (l *Lab) Answer(to netip.AddrPort, what Answer) {
	l.t.Helper()
	l.mu.Lock()
	r := l.routers[l.network]
	l.mu.Unlock()
	if err := r.answer(to, what); err != nil {
		l.t.Fatal(err)
	}
}

// NoRoute takes the client's routes to an address away: to what "" is connect
// finds no route, and "unreachable", "prohibit" and "blackhole" are Linux's own
// kinds of no.
func (l *Lab) NoRoute(to netip.Addr, kind string) {
	l.t.Helper()
	types := map[string]int{
		"":            syscall.RTN_THROW,
		"unreachable": syscall.RTN_UNREACHABLE,
		"prohibit":    syscall.RTN_PROHIBIT,
		"blackhole":   syscall.RTN_BLACKHOLE,
	}
	prefix := netip.PrefixFrom(to, to.BitLen()).String()
	l.Client.route(l.t, prefix, netlink.Route{Type: types[kind]})
	l.t.Cleanup(func() {
		_, dst, _ := net.ParseCIDR(prefix)
		if err := l.Client.net.RouteDel(&netlink.Route{Dst: dst, Type: types[kind]}); err != nil {
			l.t.Errorf("route to %s: %v", prefix, err)
		}
	})
}

// Roam moves the client to network 0 or 1: the same addresses on both, behind
// another gateway. It starts on 0. What Answer said on a network stays with it.
func (l *Lab) Roam(network int) {
	l.t.Helper()
	l.mu.Lock()
	from, r := l.network, l.routers[network]
	l.mu.Unlock()
	if from == network {
		return
	}
	if r == nil {
		r = newRouter(l.t, l, network)
	}
	l.mu.Lock()
	l.network, l.routers[network] = network, r
	l.mu.Unlock()
	l.leave(from)
	l.join(network)
}

// join connects the client to a network and the server to its router.
func (l *Lab) join(network int) {
	l.t.Helper()
	link := l.Client.up(l.t, upName(network))
	index := link.Attrs().Index
	l.Client.address(l.t, link, "198.18.0.2/24")
	l.Client.address(l.t, link, "fd00:0:0:1::2/64")
	v4, v6 := l.Router()
	l.Client.route(l.t, "0.0.0.0/0", netlink.Route{LinkIndex: index, Gw: v4.AsSlice()})
	l.Client.route(l.t, "::/0", netlink.Route{LinkIndex: index, Gw: v6.AsSlice()})

	v4, v6 = outside(network, 1)
	l.Server.route(l.t, "198.18.0.0/24", netlink.Route{Gw: v4.AsSlice()})
	l.Server.route(l.t, "fd00:0:0:1::/64", netlink.Route{Gw: v6.AsSlice()})
}

// leave takes the client's addresses and routes off a network. The link stays
// up: the kernel takes its time over a link that comes up again.
func (l *Lab) leave(network int) {
	l.t.Helper()
	link, err := l.Client.net.LinkByName(upName(network))
	if err != nil {
		l.t.Fatal(err)
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := l.Client.net.RouteList(link, family)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, route := range routes {
			if route.Gw == nil {
				continue // goes with the address
			}
			if err := l.Client.net.RouteDel(&route); err != nil {
				l.t.Fatal(err)
			}
		}
		addrs, err := l.Client.net.AddrList(link, family)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, addr := range addrs {
			if addr.Scope == int(netlink.SCOPE_LINK) {
				continue
			}
			if err := l.Client.net.AddrDel(link, &addr); err != nil {
				l.t.Fatal(err)
			}
		}
	}
}

// upName is the client's link to a network.
func upName(network int) string { return fmt.Sprintf("up%d", network) }

// outside returns the addresses between the router of a network and the server:
// host 1 is the router, host 2 the server.
func outside(network int, host byte) (v4, v6 netip.Addr) {
	six := netip.MustParseAddr("fd00:0:0:10::").As16()
	six[7] += byte(network)
	six[15] = host
	return netip.AddrFrom4([4]byte{198, 18, byte(1 + network), host}), netip.AddrFrom16(six)
}
