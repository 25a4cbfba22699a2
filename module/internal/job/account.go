// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"submission/module/internal/event"
	"submission/module/internal/outbox"
	"submission/module/internal/session"
)

// account is the messages that were queued with the same settings: they go one
// after the other over one connection, with one login, and a server that is
// down is tried once for all of them. Its fields are the dispatcher's to lock,
// but those of the worker.
type account struct {
	d     *Dispatcher
	key   string // the settings as JSON
	set   Settings
	queue []*task

	workers int
	secret  *Secret       // for as long as there is a worker
	more    chan struct{} // has something when the queue has grown
	watch   *time.Timer   // calls helpOut; nil: there was no need yet
	watched bool          // it will
}

// task is a message that this Emacs is busy with.
type task struct {
	entry   *outbox.Entry
	account *account
	lookUp  bool            // the password is to be looked up in auth-source first
	ctx     context.Context // ends when the message is cancelled
	cancel  context.CancelCauseFunc
}

func (t *task) id() string { return t.entry.ID() }

// When no message was taken up for so long while some wait, a further connection
// is made: one that is stuck must not keep the rest. There are at most so many
// connections at once.
const (
	patience   = 10 * time.Second
	maxWorkers = 3
)

// enqueue gives an account a message to send. The entry is the task's from
// here on. With lookUp, nobody has asked auth-source for the password yet.
func (d *Dispatcher) enqueue(entry *outbox.Entry, secret *Secret, lookUp bool) {
	raw := entry.State().Settings
	set, err := parseSettings(raw)
	d.mu.Lock()
	a := d.accounts[string(raw)]
	if a == nil {
		a = &account{d: d, key: string(raw), set: set, more: make(chan struct{}, 1)}
		d.accounts[a.key] = a
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	t := &task{entry: entry, account: a, lookUp: lookUp, ctx: ctx, cancel: cancel}
	if err != nil {
		delete(d.accounts, a.key)
		d.mu.Unlock()
		d.finish(t, ending{verdict: verdict{outbox.Held, outbox.ReasonProtocol}, detail: err.Error()})
		return
	}
	defer d.mu.Unlock()
	if secret != nil {
		a.secret = secret
	}
	d.tasks[t.id()] = t
	a.queue = append(a.queue, t)
	if a.workers == 0 {
		a.hire()
		return
	}
	select {
	case a.more <- struct{}{}:
	default:
	}
	if !a.watched {
		a.watchOver()
	}
}

// watchOver has helpOut called unless another message is taken up in time. The
// dispatcher is locked.
func (a *account) watchOver() {
	a.watched = true
	if a.watch == nil {
		a.watch = time.AfterFunc(a.d.patience, func() {
			defer a.d.guard("account")
			a.helpOut()
		})
		return
	}
	a.watch.Reset(a.d.patience)
}

// helpOut starts another worker if messages still wait.
func (a *account) helpOut() {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	a.watched = false
	if len(a.queue) > 0 && a.workers < maxWorkers {
		a.hire()
	}
}

// hire starts a worker. The dispatcher is locked.
func (a *account) hire() {
	a.workers++
	go func() {
		defer a.d.guard("account " + a.set.Host)
		a.work()
	}()
}

// next takes the first message that waits, or ends the worker's time. With an
// open link it is patient, as the settings say.
func (a *account) next(open bool) *task {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	if len(a.queue) == 0 && open && a.set.KeepConnection > 0 {
		late := time.After(seconds(a.set.KeepConnection))
		for waiting := true; waiting && len(a.queue) == 0; {
			a.d.mu.Unlock()
			select {
			case <-a.more:
			case <-late:
				waiting = false
			}
			a.d.mu.Lock()
		}
	}
	if len(a.queue) > 0 {
		t := a.queue[0]
		a.queue = a.queue[1:]
		a.watchOver()
		return t
	}
	if a.workers--; a.workers == 0 {
		if a.watch != nil {
			a.watch.Stop()
		}
		delete(a.d.accounts, a.key)
		a.secret = nil
	}
	return nil
}

// current reports whether a link is still what a new one would be: the password
// is the same, and so is the network; and it has not been asleep with this
// machine, which no timer notices.
func (a *account) current(l *link) bool {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	same := a.secret == l.secret || a.secret != nil && l.secret != nil && *a.secret == *l.secret
	asleep := time.Now().Round(0).Sub(l.rests) - seconds(a.set.KeepConnection)
	return same && !a.d.place.differs(l.place) && asleep < time.Second
}

// others takes all messages that wait.
func (a *account) others() []*task {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	all := a.queue
	a.queue = nil
	return all
}

// waiting reports whether there are messages that wait.
func (a *account) waiting() bool {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	return len(a.queue) > 0
}

// unqueue takes a message out of the queue and reports whether it was there.
// The dispatcher is locked.
func (a *account) unqueue(t *task) bool {
	i := slices.Index(a.queue, t)
	if i >= 0 {
		a.queue = slices.Delete(a.queue, i, i+1)
	}
	return i >= 0
}

// work sends what waits, until nothing does. What was accepted is made durable
// when there is nothing else to do; until then a loss of power leaves some of
// it uncertain.
func (a *account) work() {
	var l *link
	for t := a.next(false); t != nil; t = a.next(l != nil) {
		switch {
		case l == nil:
		case !a.current(l):
			l.session.Abort()
			l = nil
		case l.spent():
			l.session.Quit(t.ctx)
			l = nil
		}
		if l = a.deliver(t, l); l != nil {
			l.rests = time.Now().Round(0)
		}
		if !a.waiting() {
			a.d.box.Sync() // it is as well if the disk does it later
		}
	}
	if l != nil {
		l.session.Quit(context.Background())
	}
}

// deliver sends one message, over the link if it is open, and returns the link
// if it can take another message.
func (a *account) deliver(t *task, l *link) (open *link) {
	defer func() {
		if r := recover(); r != nil {
			// A fault of ours fails one message. It stays in the outbox as it
			// is on disk: to be tried again, or uncertain.
			a.d.send(event.Bug{ID: t.id(), Text: fmt.Sprintf("sending: %v\n%s", r, debug.Stack())})
			a.d.leave(t)
			open = nil
		}
	}()
	if err := t.entry.Move(outbox.Sending, func(s *outbox.State) { s.Tries++ }); err != nil {
		a.d.diskTrouble(t, err)
		return l
	}
	a.d.tell(t.entry.State())
	e := a.tries(t, &l)
	e.stop(t)
	a.d.finish(t, e)
	if e.forAll {
		for _, other := range a.others() {
			a.fail(other, e)
		}
	}
	return l
}

// fail gives a message that was not tried the ending of one to the same server
// that was.
func (a *account) fail(t *task, e ending) {
	e.result, e.shared = session.Result{}, true
	a.d.finish(t, e)
}

// tries makes one try, and another whenever a person has given the password
// that was missing or wrong.
func (a *account) tries(t *task, l **link) ending {
	question := event.Ask{ID: t.id(), Host: a.set.Host, Port: a.set.Port, User: a.set.User}
	if *l == nil {
		if e, ok := a.needSecret(t, question); !ok {
			return e
		}
	}
	freshToken := false
	for {
		e := a.try(t, l)
		question.Port, question.Reply = e.port, e.reply
		switch {
		case e.wantsToken && !freshToken:
			freshToken = true
			question.Why = "token"
		case e.wantsToken, !e.wantsPassword, !a.set.reveals(e.tls):
			return e
		case a.password() == nil:
			question.Why = "530"
		default:
			question.Why = "535"
		}
		if !a.askSecret(t, question) {
			return e
		}
	}
}

// needSecret sees to it that there is a password where a user name is set:
// for a later try auth-source is asked again, then a person.
func (a *account) needSecret(t *task, question event.Ask) (ending, bool) {
	if a.set.User == "" || a.password() != nil {
		return ending{}, true
	}
	question.Why = "again"
	if t.lookUp && a.askSecret(t, question) {
		return ending{}, true
	}
	if a.set.ClientCertificate.Certificate != "" {
		return ending{}, true // which may be all that the server wants
	}
	question.Why = "missing"
	if a.askSecret(t, question) {
		return ending{}, true
	}
	return ending{
		verdict: verdict{outbox.Held, outbox.ReasonAuth},
		host:    a.set.Host,
		detail:  fmt.Sprintf("there is no password for %s on %s", a.set.User, a.set.Host),
		forAll:  true,
	}, false
}

func (a *account) password() *Secret {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	return a.secret
}

func (a *account) askSecret(t *task, question event.Ask) bool {
	answer := a.d.ask(t.ctx, question)
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	a.secret = nil
	if answer != nil {
		a.secret = answer.Secret
	}
	return a.secret != nil
}

// try hands the message over on the open link, or makes a link first. A link
// that turns out to be closed already costs a new one and nothing else; a new
// one isn't used if nothing of the message can be sent over it.
func (a *account) try(t *task, l **link) ending {
	start := time.Now()
	d := &delivery{asked: make(map[string]bool)}
	for {
		var e ending
		if *l == nil {
			*l, e = a.connect(t)
		}
		if *l != nil {
			if e = a.transact(t, *l, d); e.over {
				*l = nil
			}
		}
		if !e.stale {
			e.elapsed = time.Since(start)
			return e
		}
	}
}
