// SPDX-License-Identifier: GPL-3.0-or-later

package netlab

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A Namespace is one machine of the laboratory.
type Namespace struct {
	ns  netns.NsHandle
	net *netlink.Handle
}

// newNamespace makes a namespace of its own, with IPv6 ready to use and the
// loopback interface up. It is gone after the test.
func newNamespace(t testing.TB) *Namespace {
	t.Helper()
	ns, err := unshare()
	if err != nil {
		t.Fatalf("can't make a network namespace, though root: %v", err)
	}
	return setUp(t, ns)
}

// unshare makes a namespace and comes back to the one it came from.
func unshare() (ns netns.NsHandle, err error) {
	runtime.LockOSThread()
	here, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return netns.None(), err
	}
	defer here.Close()
	defer goBack(here)
	return netns.New()
}

// goBack ends a stay in another namespace. A thread that can't go back must
// not run anything else.
func goBack(here netns.NsHandle) {
	if err := netns.Set(here); err != nil {
		panic(fmt.Sprintf("can't go back to the namespace: %v", err))
	}
	runtime.UnlockOSThread()
}

// setUp makes a machine of the bare namespace ns, which it closes after the test.
func setUp(t testing.TB, ns netns.NsHandle) *Namespace {
	t.Helper()
	t.Cleanup(func() { ns.Close() })
	handle, err := netlink.NewHandleAt(ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(handle.Close)
	n := &Namespace{ns: ns, net: handle}
	// ICMP errors without a limit, and addresses that are usable at once.
	n.Sysctl(t, "net.ipv4.icmp_ratelimit", "0")
	n.Sysctl(t, "net.ipv6.icmp.ratelimit", "0")
	for _, of := range []string{"all", "default"} {
		n.Sysctl(t, "net.ipv6.conf."+of+".disable_ipv6", "0")
		n.Sysctl(t, "net.ipv6.conf."+of+".accept_dad", "0")
		n.Sysctl(t, "net.ipv6.conf."+of+".accept_ra", "0")
	}
	n.up(t, "lo")
	return n
}

// Do runs fn on the calling goroutine and its thread, with the network of n.
// Goroutines that fn starts are elsewhere.
func (n *Namespace) Do(fn func()) {
	runtime.LockOSThread()
	here, err := netns.Get()
	if err != nil {
		panic(err)
	}
	defer here.Close()
	defer goBack(here)
	if err := netns.Set(n.ns); err != nil {
		panic(fmt.Sprintf("can't enter the namespace: %v", err))
	}
	fn()
}

// Start starts a command in n, as cmd.Start does. Waiting for it is the
// caller's.
func (n *Namespace) Start(cmd *exec.Cmd) (err error) {
	n.Do(func() { err = cmd.Start() })
	return err
}

// Run runs a command in n and returns its output; a failure is an error that
// says what the command printed.
func (n *Namespace) Run(cmd *exec.Cmd) (string, error) {
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := n.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return out.String(), fmt.Errorf("%v: %w: %s", cmd, err, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}

// Listen listens on a TCP address of n until the test is over. The listener is
// used from anywhere.
func (n *Namespace) Listen(t testing.TB, on netip.AddrPort) net.Listener {
	t.Helper()
	var ln net.Listener
	var err error
	n.Do(func() { ln, err = net.Listen("tcp", on.String()) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// Firewall gives commands to nft in n.
func (n *Namespace) Firewall(t testing.TB, commands string) {
	t.Helper()
	if err := n.nft(commands); err != nil {
		t.Fatal(err)
	}
}

func (n *Namespace) nft(commands string) error {
	nft := "/usr/sbin/nft"
	if path, err := exec.LookPath("nft"); err == nil {
		nft = path
	}
	cmd := exec.Command(nft, "-f", "-")
	cmd.Stdin = strings.NewReader(commands)
	_, err := n.Run(cmd)
	if err != nil {
		return fmt.Errorf("the laboratory's firewall is nft, from the package nftables: %w", err)
	}
	return nil
}

// Sysctl sets a variable of the kernel for n alone; name has dots.
func (n *Namespace) Sysctl(t testing.TB, name, value string) {
	t.Helper()
	var err error
	n.Do(func() {
		file := filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))
		err = os.WriteFile(file, []byte(value), 0)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// up brings a link up and returns it. Three questions after a neighbour who
// isn't there are enough, and quickly.
func (n *Namespace) up(t testing.TB, name string) netlink.Link {
	t.Helper()
	link, err := n.net.LinkByName(name)
	if err == nil {
		err = n.net.LinkSetUp(link)
	}
	if err != nil {
		t.Fatalf("link %s: %v", name, err)
	}
	n.Sysctl(t, "net.ipv4.neigh."+name+".retrans_time_ms", "50")
	n.Sysctl(t, "net.ipv6.neigh."+name+".retrans_time_ms", "50")
	return link
}

// address gives a link an address, as in "198.18.0.2/24".
func (n *Namespace) address(t testing.TB, link netlink.Link, prefix string) {
	t.Helper()
	addr, err := netlink.ParseAddr(prefix)
	if err == nil {
		if addr.IP.To4() == nil {
			addr.Flags = syscall.IFA_F_NODAD
		}
		err = n.net.AddrReplace(link, addr)
	}
	if err != nil {
		t.Fatalf("address %s: %v", prefix, err)
	}
}

// route replaces the route to a prefix.
func (n *Namespace) route(t testing.TB, prefix string, route netlink.Route) {
	t.Helper()
	_, dst, err := net.ParseCIDR(prefix)
	if err == nil {
		route.Dst = dst
		err = n.net.RouteReplace(&route)
	}
	if err != nil {
		t.Fatalf("route to %s: %v", prefix, err)
	}
}
