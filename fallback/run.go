// SPDX-License-Identifier: GPL-3.0-or-later

package fallback

import "context"

// Order returns the steps in the order to try them: as they are, or, where a
// step is remembered, that step and then, should it fail, the whole sequence
// from the top.
func Order(steps []Step, remembered *Step) []Step {
	if remembered == nil {
		return steps
	}
	return append([]Step{*remembered}, steps...)
}

// Run tries the steps in order, one at a time, and returns the outcomes of
// those that were tried, oldest first. It ends with the first step that try
// calls connected, so the last outcome says whether there was one, and with
// ctx.
func Run(ctx context.Context, steps []Step, try func(context.Context, Step) Outcome) []Outcome {
	var outcomes []Outcome
	for _, s := range steps {
		if ctx.Err() != nil {
			break
		}
		o := try(ctx, s)
		outcomes = append(outcomes, o)
		if !o.next() {
			break
		}
	}
	return outcomes
}

// Scope is where a lesson holds.
type Scope int

// The scopes of a lesson.
const (
	Nowhere   Scope = iota // nothing is to be remembered
	Server                 // for the server, on any network
	OnNetwork              // for the server on this network
)

// Lesson is what a sequence taught: a step to start with the next time, and
// where that holds; or, with Forget, that whatever was remembered is out of
// date.
type Lesson struct {
	Step   Step  `json:"step"`
	Scope  Scope `json:"scope"`
	Forget bool  `json:"forget"`
}

// Learn returns the lesson of a run of steps, tried from the top of the
// sequence, that ended with the given outcomes. A 220 is remembered if every
// step before it ended in a way that is about the server: for the server alone
// if all were resets, for the server on this network if some were hard errors
// or timeouts. A 220 from the first step forgets. Soft errors, trouble on this
// machine and everything that happened after a connection was open say nothing
// that holds for the next message.
func Learn(steps []Step, outcomes []Outcome) Lesson {
	n := len(outcomes)
	if n == 0 || n > len(steps) || outcomes[n-1] != Connected {
		return Lesson{}
	}
	if n == 1 {
		return Lesson{Forget: true}
	}
	scope := Server
	for _, o := range outcomes[:n-1] {
		switch o {
		case Reset:
		case Hard, Timeout:
			scope = OnNetwork
		default:
			return Lesson{}
		}
	}
	return Lesson{Step: steps[n-1], Scope: scope}
}
