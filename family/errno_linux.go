// SPDX-License-Identifier: GPL-3.0-or-later

package family

import "syscall"

// byErrno says how connect ended where the error queue of the socket is empty:
// no ICMP error came, so a refusal is a RST and anything that isn't the peer's
// word came from this machine.
func byErrno(errno syscall.Errno) (Outcome, string) {
	switch errno {
	case syscall.ECONNREFUSED:
		return Reset, "connection refused (RST)"
	case syscall.ECONNRESET, syscall.EPIPE:
		return Closed, "accepted, and reset at once"
	case syscall.ETIMEDOUT:
		return Timeout, "no answer, says the system"
	case syscall.ENETUNREACH:
		return Local, "no route"
	case syscall.EHOSTUNREACH:
		return Local, "unreachable, says this machine's routing table"
	case syscall.EACCES, syscall.EPERM:
		return Local, "forbidden on this machine (" + errno.Error() + ")"
	case syscall.EADDRNOTAVAIL:
		return Local, "no address or port of this machine to connect from"
	case syscall.EMFILE, syscall.ENFILE:
		return Local, "too many open files"
	}
	return Local, errno.Error()
}
