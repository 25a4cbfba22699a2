// SPDX-License-Identifier: GPL-3.0-or-later

package netlab

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
)

// Lengths of headers on the wire.
const (
	etherLen = 14
	ipv4Len  = 20
	ipv6Len  = 40
	icmpLen  = 8
)

// Numbers of protocols in IP headers, and of ICMP errors that carry an MTU.
const (
	protoICMP, protoTCP, protoICMPv6 = 1, 6, 58
	unreachable, fragNeeded, tooBig  = 3, 4, 2
)

// synTo returns where an Ethernet frame that begins a TCP connection goes.
func synTo(frame []byte) (netip.AddrPort, bool) {
	if len(frame) < etherLen+ipv4Len {
		return netip.AddrPort{}, false
	}
	packet := frame[etherLen:]
	var dst, tcp []byte
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		if packet[9] == protoTCP && len(packet) > int(packet[0]&15)*4 {
			dst, tcp = packet[16:20], packet[int(packet[0]&15)*4:]
		}
	case 0x86dd:
		if packet[6] == protoTCP && len(packet) > ipv6Len {
			dst, tcp = packet[24:40], packet[ipv6Len:]
		}
	}
	const syn, ack = 2, 16
	if len(tcp) < 20 || tcp[13]&(syn|ack) != syn {
		return netip.AddrPort{}, false
	}
	addr, _ := netip.AddrFromSlice(dst)
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(tcp[2:])), true
}

// icmpError returns the frame with which a router at from answers a frame
// (RFC 792, RFC 4443).
func icmpError(frame []byte, from netip.Addr, kind, code uint8) []byte {
	packet := frame[etherLen:]
	icmp := make([]byte, icmpLen, icmpLen+len(packet))
	icmp[0], icmp[1] = kind, code
	var head []byte
	if from.Is4() {
		if kind == unreachable && code == fragNeeded {
			binary.BigEndian.PutUint16(icmp[6:], 1400)
		}
		icmp = append(icmp, packet...)
		binary.BigEndian.PutUint16(icmp[2:], checksum(0, icmp))
		head = make([]byte, ipv4Len)
		head[0], head[8], head[9] = 0x45, 64, protoICMP
		binary.BigEndian.PutUint16(head[2:], uint16(ipv4Len+len(icmp)))
		copy(head[12:], from.AsSlice())
		copy(head[16:], packet[12:16])
		binary.BigEndian.PutUint16(head[10:], checksum(0, head))
	} else {
		if kind == tooBig {
			binary.BigEndian.PutUint32(icmp[4:], 1400)
		}
		icmp = append(icmp, packet...)
		head = make([]byte, ipv6Len)
		head[0], head[6], head[7] = 0x60, protoICMPv6, 64
		binary.BigEndian.PutUint16(head[4:], uint16(len(icmp)))
		copy(head[8:], from.AsSlice())
		copy(head[24:], packet[8:24])
		// The pseudo-header is the addresses, the length and the protocol.
		binary.BigEndian.PutUint16(icmp[2:], checksum(uint32(len(icmp)+protoICMPv6), head[8:], icmp))
	}
	out := append([]byte{}, frame[6:12]...)
	out = append(out, frame[:6]...)
	out = append(out, frame[12:14]...)
	return append(append(out, head...), icmp...)
}

// checksum is the Internet's (RFC 1071), of parts of which all but the last are
// of even length.
func checksum(sum uint32, parts ...[]byte) uint16 {
	for _, part := range parts {
		for i, b := range part {
			if i%2 == 0 {
				sum += uint32(b) << 8
			} else {
				sum += uint32(b)
			}
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// ignoreClosed makes a good end of a file that was closed while it was read.
func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
