// SPDX-License-Identifier: GPL-3.0-or-later

package family

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// bellQuiet is how long Watch gathers changes before it rings: a network that
// comes up changes many addresses and routes in a row.
const bellQuiet = 1500 * time.Millisecond

// Watch calls changed when addresses or routes of this machine have changed, at
// most every second and a half, until ctx ends; then it returns. It is a bell
// only: what has changed, if anything that matters, is for Network to say.
// changed runs on the caller's goroutine. Where the kernel offers no bell, Watch
// only waits.
func Watch(ctx context.Context, changed func()) {
	watch(ctx, bellQuiet, changed)
	<-ctx.Done()
}

// watch is Watch with a quiet time of one's own. It returns when ctx ends or
// the bell can't be heard.
func watch(ctx context.Context, quiet time.Duration, changed func()) {
	bell, err := openBell()
	if err != nil {
		return
	}
	defer bell.Close()
	defer context.AfterFunc(ctx, func() { bell.Close() })()

	// Whatever doesn't fit is cut off: nothing is parsed.
	scrap := make([]byte, 64)
	for {
		// ENOBUFS means that more has changed than the kernel could queue.
		if _, err := bell.Read(scrap); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return
		}
		if err := bell.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			return
		}
		for err = nil; err == nil || errors.Is(err, unix.ENOBUFS); {
			_, err = bell.Read(scrap)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || bell.SetReadDeadline(time.Time{}) != nil {
			return
		}
		changed()
	}
}

// openBell returns a netlink socket on which each change of an address or a
// route is one message.
func openBell() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	groups := &unix.SockaddrNetlink{
		Family: unix.AF_NETLINK,
		Groups: unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE,
	}
	if err := unix.Bind(fd, groups); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "routes"), nil
}
