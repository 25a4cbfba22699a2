// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"submission/family"
	"submission/module/internal/event"
	"submission/module/internal/outbox"
)

// giveUp is how long a message is deferred before a person has to look at it
// (RFC 5321 §4.5.4.1).
const giveUp = 5 * 24 * time.Hour

// glance is how often the clock on the wall is looked at while something
// waits: timers stand still while a machine sleeps.
const glance = time.Minute

// retryAfter returns the wait before the next try, after so many tries: 1, 5,
// 15, 30 and then 60 minutes, or what the settings say, in minutes.
func (s Settings) retryAfter(tries int) time.Duration {
	minutes := s.RetryMinutes
	if len(minutes) == 0 {
		minutes = []float64{1, 5, 15, 30, 60}
	}
	return seconds(60 * minutes[min(max(tries, 1), len(minutes))-1])
}

// postpone says when a message that was deferred is tried again, or that it
// was tried for long enough.
func (s Settings) postpone(state *outbox.State, now time.Time) {
	next := now.Add(s.retryAfter(state.Tries)).UTC().Truncate(time.Second)
	state.NextTry = &next
}

// keepTime tries again what is due, until ctx ends. It also takes up what
// another Emacs, that is gone, has left.
func (d *Dispatcher) keepTime(ctx context.Context) {
	defer d.guard("the schedule")
	next := time.Now().Add(glance)
	timer := time.NewTimer(glance)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case at := <-d.reminders:
			if !at.Before(next) {
				continue
			}
			next = at
		case <-timer.C:
			now := time.Now()
			d.sendDue(now)
			next = d.nextDue(now)
		}
		timer.Reset(time.Until(next))
	}
}

// remind makes the schedule look at the outbox at a time.
func (d *Dispatcher) remind(at time.Time) {
	go func() { d.reminders <- at }()
}

// nextDue returns when to look at the outbox again: when the next message is
// due, but not within a second, and after a glance at the latest. What was due
// already has been taken, or can't be taken now.
func (d *Dispatcher) nextDue(now time.Time) time.Time {
	next := now.Add(glance)
	states, _ := d.box.List()
	for _, s := range states {
		if waits(s.Status) && !due(s, now) && s.NextTry.Before(next) {
			next = *s.NextTry
		}
	}
	if soon := now.Add(time.Second); next.Before(soon) {
		next = soon
	}
	return next
}

// sendDue takes what is due now, and what nobody is busy with.
func (d *Dispatcher) sendDue(now time.Time) {
	states, _ := d.box.List()
	for _, s := range states {
		if waits(s.Status) && due(s, now) || s.Status == outbox.Sending {
			d.take(s.ID)
		}
	}
}

// due reports whether the time of the next try has come. One that is farther
// away than any wait was written by a clock that was wrong, and is set right.
func due(s outbox.State, now time.Time) bool {
	if s.NextTry == nil || !s.NextTry.After(now) {
		return true
	}
	if s.Status != outbox.Deferred {
		return false // a person has said when
	}
	set, err := parseSettings(s.Settings)
	return err == nil && s.NextTry.Sub(now) > set.retryAfter(s.Tries)+glance
}

// waits reports whether a message in this status is tried by itself.
func waits(s outbox.Status) bool { return s == outbox.Queued || s == outbox.Deferred }

// watchNetwork looks around whenever the network may have changed, until ctx
// ends.
func (d *Dispatcher) watchNetwork(ctx context.Context) {
	defer d.guard("watching the network")
	family.Watch(ctx, d.lookAround)
}

// lookAround tries again what is deferred if this machine has come to another
// network since it looked last.
func (d *Dispatcher) lookAround() {
	now := here()
	d.mu.Lock()
	before := d.place
	d.place = now
	d.mu.Unlock()
	if now.address != "" && now.differs(before) {
		d.send(event.Network{Network: now.network})
		d.sendDeferred()
	}
}

// whereabouts returns where this machine was when it looked around last.
func (d *Dispatcher) whereabouts() place {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.place
}

// place is where this machine is. Right after a change the network has no name
// yet, as nothing was sent through its gateway.
type place struct {
	network string // "" if it has no name
	address string // of this machine; "" where no way leads to the world
}

// here returns the place this machine is at, by the way that leads to the world.
func here() place {
	// Addresses for documentation (RFC 5737, RFC 3849); no packet is sent.
	for _, a := range []string{"192.0.2.1", "2001:db8::1"} {
		if conn, err := net.Dial("udp", net.JoinHostPort(a, "9")); err == nil {
			defer conn.Close()
			own := conn.LocalAddr().(*net.UDPAddr).IP.String()
			return place{network: family.Network(netip.MustParseAddr(a)), address: own}
		}
	}
	return place{}
}

// differs reports whether p is another network than before, as far as one can
// tell: two networks may use the same addresses, and IPv6 addresses change.
func (p place) differs(before place) bool {
	if before.network != "" {
		return p.network != before.network
	}
	return p.address != before.address
}

// sendDeferred tries now what is deferred.
func (d *Dispatcher) sendDeferred() []string {
	states, _ := d.box.List()
	var ids []string
	for _, s := range states {
		if s.Status == outbox.Deferred && d.take(s.ID) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// SendAll tries now what is deferred, and what is queued or sending but whose
// Emacs is gone; and it tells again of what was accepted or cancelled in an
// Emacs that ended before it could settle that. It returns the ids of what it
// took; what another Emacs is busy with is left to it, and so is what waits for
// a person or for a time that was set. What can't be sent, as a file is missing
// or can't be read, is told.
//
// Where that takes more than a tenth of a second, as with some thousand messages,
// it goes on without keeping Emacs: all is false, and an event tells the ids.
func (d *Dispatcher) SendAll() (ids []string, all bool) {
	claimed := d.claimAll(nil)
	select {
	case entries := <-claimed:
		for _, entry := range entries {
			ids = append(ids, entry.ID())
			d.enqueue(entry, nil, true)
		}
		return ids, true
	case <-time.After(submitPatience):
		go d.begin(claimed)
		return nil, false
	}
}

// TakeOver does what SendAll does, but for the messages skip, without keeping
// Emacs, which is told of the ids by an event.
func (d *Dispatcher) TakeOver(skip []string) { go d.begin(d.claimAll(skip)) }

// begin tells of what was claimed, and then starts to send it.
func (d *Dispatcher) begin(claimed <-chan []*outbox.Entry) {
	defer d.guard("taking over the outbox")
	entries := <-claimed
	taken := event.Taken{IDs: []string{}}
	for _, entry := range entries {
		taken.IDs = append(taken.IDs, entry.ID())
	}
	d.send(taken)
	for _, entry := range entries {
		d.enqueue(entry, nil, true)
	}
}

// claimAll claims what SendAll sends, but for the messages skip.
func (d *Dispatcher) claimAll(skip []string) <-chan []*outbox.Entry {
	claimed := make(chan []*outbox.Entry, 1)
	go func() {
		var entries []*outbox.Entry
		defer func() { claimed <- entries }()
		defer d.guard("taking over the outbox")
		states, problems := d.box.List()
		d.troubles.forget()
		for _, err := range problems {
			d.trouble(err)
		}
		now := time.Now()
		for _, s := range states {
			switch {
			case slices.Contains(skip, s.ID):
			case s.Status.Final():
				if entry, err := d.box.Claim(s.ID); err == nil {
					d.letGo(entry)
					d.tell(entry.State())
				}
			case s.Status == outbox.Sending, s.Status == outbox.Deferred, s.Status == outbox.Queued && due(s, now):
				if entry := d.claimWaiting(s.ID); entry != nil {
					entries = append(entries, entry)
				}
			}
		}
	}()
	return claimed
}

// take claims a message and starts to send it, if it is there to be sent.
func (d *Dispatcher) take(id string) bool {
	entry := d.claimWaiting(id)
	if entry != nil {
		d.enqueue(entry, nil, true)
	}
	return entry != nil
}

// claimWaiting claims a message that waits to be sent; nil if it doesn't.
func (d *Dispatcher) claimWaiting(id string) *outbox.Entry {
	if d.transient {
		return nil
	}
	entry, err := d.box.Claim(id)
	if err != nil {
		d.trouble(err)
		return nil
	}
	state := entry.State()
	if waits(state.Status) {
		return entry
	}
	entry.Release()
	if state.Status == outbox.Uncertain { // its owner died after the final dot
		d.tell(state)
	}
	return nil
}
