// SPDX-License-Identifier: GPL-3.0-or-later

package family

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Network names the network this machine is on as seen on the way to server:
// the prefix of the address it would send from and the link address of the
// gateway, as in "192.168.1.0/24 via 02:00:5e:10:00:01". Two networks that use
// the same addresses differ in the gateway. The answer is "" where the gateway
// is not known: there is none, it has no link address (a tunnel), or nothing
// was sent through it lately; then nothing learned about a network should be
// believed, or kept. A look-up of a name usually makes the gateway known, so
// ask after Resolve; to keep something, ask again after Connect.
// It takes well under a millisecond, sends nothing and needs no privilege.
func Network(server netip.Addr) string {
	routes, err := netlink.RouteGet(server.Unmap().AsSlice())
	if err != nil || len(routes) == 0 {
		return ""
	}
	route := routes[0]
	prefix := sourcePrefix(route.Src)
	gateway := linkAddress(route.LinkIndex, gatewayOf(route, server))
	if !prefix.IsValid() || gateway == "" {
		return ""
	}
	return prefix.String() + " via " + gateway
}

// gatewayOf returns the gateway of a route. For a server on the same network as
// this machine that is the default gateway of the link, which tells such
// networks apart just as well. It is nil if there is none.
func gatewayOf(route netlink.Route, server netip.Addr) net.IP {
	if route.Gw != nil {
		return route.Gw
	}
	family := netlink.FAMILY_V6
	if server.Unmap().Is4() {
		family = netlink.FAMILY_V4
	}
	filter := &netlink.Route{LinkIndex: route.LinkIndex}
	defaults, err := netlink.RouteListFiltered(family, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_DST)
	if err != nil || len(defaults) == 0 {
		return nil
	}
	return defaults[0].Gw
}

// sourcePrefix returns the network of one of this machine's addresses. IPv6
// networks are cut to 64 bits, so that neither privacy addresses nor single
// ones from DHCP count as a network of their own.
func sourcePrefix(source net.IP) netip.Prefix {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Prefix{}
	}
	for _, addr := range addrs {
		own, ok := addr.(*net.IPNet)
		if !ok || !own.IP.Equal(source) {
			continue
		}
		prefix, err := netip.ParsePrefix(own.String())
		if err != nil {
			continue
		}
		if prefix.Addr().Is6() && prefix.Bits() > 64 {
			prefix = netip.PrefixFrom(prefix.Addr(), 64)
		}
		return prefix.Masked()
	}
	return netip.Prefix{}
}

// linkAddress returns the link address of a neighbour, or "" if the kernel
// doesn't know it.
func linkAddress(link int, neighbour net.IP) string {
	if neighbour == nil {
		return ""
	}
	family := netlink.FAMILY_V6
	if neighbour.To4() != nil {
		family = netlink.FAMILY_V4
	}
	known, err := netlink.NeighList(link, family)
	if err != nil {
		return ""
	}
	for _, n := range known {
		if n.IP.Equal(neighbour) && n.State&(netlink.NUD_FAILED|netlink.NUD_INCOMPLETE) == 0 {
			return n.HardwareAddr.String()
		}
	}
	return ""
}
