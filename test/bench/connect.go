// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"submission/family"
)

const connects = 1000

// connecting measures what it costs to know exactly how a connection ended:
// package family beside a plain dialer, by turns, on loopback.
func connecting() error {
	ctx := context.Background()
	open, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer open.Close()
	go func() {
		for {
			conn, err := open.Accept()
			if err != nil {
				return
			}
			io.Copy(io.Discard, conn) // until the client closes, which keeps TIME_WAIT off the server's port
			conn.Close()
		}
	}()
	gone, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	gone.Close() // its port answers with RST

	var plain net.Dialer
	ours := family.Dialer{Alarm: time.Minute}
	figures := map[string][]time.Duration{}
	for _, to := range []struct {
		name string
		net.Listener
		want family.Outcome
	}{{"open", open, family.Connected}, {"RST", gone, family.Reset}} {
		addr := to.Addr().(*net.TCPAddr).AddrPort()
		for range connects {
			start := time.Now()
			conn, err := plain.DialContext(ctx, "tcp4", addr.String())
			figures["plain "+to.name] = append(figures["plain "+to.name], time.Since(start))
			if err == nil {
				conn.Close()
			}
			start = time.Now()
			r := ours.Connect(ctx, []netip.Addr{addr.Addr()}, int(addr.Port()))
			figures["ours "+to.name] = append(figures["ours "+to.name], time.Since(start))
			if r.Conn != nil {
				r.Conn.Close()
			}
			if r.Outcome != to.want {
				return fmt.Errorf("connecting to %s: %s, %s", addr, r.Outcome, r.Detail)
			}
		}
	}
	fmt.Printf("\nConnecting on loopback, in microseconds (median of %d)\n\n", connects)
	fmt.Printf("%-12s %12s %12s %12s\n", "", "plain", "exact", "more")
	for _, name := range []string{"open", "RST"} {
		theirs, mine := middle(figures["plain "+name]), middle(figures["ours "+name])
		fmt.Printf("%-12s %12d %12d %12d\n", name, theirs.Microseconds(), mine.Microseconds(), (mine - theirs).Microseconds())
	}
	return nil
}

func middle(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
