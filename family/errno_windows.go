// SPDX-License-Identifier: GPL-3.0-or-later

package family

import "golang.org/x/sys/windows"

// Go's syscall.ECONNREFUSED and the like are inventions on Windows; the system
// returns these.
const (
	econnrefused = windows.WSAECONNREFUSED
	econnreset   = windows.WSAECONNRESET
	epipe        = windows.WSAECONNABORTED
	etimedout    = windows.WSAETIMEDOUT
	enetunreach  = windows.WSAENETUNREACH
	ehostunreach = windows.WSAEHOSTUNREACH
	emfile       = windows.WSAEMFILE
)
