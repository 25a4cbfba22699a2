// SPDX-License-Identifier: GPL-3.0-or-later

package family

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Defaults of a Dialer: Mew's alarm timer, and the delay of RFC 8305 §5.
const (
	DefaultAlarm   = 10 * time.Second
	DefaultStagger = 250 * time.Millisecond
)

// Dialer connects. The zero value is ready to use, by several goroutines too.
type Dialer struct {
	Alarm   time.Duration // for a step as a whole; 0 means DefaultAlarm
	Stagger time.Duration // between two addresses; 0 means DefaultStagger

	// attempt connects to one address until ctx ends; nil means the network.
	// Tests put something else here.
	attempt func(ctx context.Context, target netip.AddrPort) Result
}

// Result is how a step ended.
type Result struct {
	Conn    net.Conn      // open if Outcome is Connected, else nil
	Outcome Outcome       // never ""
	Address netip.Addr    // the one that connected, or that decided the outcome
	Detail  string        // what was seen, for people; empty if all went well
	Elapsed time.Duration // since Connect was called
	Err     error         // nil if connected; context.Canceled or DeadlineExceeded as below
}

// Connect connects to a port on the first of addrs that answers: the next
// address is tried when one fails and at the latest after the stagger, the
// first to connect wins, and the others are closed. The alarm is one for all of
// them. Connect returns no later than the alarm or the end of ctx.
//
// If no address connects, the outcome is the first of timeout, local, soft,
// closed, hard, reset that occurred, and with several addresses the detail
// names each of them. If the caller ended ctx, the outcome is Local, the detail
// "cancelled", and Err wraps ctx.Err(): errors.Is with context.Canceled or
// context.DeadlineExceeded is true then and only then.
func (d *Dialer) Connect(ctx context.Context, addrs []netip.Addr, port int) Result {
	start := time.Now()
	r := d.race(ctx, addrs, port)
	r.Elapsed = time.Since(start)
	return r
}

func (d *Dialer) race(ctx context.Context, addrs []netip.Addr, port int) Result {
	if len(addrs) == 0 || port < 1 || port > 65535 {
		err := fmt.Errorf("nothing to connect to: %d addresses, port %d", len(addrs), port)
		return Result{Outcome: Local, Detail: err.Error(), Err: err}
	}
	step, cancel := context.WithTimeout(ctx, orDefault(d.Alarm, DefaultAlarm))
	defer cancel()

	type ended struct {
		Result
		which int
	}
	results := make(chan ended, len(addrs))
	next := time.NewTimer(0)
	defer next.Stop()
	begun, running := 0, 0
	failed := make([]Result, len(addrs)) // in the order of addrs, whichever was first
	for begun < len(addrs) || running > 0 {
		select {
		case <-next.C:
			which, target := begun, netip.AddrPortFrom(addrs[begun], uint16(port))
			go func() { results <- ended{d.one(step, target), which} }()
			begun++
			running++
			if begun < len(addrs) {
				next.Reset(orDefault(d.Stagger, DefaultStagger))
			}
		case r := <-results:
			running--
			if r.Conn != nil {
				cancel()
				for ; running > 0; running-- {
					if loser := <-results; loser.Conn != nil {
						loser.Conn.Close()
					}
				}
				r.Detail = describe(failed)
				return r.Result
			}
			failed[r.which] = r.Result
			if begun < len(addrs) {
				next.Reset(0)
			}
		}
		if step.Err() != nil {
			begun = len(addrs) // those not yet begun never will be
			next.Stop()
		}
	}
	if err := ctx.Err(); err != nil {
		return Result{Outcome: Local, Detail: "cancelled", Err: fmt.Errorf("cancelled: %w", err)}
	}
	return worst(failed)
}

// one makes one attempt and turns a panic into a result.
func (d *Dialer) one(ctx context.Context, target netip.AddrPort) (r Result) {
	defer func() {
		if p := recover(); p != nil {
			r = Result{Outcome: Local, Detail: fmt.Sprintf("bug: panic while connecting: %v", p)}
		}
		r.Address = target.Addr()
	}()
	if d.attempt != nil {
		return d.attempt(ctx, target)
	}
	return dial(ctx, target)
}

// worst makes the result of a step of those of its addresses.
func worst(failed []Result) Result {
	tried := slices.DeleteFunc(failed, func(r Result) bool { return r.Outcome == "" })
	order := rank()
	r := slices.MinFunc(tried, func(a, b Result) int {
		return slices.Index(order, a.Outcome) - slices.Index(order, b.Outcome)
	})
	if len(tried) > 1 {
		r.Detail = describe(tried)
	}
	r.Err = errors.New(r.Detail)
	return r
}

// describe names each address that was tried and how that ended.
func describe(failed []Result) string {
	var details []string
	for _, r := range failed {
		if r.Outcome != "" {
			details = append(details, r.Address.String()+": "+r.Detail)
		}
	}
	return strings.Join(details, "; ")
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}
