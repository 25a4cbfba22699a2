// SPDX-License-Identifier: GPL-3.0-or-later

package family

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A plan says what each address does: how long it takes, and how it ends.
type plan map[string]struct {
	after time.Duration
	end   Outcome
}

// play makes a Dialer of a plan, and a log of when each address was begun. An
// address that isn't over when its time is up ends as a timeout.
func play(p plan, d Dialer) (*Dialer, chan time.Duration, func() int) {
	start := time.Now()
	begun := make(chan time.Duration, len(p))
	var mu sync.Mutex
	var open []net.Conn
	d.attempt = func(ctx context.Context, target netip.AddrPort) Result {
		begun <- time.Since(start)
		step := p[target.Addr().String()]
		select {
		case <-time.After(step.after):
		case <-ctx.Done():
			return Result{Outcome: Timeout, Detail: "silence"}
		}
		switch step.end {
		case "panic":
			panic("oh")
		case Connected:
			here, there := net.Pipe()
			mu.Lock()
			open = append(open, there)
			mu.Unlock()
			return Result{Outcome: Connected, Conn: here}
		}
		return Result{Outcome: step.end, Detail: "was " + string(step.end)}
	}
	// left counts the connections that nobody has closed.
	left := func() int {
		n := 0
		for _, there := range open {
			there.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := there.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				n++
			}
		}
		return n
	}
	return &d, begun, left
}

func TestConnect(t *testing.T) {
	const never = time.Hour
	a, b, c := "198.18.0.1", "198.18.0.2", "fd00::3"
	for name, test := range map[string]struct {
		plan    plan
		dialer  Dialer
		list    []netip.Addr
		outcome Outcome
		address string
		detail  string
		elapsed time.Duration
		begun   []time.Duration
	}{
		"one address": {
			plan: plan{a: {time.Second, Connected}}, list: addrs(a),
			outcome: Connected, address: a, elapsed: time.Second, begun: []time.Duration{0},
		},
		"one refuses": {
			plan: plan{a: {time.Second, Reset}}, list: addrs(a),
			outcome: Reset, address: a, detail: "was reset", elapsed: time.Second, begun: []time.Duration{0},
		},
		"a failure starts the next at once": {
			plan: plan{a: {100 * time.Millisecond, Reset}, b: {0, Connected}}, list: addrs(a, b),
			outcome: Connected, address: b, detail: a + ": was reset",
			elapsed: 100 * time.Millisecond, begun: []time.Duration{0, 100 * time.Millisecond},
		},
		"a slow one starts the next after the stagger": {
			plan: plan{a: {never, ""}, b: {0, Connected}}, list: addrs(a, b),
			outcome: Connected, address: b, elapsed: DefaultStagger, begun: []time.Duration{0, DefaultStagger},
		},
		"another stagger": {
			plan: plan{a: {never, ""}, b: {never, ""}, c: {0, Connected}}, list: addrs(a, b, c),
			dialer:  Dialer{Stagger: time.Second},
			outcome: Connected, address: c, elapsed: 2 * time.Second,
			begun: []time.Duration{0, time.Second, 2 * time.Second},
		},
		"first to connect wins": {
			plan: plan{a: {time.Second, Connected}, b: {500 * time.Millisecond, Connected}}, list: addrs(a, b),
			outcome: Connected, address: b, elapsed: 750 * time.Millisecond,
			begun: []time.Duration{0, DefaultStagger},
		},
		"the alarm is one for all": {
			plan: plan{a: {never, ""}, b: {never, ""}}, list: addrs(a, b),
			outcome: Timeout, address: a, detail: a + ": silence; " + b + ": silence",
			elapsed: DefaultAlarm, begun: []time.Duration{0, DefaultStagger},
		},
		"another alarm, before the second address": {
			plan: plan{a: {never, ""}, b: {0, Connected}}, list: addrs(a, b),
			dialer:  Dialer{Alarm: 100 * time.Millisecond},
			outcome: Timeout, address: a, detail: "silence",
			elapsed: 100 * time.Millisecond, begun: []time.Duration{0},
		},
		"a timeout decides": {
			plan: plan{a: {0, Reset}, b: {never, ""}, c: {0, Local}}, list: addrs(a, b, c),
			outcome: Timeout, address: b, elapsed: DefaultAlarm,
			detail: a + ": was reset; " + b + ": silence; " + c + ": was local",
			begun:  []time.Duration{0, 0, DefaultStagger},
		},
		"local before soft": {
			plan: plan{a: {0, Soft}, b: {0, Local}}, list: addrs(a, b),
			outcome: Local, address: b, detail: a + ": was soft; " + b + ": was local", begun: []time.Duration{0, 0},
		},
		"soft before closed": {
			plan: plan{a: {0, Closed}, b: {0, Soft}}, list: addrs(a, b),
			outcome: Soft, address: b, detail: a + ": was closed; " + b + ": was soft", begun: []time.Duration{0, 0},
		},
		"closed before hard": {
			plan: plan{a: {0, Hard}, b: {0, Closed}}, list: addrs(a, b),
			outcome: Closed, address: b, detail: a + ": was hard; " + b + ": was closed", begun: []time.Duration{0, 0},
		},
		"hard before reset": {
			plan: plan{a: {0, Reset}, b: {0, Hard}}, list: addrs(a, b),
			outcome: Hard, address: b, detail: a + ": was reset; " + b + ": was hard", begun: []time.Duration{0, 0},
		},
		"a panic is a result": {
			plan: plan{a: {0, "panic"}, b: {0, Connected}}, list: addrs(a, b),
			outcome: Connected, address: b, detail: a + ": bug: panic while connecting: oh", begun: []time.Duration{0, 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, begun, left := play(test.plan, test.dialer)
				r := d.Connect(t.Context(), test.list, 587)
				if r.Outcome != test.outcome || r.Address.String() != test.address || r.Detail != test.detail {
					t.Errorf("got %s by %s, %q; want %s by %s, %q",
						r.Outcome, r.Address, r.Detail, test.outcome, test.address, test.detail)
				}
				if r.Elapsed != test.elapsed {
					t.Errorf("it took %v, want %v", r.Elapsed, test.elapsed)
				}
				for i, want := range test.begun {
					select {
					case got := <-begun:
						if got != want {
							t.Errorf("address %d was begun at %v, want %v", i, got, want)
						}
					default:
						t.Errorf("address %d was never begun", i)
					}
				}
				if len(begun) > 0 {
					t.Errorf("%d more addresses were begun", len(begun))
				}
				connected := test.outcome == Connected
				if (r.Conn != nil) != connected || (r.Err == nil) != connected {
					t.Errorf("conn %v, error %v", r.Conn, r.Err)
				}
				if r.Conn != nil {
					if n := left(); n != 1 {
						t.Errorf("%d connections are open, want the winner's alone", n)
					}
					r.Conn.Close()
				}
				if errors.Is(r.Err, context.DeadlineExceeded) || errors.Is(r.Err, context.Canceled) {
					t.Errorf("%v looks as if the caller had given up", r.Err)
				}
			})
		})
	}
}

// TestConnectTie lets two addresses connect in the same instant: one connection
// is handed out and the other closed.
func TestConnectTie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, left := play(plan{
			"198.18.0.1": {500 * time.Millisecond, Connected},
			"198.18.0.2": {250 * time.Millisecond, Connected},
		}, Dialer{})
		r := d.Connect(t.Context(), addrs("198.18.0.1", "198.18.0.2"), 587)
		if r.Outcome != Connected || left() != 1 {
			t.Errorf("got %s with %d connections open", r.Outcome, left())
		}
		r.Conn.Close()
	})
}

func TestConnectCancelled(t *testing.T) {
	silent := plan{"198.18.0.1": {time.Hour, ""}, "198.18.0.2": {time.Hour, ""}}
	for name, test := range map[string]struct {
		context func(context.Context) (context.Context, context.CancelFunc)
		want    error
		elapsed time.Duration
	}{
		"before": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, context.Canceled, 0},
		"during": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, context.Canceled, time.Second},
		"by a deadline of the caller's": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 2*time.Second)
		}, context.DeadlineExceeded, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := test.context(t.Context())
				defer cancel()
				d, _, _ := play(silent, Dialer{})
				r := d.Connect(ctx, addrs("198.18.0.1", "198.18.0.2"), 587)
				if r.Outcome != Local || r.Detail != "cancelled" || !errors.Is(r.Err, test.want) || r.Elapsed != test.elapsed {
					t.Errorf("got %+v", r)
				}
			})
		})
	}
}

func TestConnectToNothing(t *testing.T) {
	for name, r := range map[string]Result{
		"no address": new(Dialer).Connect(t.Context(), nil, 587),
		"port 0":     new(Dialer).Connect(t.Context(), addrs("127.0.0.1"), 0),
		"port 65536": new(Dialer).Connect(t.Context(), addrs("127.0.0.1"), 65536),
	} {
		if r.Outcome != Local || r.Err == nil || !strings.HasPrefix(r.Detail, "nothing to connect to") {
			t.Errorf("%s: got %+v", name, r)
		}
	}
}
