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
	var w witness
	defer w.close()
	dialer := net.Dialer{Control: w.control}
	dialer.SetMultipathTCP(false) // one socket, so one call of Control
	conn, err := dialer.DialContext(ctx, network, target.String())
	if err == nil {
		if err = w.leave(); err == nil {
			return Result{Conn: conn, Outcome: Connected}
		}
		conn.Close()
	}
	var r Result
	var errno syscall.Errno
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &errno):
		r.Outcome, r.Detail = w.explain(errno, time.Since(start))
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		r.Outcome, r.Detail = w.explain(0, time.Since(start))
	default:
		r.Outcome, r.Detail = Local, err.Error()
	}
	return r
}

// seconds writes a duration as people say it: "10 s", "9.8 s".
func seconds(d time.Duration) string {
	return fmt.Sprintf("%g s", math.Round(d.Seconds()*10)/10)
}
