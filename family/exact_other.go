// SPDX-License-Identifier: GPL-3.0-or-later

//go:build !linux

package family

import (
	"syscall"
	"time"
)

// A witness has nothing to tell on this system: there is the errno only.
type witness struct{}

func (*witness) control(string, string, syscall.RawConn) error { return nil }

func (*witness) leave() error { return nil }

func (*witness) close() {}

func (*witness) explain(errno syscall.Errno, waited time.Duration) (Outcome, string) {
	if errno != 0 {
		return byErrno(errno)
	}
	return Timeout, "no answer in " + seconds(waited)
}
