// SPDX-License-Identifier: GPL-3.0-or-later

package netlab

import (
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// An Answer is what the router does with a SYN.
type Answer struct {
	kind, code uint8
	icmp       bool
	lose       int // how many are dropped; -1: all
}

// ICMP answers each SYN with an ICMP error, or ICMPv6 for an IPv6 address.
func ICMP(kind, code uint8) Answer { return Answer{kind: kind, code: code, icmp: true, lose: -1} }

// Silence drops each SYN.
func Silence() Answer { return Answer{lose: -1} }

// Lose drops the first n SYNs; n is at least 1.
func Lose(n int) Answer { return Answer{lose: n} }

// Pass lets SYNs through again.
func Pass() Answer { return Answer{} }

// A router stands between the client and the server. The kernel forwards; what
// the script has an answer for is dropped by the firewall, and a packet socket
// on the client's side sees the SYNs and answers them.
type router struct {
	*Namespace
	tap    *os.File
	mu     sync.Mutex
	script map[netip.AddrPort]*scripted
}

type scripted struct {
	Answer
	seen int
}

// newRouter connects a new router to the client, as its given network, and to
// the server.
func newRouter(t testing.TB, l *Lab, network int) *router {
	t.Helper()
	r := &router{Namespace: newNamespace(t), script: map[netip.AddrPort]*scripted{}}
	r.Sysctl(t, "net.ipv4.ip_forward", "1")
	r.Sysctl(t, "net.ipv6.conf.all.forwarding", "1")
	r.Firewall(t, `table inet lab {
	set v4 { type ipv4_addr . inet_service; }
	set v6 { type ipv6_addr . inet_service; }
	chain forward {
		type filter hook forward priority 0;
		ip daddr . tcp dport @v4 drop
		ip6 daddr . tcp dport @v6 drop
	}
}`)
	pair(t, l.Client, upName(network), r.Namespace, "client", 100+network)
	down := r.up(t, "client")
	v4, v6 := l.Router()
	r.address(t, down, v4.String()+"/24")
	r.address(t, down, v6.String()+"/64")

	in := fmt.Sprintf("in%d", network)
	pair(t, l.Server, in, r.Namespace, "server", 200+network)
	v4, v6 = outside(network, 1)
	out := r.up(t, "server")
	r.address(t, out, v4.String()+"/24")
	r.address(t, out, v6.String()+"/64")
	v4, v6 = outside(network, 2)
	link := l.Server.up(t, in)
	l.Server.address(t, link, v4.String()+"/24")
	l.Server.address(t, link, v6.String()+"/64")
	r.route(t, "198.19.0.0/16", netlink.Route{Gw: v4.AsSlice()})
	r.route(t, "fd00:0:0:19::/64", netlink.Route{Gw: v6.AsSlice()})

	r.listen(t, l, down.Attrs().Index)
	return r
}

// pair makes a cable between two machines, which is gone after the test. The
// number of the end at a is to differ from the one that the kernel gives to the
// end at b: if they happen to be the same, the kernel may take a second to see
// that the link is up (linkwatch_urgent_event in net/core/link_watch.c).
func pair(t testing.TB, a *Namespace, nameA string, b *Namespace, nameB string, number int) {
	t.Helper()
	cable := netlink.NewVeth(netlink.LinkAttrs{Name: nameA, Index: number})
	cable.PeerName = nameB
	cable.PeerNamespace = netlink.NsFd(b.ns)
	if err := a.net.LinkAdd(cable); err != nil {
		t.Fatalf("cable %s-%s: %v", nameA, nameB, err)
	}
	t.Cleanup(func() {
		if err := a.net.LinkDel(cable); err != nil {
			t.Errorf("cable %s-%s: %v", nameA, nameB, err)
		}
	})
}

// answer changes the script.
func (r *router) answer(to netip.AddrPort, what Answer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, there := r.script[to]
	if what.lose == 0 {
		if !there {
			return nil
		}
		delete(r.script, to)
		return r.drop(to, "delete")
	}
	r.script[to] = &scripted{Answer: what}
	if there {
		return nil
	}
	return r.drop(to, "add")
}

// drop adds an address to the firewall's lists, or deletes it.
func (r *router) drop(to netip.AddrPort, verb string) error {
	set := "v6"
	if to.Addr().Is4() {
		set = "v4"
	}
	return r.nft(fmt.Sprintf("%s element inet lab %s { %s . %d }", verb, set, to.Addr(), to.Port()))
}

// listen begins to act on the script, until the test is over.
func (r *router) listen(t testing.TB, l *Lab, link int) {
	t.Helper()
	const all = uint16(unix.ETH_P_ALL>>8 | unix.ETH_P_ALL<<8&0xff00) // in network order
	var fd int
	var err error
	r.Do(func() {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link})
	}
	if err != nil {
		t.Fatalf("packet socket: %v", err)
	}
	r.tap = os.NewFile(uintptr(fd), "tap")
	done := make(chan error, 1)
	go func() { done <- r.play(l) }()
	t.Cleanup(func() {
		r.tap.Close()
		if err := <-done; err != nil {
			t.Errorf("the router's script ended: %v", err)
		}
	})
}

// play answers SYNs until the tap is closed.
func (r *router) play(l *Lab) error {
	v4, v6 := l.Router()
	buf := make([]byte, 1<<16)
	for {
		n, err := r.tap.Read(buf)
		if err != nil {
			return ignoreClosed(err)
		}
		frame := buf[:n]
		to, ok := synTo(frame)
		if !ok {
			continue
		}
		what, lost, err := r.saw(to)
		if err != nil {
			return err
		}
		if !lost || !what.icmp {
			continue
		}
		from := v4
		if to.Addr().Is6() {
			from = v6
		}
		if _, err := r.tap.Write(icmpError(frame, from, what.kind, what.code)); err != nil {
			return ignoreClosed(err)
		}
	}
}

// saw counts a SYN and says whether the firewall drops it, and what is answered.
func (r *router) saw(to netip.AddrPort) (what Answer, lost bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.script[to]
	if !ok {
		return Answer{}, false, nil
	}
	s.seen++
	if s.seen == s.lose {
		delete(r.script, to)
		err = r.drop(to, "delete")
	}
	return s.Answer, true, err
}
