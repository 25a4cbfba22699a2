// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"net/netip"
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
func (d *Dispatcher) recall(set Settings, here family.Addresses, steps []fallback.Step) *fallback.Step {
	if !set.remembers() || d.memory == nil {
		return nil
	}
	network := family.Network(here.Of("any")[0])
	step, err := d.memory.Recall(set.Host, network, steps, time.Now())
	if err != nil {
		d.send(event.Warning{Text: err.Error()})
	}
	return step
}

// learn draws the lesson of a walk along steps that ended at address. With
// "ask" a new lesson goes to Emacs, which comes back with Remember if the
// person agrees.
func (d *Dispatcher) learn(id string, set Settings, address netip.Addr, steps []fallback.Step, outcomes []fallback.Outcome) {
	lesson := fallback.Learn(steps, outcomes)
	if !set.remembers() || d.memory == nil || lesson == (fallback.Lesson{}) {
		return
	}
	l := Lesson{
		Host:    set.Host,
		Network: family.Network(address),
		Steps:   steps,
		Lesson:  lesson,
	}
	if set.Remember == rememberAsk && !lesson.Forget {
		if lesson.Scope == fallback.Server || l.Network != "" {
			d.send(event.Learned{ID: id, Lesson: l, Outcome: string(outcomes[0])})
		}
		return
	}
	if err := d.Remember(l); err != nil {
		d.send(event.Warning{Text: err.Error()})
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
