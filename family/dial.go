// SPDX-License-Identifier: GPL-3.0-or-later

package family

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// dial connects to one address until ctx ends, and says how that went.
func dial(ctx context.Context, target netip.AddrPort) Result {
	network := "tcp6"
	if target.Addr().Is4() {
		network = "tcp4"
	}
	start := time.Now()
	var dialer net.Dialer
	dialer.SetMultipathTCP(false)
	conn, err := dialer.DialContext(ctx, network, target.String())
	if err == nil {
		return Result{Conn: conn, Outcome: Connected}
	}
	r := Result{Err: err}
	var errno syscall.Errno
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &errno):
		r.Outcome, r.Detail = byErrno(errno)
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		r.Outcome, r.Detail = Timeout, "no answer in "+seconds(time.Since(start))
	default:
		r.Outcome, r.Detail = Local, err.Error()
	}
	return r
}

// seconds writes a duration as people say it: "10 s", "9.8 s".
func seconds(d time.Duration) string {
	return fmt.Sprintf("%g s", math.Round(d.Seconds()*10)/10)
}
