// SPDX-License-Identifier: GPL-3.0-or-later

package family

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
)

// icmpError is an ICMP error as the error queue of a socket keeps it.
type icmpError struct {
	errno      syscall.Errno // what the kernel made of it
	v6         bool
	kind, code uint8
	from       netip.Addr
}

func (e icmpError) String() string {
	name := "ICMP"
	if e.v6 {
		name = "ICMPv6"
	}
	s := fmt.Sprintf("%s %d/%d from %s", name, e.kind, e.code, e.from)
	if words := e.words(); words != "" {
		s += " (" + words + ")"
	}
	return s
}

// outcome says what an ICMP error from another machine means: hard where
// another port of the same host could help, soft where it could not, and
// timeout where it says nothing about the connection (RFC 1122 §4.2.3.9,
// RFC 9293 §3.9.2.2, RFC 1812 §5.2.7.1, RFC 4443 §3).
func (e icmpError) outcome() Outcome {
	hard, soft := []uint8{2, 3, 9, 10, 13, 14, 15}, []uint8{0, 1, 5, 6, 7, 8, 11, 12}
	switch {
	case e.v6 && e.kind == 1: // destination unreachable
		if slices.Contains([]uint8{1, 4, 5, 6}, e.code) {
			return Hard
		}
		return Soft
	case e.v6 && (e.kind == 3 || e.kind == 4): // time exceeded, parameter problem
		return Soft
	case e.v6:
		return Timeout
	case e.kind == 3 && slices.Contains(hard, e.code): // destination unreachable
		return Hard
	case e.kind == 3 && slices.Contains(soft, e.code):
		return Soft
	case e.kind == 11 && e.code == 0, e.kind == 12: // time exceeded, parameter problem
		return Soft
	}
	return Timeout
}

// neighbour reports whether the error is the one with which the kernel tells
// its own sockets that nobody answered on the link (ARP, RFC 4861).
func (e icmpError) neighbour() bool {
	return !e.v6 && e.kind == 3 && e.code == 1 || e.v6 && e.kind == 1 && e.code == 3
}

// words says the error in words, or "".
func (e icmpError) words() string {
	v4 := []string{
		"network unreachable", "host unreachable", "protocol unreachable", "port unreachable",
		"packet too big", "source route failed", "network unknown", "host unknown",
		"source host isolated", "network forbidden", "host forbidden",
		"network unreachable for this service", "host unreachable for this service",
		"forbidden by a firewall", "forbidden by precedence", "precedence too low",
	}
	v6 := []string{
		"no route", "forbidden by a firewall", "beyond the scope of the source address",
		"address unreachable", "port unreachable", "source address forbidden", "route rejected",
	}
	code := int(e.code)
	switch {
	case !e.v6 && e.kind == 3 && code < len(v4):
		return v4[code]
	case e.v6 && e.kind == 1 && code < len(v6):
		return v6[code]
	case !e.v6 && e.kind == 11 && code == 0, e.v6 && e.kind == 3 && code == 0:
		return "too many hops"
	case !e.v6 && e.kind == 11, e.v6 && e.kind == 3:
		return "a fragment was lost"
	case !e.v6 && e.kind == 12, e.v6 && e.kind == 4:
		return "parameter problem"
	}
	return ""
}
