// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"submission/fallback"
	"submission/module/internal/event"
	"submission/module/internal/outbox"
)

// submitPatience is how long Submit waits for the disk. Emacs is kept for that
// long at most; a person does not notice it.
const submitPatience = 100 * time.Millisecond

// Dispatcher sends the messages of one outbox for one Emacs.
type Dispatcher struct {
	box         *outbox.Box
	memory      *fallback.Memory // nil: nothing is remembered
	interactive bool
	transient   bool // see NewTransient
	events      atomic.Pointer[event.Stream]
	reminders   chan time.Time // for the schedule: when to look at the outbox
	troubles    troubles
	patience    time.Duration

	mu       sync.Mutex
	accounts map[string]*account      // those with messages to send, by their settings
	tasks    map[string]*task         // the messages this Emacs is busy with, by id
	ended    map[string]*outbox.Entry // those that Emacs is to settle, by id
	asks     map[int]chan<- *Answer
	lastAsk  int
	tls      map[string]tls.ClientSessionCache // by the settings
	place    place                             // where this machine was when it looked last
}

// NewDispatcher opens the outbox in dir, an absolute file name; its error is
// that of the outbox. What is learned about servers goes into the file memory,
// unless that is "". Interactive says whether a person can be asked for
// passwords. What waits in the outbox is tried when it is due, or by SendAll.
func NewDispatcher(dir, memory string, interactive bool, events *event.Stream) (*Dispatcher, error) {
	return newDispatcher(dir, memory, interactive, false, events)
}

// NewTransient is NewDispatcher for messages that somebody else keeps, such as
// Mew in its queue: what was submitted is tried once, and whatever is in the
// outbox after that is sent only when a person says so (Act), now and after any
// crash. So there is one owner who may send a message again.
func NewTransient(dir, memory string, interactive bool, events *event.Stream) (*Dispatcher, error) {
	return newDispatcher(dir, memory, interactive, true, events)
}

func newDispatcher(dir, memory string, interactive, transient bool, events *event.Stream) (*Dispatcher, error) {
	box, err := outbox.Open(dir)
	if err != nil {
		return nil, err
	}
	d := &Dispatcher{
		box:         box,
		interactive: interactive,
		transient:   transient,
		accounts:    make(map[string]*account),
		tasks:       make(map[string]*task),
		ended:       make(map[string]*outbox.Entry),
		asks:        make(map[int]chan<- *Answer),
		tls:         make(map[string]tls.ClientSessionCache),
		reminders:   make(chan time.Time),
		patience:    patience,
		place:       here(),
	}
	if memory != "" {
		d.memory = &fallback.Memory{File: memory}
	}
	d.events.Store(events)
	// For as long as Emacs lives.
	go d.keepTime(context.Background())
	go d.watchNetwork(context.Background())
	return d, nil
}

// Attach sends the events from now on to another stream, for an Emacs whose
// pipe was broken.
func (d *Dispatcher) Attach(events *event.Stream) { d.events.Store(events) }

func (d *Dispatcher) send(e event.Event) { d.events.Load().Send(e) }

// Submit takes a message into the outbox, starts to send it and returns its
// id. It returns once the message is safe on disk or after a tenth of a
// second, whichever comes first; the disk goes on meanwhile. An error means
// that nothing was taken.
func (d *Dispatcher) Submit(r Request) (string, error) {
	if _, err := parseSettings(r.Settings); err != nil {
		return "", err
	}
	if len(r.Envelope.To) == 0 {
		return "", errors.New("no recipients")
	}
	id := outbox.NewID(time.Now())
	added := make(chan error, 1)
	go func() {
		err := errors.New("a fault in the outbox")
		defer func() { added <- err }()
		defer d.events.Load().Guard("queueing", id)
		var entry *outbox.Entry
		entry, err = d.box.Add(outbox.Draft{
			ID:       id,
			File:     r.File,
			Envelope: outbox.Envelope{From: r.Envelope.From, To: r.Envelope.To},
			Settings: r.Settings,
			NextTry:  r.NotBefore,
			Keep:     r.Draft,
		})
		if err != nil {
			return
		}
		if r.NotBefore != nil {
			entry.Release() // the schedule takes it, here or in another Emacs
		}
		d.tell(entry.State())
		if r.NotBefore != nil {
			d.remind(*r.NotBefore)
			return
		}
		d.enqueue(entry, r.Secret, false)
	}()
	select {
	case err := <-added:
		return id, err
	case <-time.After(submitPatience):
		go func() {
			if err := <-added; err != nil {
				d.send(event.Bug{ID: id, Text: "the message could not be put into the outbox: " + err.Error() + "; its text is in " + r.File})
			}
		}()
		return id, nil
	}
}

// Settle is what Emacs says when it is done with a message that has ended:
// what was accepted or cancelled leaves the outbox, with a line for it in the
// file log, unless that is "". A log that can't be written is told, and keeps
// nothing.
func (d *Dispatcher) Settle(id, log string) error {
	d.mu.Lock()
	entry := d.ended[id]
	delete(d.ended, id)
	d.mu.Unlock()
	if entry == nil {
		var err error
		entry, err = d.box.Claim(id)
		if errors.Is(err, outbox.ErrGone) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	defer entry.Release() // unless it is removed
	if !entry.State().Status.Final() {
		return nil
	}
	if err := writeLog(log, entry.State(), time.Now()); err != nil {
		d.send(event.Warning{Text: err.Error()})
	}
	return entry.Remove()
}

// letGo gives a message up. What has ended stays ours until Emacs has settled
// it, lest another Emacs tell of it, too.
func (d *Dispatcher) letGo(entry *outbox.Entry) {
	if !entry.State().Status.Final() {
		entry.Release()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended[entry.ID()] = entry
}

// maxSettings is for how many settings TLS sessions are kept.
const maxSettings = 32

// tlsSessions returns the TLS sessions of earlier connections with the same
// settings.
func (d *Dispatcher) tlsSessions(settings string) tls.ClientSessionCache {
	d.mu.Lock()
	defer d.mu.Unlock()
	cache := d.tls[settings]
	if cache == nil {
		if len(d.tls) >= maxSettings {
			clear(d.tls)
		}
		cache = tls.NewLRUClientSessionCache(4)
		d.tls[settings] = cache
	}
	return cache
}

// guard, deferred at the top of a goroutine, catches a panic and tells of it.
func (d *Dispatcher) guard(where string) { d.events.Load().Guard(where, "") }

// tell sends Emacs a state, which is on disk.
func (d *Dispatcher) tell(s outbox.State) {
	s.Settings = nil
	d.send(event.State{ID: s.ID, State: s})
}
