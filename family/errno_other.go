// SPDX-License-Identifier: GPL-3.0-or-later

//go:build !linux

package family

import "syscall"

// byErrno guesses how connect ended where only the errno is to be had. BSD
// gives ECONNREFUSED for an ICMP hard error while it connects as well as for a
// RST, so cases 2 and 3 of the paper can't be told apart; what follows from
// them is the same.
func byErrno(errno syscall.Errno) (Outcome, string) {
	switch errno {
	case econnrefused:
		return Reset, "connection refused (RST or an ICMP hard error; this system can't tell cases 2 and 3 apart)"
	case econnreset, epipe:
		return Closed, "accepted, and reset at once"
	case etimedout:
		return Timeout, "no answer, says the system"
	case enetunreach:
		return Local, "no route (or an ICMP error; this system can't tell)"
	case ehostunreach:
		return Soft, "host unreachable (an ICMP error, or no route; this system can't tell)"
	case emfile:
		return Local, "too many open files"
	}
	return Local, errno.Error()
}
