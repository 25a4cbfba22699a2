// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/proxy"

	"submission/fallback"
	"submission/family"
	"submission/module/internal/event"
)

// way is how a server is reached: over the network as it is, through an SSH
// tunnel, or through a proxy.
type way interface {
	// steps returns those of the sequence that can be tried on this way; named
	// says that it is one that has a name.
	steps(sequence []fallback.Step, named bool) []fallback.Step
	// dial makes one attempt.
	dial(ctx context.Context, step fallback.Step) family.Result
}

// direct is the way over the network.
type direct struct {
	here  family.Addresses // of the server, as far as this machine can use them
	alarm time.Duration
}

func (w direct) steps(sequence []fallback.Step, named bool) []fallback.Step {
	return fallback.Available(sequence, named, func(f fallback.Family) bool {
		return len(w.here.Of(string(f))) > 0
	})
}

func (w direct) dial(ctx context.Context, step fallback.Step) family.Result {
	d := family.Dialer{Alarm: w.alarm}
	return d.Connect(ctx, w.here.Of(string(step.Family)), step.Port)
}

// tunnel is the way through an SSH tunnel: a local port for each port of the
// server. Its local end always accepts, so a far end that refuses shows as
// closed before the greeting; that is why closed is followed by the next step.
type tunnel struct {
	ports map[int]int // the server's, and the local one
	alarm time.Duration
}

func (w tunnel) steps(sequence []fallback.Step, _ bool) []fallback.Step { return onlyPorts(sequence) }

func (w tunnel) dial(ctx context.Context, step fallback.Step) family.Result {
	d := family.Dialer{Alarm: w.alarm}
	r := d.Connect(ctx, []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, w.ports[step.Port])
	r.Address = netip.Addr{} // not the server's
	if r.Conn == nil {
		r.Outcome, r.Detail = family.Local, "the SSH tunnel is gone: "+r.Detail
	}
	return r
}

// dig has Emacs set up a tunnel to the server, or use the one that is there.
func (a *account) dig(t *task, alarm time.Duration) (way, error) {
	sequence, _ := a.set.steps()
	q := event.Ask{ID: t.id(), Why: "tunnel", Host: a.set.Host, SSHHost: a.set.SSHHost}
	for _, s := range onlyPorts(sequence) {
		q.Ports = append(q.Ports, s.Port)
	}
	answer := a.d.ask(t.ctx, q)
	if answer == nil || len(answer.Tunnel) != len(q.Ports) {
		why := "it could not be set up"
		if answer != nil && answer.Error != "" {
			why = answer.Error
		}
		return nil, errTunnel{host: a.set.SSHHost, why: why, held: answer != nil && answer.Held}
	}
	w := tunnel{ports: make(map[int]int), alarm: alarm}
	for i, port := range q.Ports {
		w.ports[port] = answer.Tunnel[i]
	}
	return w, nil
}

// errTunnel says why there is no tunnel, and whether a person has to mend
// something before there can be one.
type errTunnel struct {
	host, why string
	held      bool
}

func (e errTunnel) Error() string { return "no SSH tunnel through " + e.host + ": " + e.why }

// socks is the way through a SOCKS5 proxy, which also resolves the server's
// name: no DNS query is made here.
type socks struct {
	host  string // the server
	proxy *url.URL
	alarm time.Duration
}

// parseProxy reads a URL such as socks5://localhost:9050.
func parseProxy(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "socks5" && u.Scheme != "socks5h" || u.Hostname() == "" {
		return nil, fmt.Errorf("settings: %q is not a proxy such as socks5://localhost:1080", s)
	}
	return u, nil
}

func (w socks) steps(sequence []fallback.Step, _ bool) []fallback.Step { return onlyPorts(sequence) }

// dial connects through the proxy. What the proxy tells of a failure is
// closed; a proxy that is out of reach is local.
func (w socks) dial(ctx context.Context, step fallback.Step) family.Result {
	start := time.Now()
	if w.alarm <= 0 {
		w.alarm = family.DefaultAlarm
	}
	dialing, cancel := context.WithTimeout(ctx, w.alarm)
	defer cancel()
	near := &nearDialer{}
	conn, err := w.connect(dialing, near, step.Port)
	r := family.Result{Conn: conn, Outcome: family.Connected, Elapsed: time.Since(start), Err: err}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		r.Outcome, r.Detail = family.Local, "cancelled"
	case !near.reached:
		r.Outcome, r.Detail = family.Local, "the proxy is out of reach: "+err.Error()
	case dialing.Err() != nil:
		r.Outcome, r.Detail = family.Closed, "the proxy gave no answer in time"
	default:
		r.Outcome, r.Detail = family.Closed, "the proxy says: "+err.Error()
	}
	return r
}

func (w socks) connect(ctx context.Context, near *nearDialer, port int) (net.Conn, error) {
	var auth *proxy.Auth
	if w.proxy.User != nil {
		password, _ := w.proxy.User.Password()
		auth = &proxy.Auth{User: w.proxy.User.Username(), Password: password}
	}
	proxyPort := w.proxy.Port()
	if proxyPort == "" {
		proxyPort = "1080"
	}
	d, err := proxy.SOCKS5("tcp", net.JoinHostPort(w.proxy.Hostname(), proxyPort), auth, near)
	if err != nil {
		return nil, err
	}
	dialer, ok := d.(proxy.ContextDialer)
	if !ok {
		return nil, errors.New("the SOCKS library has no way to be interrupted")
	}
	return dialer.DialContext(ctx, "tcp", net.JoinHostPort(strings.Trim(w.host, "[]"), strconv.Itoa(port)))
}

// nearDialer connects to the proxy, and notes that it did.
type nearDialer struct {
	net.Dialer
	reached bool
}

func (n *nearDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := n.Dialer.DialContext(ctx, network, address)
	n.reached = n.reached || err == nil
	return conn, err
}

// Dial is never called, as DialContext is there; the library's interface wants
// it.
func (n *nearDialer) Dial(network, address string) (net.Conn, error) {
	return n.DialContext(context.Background(), network, address)
}

// onlyPorts returns the steps of a sequence where families do not apply: each
// port once.
func onlyPorts(sequence []fallback.Step) []fallback.Step {
	var steps []fallback.Step
	for _, s := range sequence {
		if s.Family = fallback.Any; !slices.Contains(steps, s) {
			steps = append(steps, s)
		}
	}
	return steps
}
