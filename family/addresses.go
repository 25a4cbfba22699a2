// SPDX-License-Identifier: GPL-3.0-or-later

package family

import (
	"net"
	"net/netip"
	"slices"
)

// Addresses are those of one host, each family in the order in which they
// should be tried (RFC 6724, as the resolver sorted them).
type Addresses struct {
	IPv4, IPv6 []netip.Addr
}

func addressesOf(ips []netip.Addr) Addresses {
	var a Addresses
	for _, ip := range ips {
		list := &a.IPv6
		if ip = ip.Unmap(); ip.Is4() {
			list = &a.IPv4
		}
		if !slices.Contains(*list, ip) {
			*list = append(*list, ip)
		}
	}
	return a
}

// Of returns the addresses of a family: "ipv4", "ipv6", or "any" for both by
// turns and IPv6 first (RFC 8305 §4). Another word has no addresses.
func (a Addresses) Of(fam string) []netip.Addr {
	switch fam {
	case "ipv4":
		return a.IPv4
	case "ipv6":
		return a.IPv6
	case "any":
		var both []netip.Addr
		for i := range max(len(a.IPv4), len(a.IPv6)) {
			if i < len(a.IPv6) {
				both = append(both, a.IPv6[i])
			}
			if i < len(a.IPv4) {
				both = append(both, a.IPv4[i])
			}
		}
		return both
	}
	return nil
}

// Here returns those of a that this machine may reach by the addresses it has
// now: for a target in the wide world one of the same family that is neither
// loopback nor link-local, for a loopback or link-local target one of its kind.
// No packet is sent and no route is asked for. Where the system doesn't tell
// its addresses, all of a is returned.
func (a Addresses) Here() Addresses {
	own, err := ownAddresses()
	if err != nil {
		return a
	}
	return a.reachableFrom(own)
}

func (a Addresses) reachableFrom(own []netip.Addr) Addresses {
	unreachable := func(target netip.Addr) bool {
		return !slices.ContainsFunc(own, func(ip netip.Addr) bool {
			return ip.Is4() == target.Is4() &&
				ip.IsLoopback() == target.IsLoopback() &&
				(ip.IsLinkLocalUnicast() == target.IsLinkLocalUnicast())
		})
	}
	return Addresses{
		IPv4: slices.DeleteFunc(slices.Clone(a.IPv4), unreachable),
		IPv6: slices.DeleteFunc(slices.Clone(a.IPv6), unreachable),
	}
}

// ownAddresses lists the addresses of the interfaces that are up.
func ownAddresses() ([]netip.Addr, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var own []netip.Addr
	for _, link := range links {
		if link.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := link.Addrs()
		if err != nil {
			return nil, err
		}
		for _, addr := range addrs {
			if prefix, err := netip.ParsePrefix(addr.String()); err == nil {
				own = append(own, prefix.Addr().Unmap())
			}
		}
	}
	return own, nil
}
