// SPDX-License-Identifier: GPL-3.0-or-later

//go:build !linux && !windows

package family

import "syscall"

const (
	econnrefused = syscall.ECONNREFUSED
	econnreset   = syscall.ECONNRESET
	epipe        = syscall.EPIPE
	etimedout    = syscall.ETIMEDOUT
	enetunreach  = syscall.ENETUNREACH
	ehostunreach = syscall.EHOSTUNREACH
	emfile       = syscall.EMFILE
)
