// SPDX-License-Identifier: GPL-3.0-or-later

package family

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A witness is a second descriptor of a connecting socket, on which the kernel
// queues ICMP errors with their type, code and sender (ip(7), IP_RECVERR; for a
// TCP socket that is still connecting since Linux 5.8). The zero value holds no
// descriptor yet.
type witness struct {
	fd            int
	held          bool
	level, option int
}

// control is for net.Dialer.Control: it is called with the socket before
// connect. The connection itself stays Go's.
func (w *witness) control(network, _ string, conn syscall.RawConn) error {
	w.level, w.option = unix.SOL_IP, unix.IP_RECVERR
	if network == "tcp6" {
		w.level, w.option = unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	var failure error
	err := conn.Control(func(fd uintptr) {
		if failure = unix.SetsockoptInt(int(fd), w.level, w.option, 1); failure != nil {
			return
		}
		if w.fd, failure = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); failure == nil {
			w.held = true
		}
	})
	if err != nil {
		return err
	}
	return failure
}

// leave takes the option off a connection that succeeded: otherwise one stray
// ICMP error would fail its next read. It also empties the queue.
func (w *witness) leave() error {
	if !w.held {
		return nil
	}
	return unix.SetsockoptInt(w.fd, w.level, w.option, 0)
}

// close gives the descriptor back.
func (w *witness) close() {
	if w.held {
		unix.Close(w.fd)
		w.held = false
	}
}

// explain says how a dial ended that failed with errno, or with 0 when its time
// was up after waiting so long.
func (w *witness) explain(errno syscall.Errno, waited time.Duration) (Outcome, string) {
	icmp, queued := w.queued()
	if queued && (errno == 0 || icmp.errno == errno) {
		return judge(icmp)
	}
	if errno != 0 && errno != syscall.ETIMEDOUT {
		return byErrno(errno)
	}
	return Timeout, "no answer in " + seconds(waited) + w.sent()
}

// judge says what an ICMP error means: those that this machine sent itself are
// its own trouble.
func judge(icmp icmpError) (Outcome, string) {
	own, err := ownAddresses()
	switch {
	case err != nil || !slices.Contains(own, icmp.from):
		if icmp.outcome() == Timeout {
			return Timeout, fmt.Sprintf("no answer, but %v", icmp)
		}
		return icmp.outcome(), icmp.String()
	case icmp.neighbour():
		return Local, "no answer from the neighbour (the router, or the server if it is on this link)"
	}
	return Local, fmt.Sprintf("rejected on this machine: %v", icmp)
}

// queued empties the error queue and returns the last ICMP error in it, which
// is the one that ended the attempt.
func (w *witness) queued() (last icmpError, found bool) {
	if !w.held {
		return icmpError{}, false
	}
	// An error that waits on the socket comes before the queue, and reading
	// the queue would lose it; Go has taken it already unless time was up.
	if _, err := unix.GetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil {
		return icmpError{}, false
	}
	oob := make([]byte, 512)
	for {
		_, n, _, _, err := unix.Recvmsg(w.fd, nil, oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return last, found
		}
		messages, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil {
			return last, found
		}
		for _, m := range messages {
			if int(m.Header.Level) != w.level || int(m.Header.Type) != w.option {
				continue
			}
			if icmp, ok := parseError(m.Data); ok {
				last, found = icmp, true
			}
		}
	}
}

// parseError reads a struct sock_extended_err and the address of the sender
// that follows it (linux/errqueue.h). Errors that are not ICMP's are left out.
func parseError(b []byte) (icmpError, bool) {
	const head = 16 // errno, origin, type, code, padding, info, data
	if len(b) < head+8 {
		return icmpError{}, false
	}
	origin := b[4]
	e := icmpError{
		errno: syscall.Errno(binary.NativeEndian.Uint32(b)),
		v6:    origin == unix.SO_EE_ORIGIN_ICMP6,
		kind:  b[5],
		code:  b[6],
	}
	sender := b[head:]
	switch binary.NativeEndian.Uint16(sender) {
	case unix.AF_INET:
		e.from, _ = netip.AddrFromSlice(sender[4:8])
	case unix.AF_INET6:
		if len(sender) >= 24 {
			e.from, _ = netip.AddrFromSlice(sender[8:24])
		}
	}
	ours := origin == unix.SO_EE_ORIGIN_ICMP || origin == unix.SO_EE_ORIGIN_ICMP6
	return e, ours && e.from.IsValid()
}

// sent says how often the kernel tried, or "" if it doesn't tell.
func (w *witness) sent() string {
	if !w.held {
		return ""
	}
	info, err := unix.GetsockoptTCPInfo(w.fd, unix.SOL_TCP, unix.TCP_INFO)
	if err != nil {
		return ""
	}
	if info.Total_retrans == 0 {
		return ", 1 SYN sent"
	}
	return fmt.Sprintf(", %d SYNs sent", info.Total_retrans+1)
}
