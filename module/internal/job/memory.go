// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"time"

	"submission/fallback"
	"submission/family"
	"submission/module/internal/event"
)

// The values of Settings.Remember.
const (
	rememberAlways = "t"
	rememberAsk    = "ask"
)

// remembers reports whether the message's sequence is one to remember
// anything of: a port that the user named is not.
func (s Settings) remembers() bool {
	_, explicit := s.steps()
	return !explicit && (s.Remember == rememberAlways || s.Remember == rememberAsk)
}

// recall returns the step to start with, nil for the first. A memory that
// can't be read is told, and stops no mail.
func (a *account) recall(w way, steps []fallback.Step) *fallback.Step {
	straight, ok := w.(direct)
	if !ok || !a.set.remembers() || a.d.memory == nil {
		return nil
	}
	step, err := a.d.memory.Recall(a.set.Host, straight.network(steps), steps, time.Now())
	if err != nil {
		a.d.send(event.Warning{Text: err.Error()})
	}
	return step
}

// network names the network one is on as seen on the way to the first step.
// That is what is asked before a walk and after it, wherever it ended: the
// gateways of the two families have different names.
func (w direct) network(steps []fallback.Step) string {
	return family.Network(w.here.Of(string(steps[0].Family))[0])
}

// learn draws the lesson of a walk along steps. With "ask" a new lesson goes to
// Emacs, which comes back with Remember if the person agrees.
func (a *account) learn(t *task, w way, steps []fallback.Step, outcomes []fallback.Outcome) {
	lesson := fallback.Learn(steps, outcomes)
	straight, ok := w.(direct)
	if !ok || !a.set.remembers() || a.d.memory == nil || lesson == (fallback.Lesson{}) {
		return
	}
	l := Lesson{
		Host:    a.set.Host,
		Network: straight.network(steps),
		Steps:   steps,
		Lesson:  lesson,
	}
	if a.set.Remember == rememberAsk && !lesson.Forget {
		if lesson.Scope == fallback.Server || l.Network != "" {
			a.d.send(event.Learned{ID: t.id(), Lesson: l, Outcome: string(outcomes[0])})
		}
		return
	}
	if err := a.d.Remember(l); err != nil {
		a.d.send(event.Warning{Text: err.Error()})
	}
}

// Lesson is what a walk along the sequence taught about a server.
type Lesson struct {
	Host    string          `json:"host"`
	Network string          `json:"network"` // "" where it is not known
	Steps   []fallback.Step `json:"steps"`
	fallback.Lesson
}

// Remember puts a lesson down.
func (d *Dispatcher) Remember(l Lesson) error {
	return d.memory.Remember(l.Host, l.Network, l.Steps, l.Lesson, time.Now())
}

// ForgetFallbacks clears the memory.
func (d *Dispatcher) ForgetFallbacks() error { return d.memory.Forget() }
