// SPDX-License-Identifier: GPL-3.0-or-later

package diagnose

import (
	"context"
	"crypto/x509"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"submission/fallback"
	"submission/family"
	"submission/module/internal/event"
	"submission/module/internal/session"
)

// maxOpen is how many steps and look-ups are under way at once. Emacs can use
// 1024 descriptors; one that is connecting has two.
const maxOpen = 400

// What changes within flushAfter is told together, but so many rows to an event
// that Emacs reads one without being noticed.
const (
	flushAfter = 50 * time.Millisecond
	maxRows    = 5
)

// Spec is what Lisp asks for.
type Spec struct {
	Lines      []string `json:"lines"`
	EHLOName   string   `json:"ehlo-name"` // "": an address literal
	TrustFiles []string `json:"trust-files"`
	Timeouts   Timeouts `json:"timeouts"`

	roots *x509.CertPool
}

// Timeouts are time limits in seconds; one that is 0 has its default.
type Timeouts struct {
	Connect  float64 `json:"connect"`
	TLS      float64 `json:"tls"`
	Greeting float64 `json:"greeting"`
	Command  float64 `json:"command"`
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func (t Timeouts) connect() time.Duration {
	if t.Connect <= 0 {
		return family.DefaultAlarm
	}
	return seconds(t.Connect)
}

func (s Spec) config(host string) session.Config {
	return session.Config{
		Host:  host,
		EHLO:  s.EHLOName,
		Roots: s.roots,
		Timeouts: session.Timeouts{
			TLS:      seconds(s.Timeouts.TLS),
			Greeting: seconds(s.Timeouts.Greeting),
			Command:  seconds(s.Timeouts.Command),
		},
	}
}

// Row is what is known of one line of the list.
type Row struct {
	Server
	State  State  `json:"state"`
	Local  bool   `json:"local"`  // set aside: on this machine or in a home
	Repeat int    `json:"repeat"` // the line that names the same server before, or 0
	Detail string `json:"detail"` // why it wasn't tried, or what the name server said
	Steps  []Step `json:"steps"`  // as tried: IPv6 587, IPv4 587, IPv6 25, IPv4 25, 465
	// Words says whether it offers submission as RFC 6409 asks: "yes, because
	// …", "no, because …" or "not known, because …".
	Words   string  `json:"words"`
	Seconds float64 `json:"seconds"`
}

// run is a diagnosis under way.
type run struct {
	id     string
	spec   Spec
	events *event.Stream
	slots  chan struct{}

	mu         sync.Mutex
	rows       []Row
	complaints []string
	changed    []int // rows that are to be told
	flushing   bool  // soon
}

// Run tries every server of the list and returns when all rows are done or
// cancelled, which ctx's end makes of those that aren't done. Each change is an
// event with the id; the last one says that it is finished.
func Run(ctx context.Context, id string, spec Spec, events *event.Stream) {
	r := &run{id: id, spec: spec, events: events, slots: make(chan struct{}, maxOpen)}
	r.guard("diagnosis", func() { r.all(ctx) })
	r.guard("end of a diagnosis", func() { r.flush(true) })
}

// all tries every server of the list.
func (r *run) all(ctx context.Context) {
	r.spec.roots = session.Roots(r.spec.TrustFiles)
	var servers []Server
	servers, r.complaints = Parse(r.spec.Lines)
	first := map[string]int{} // by key, the line
	for _, s := range servers {
		row := Row{Server: s, State: Waiting, Local: s.local(), Steps: []Step{}}
		if line, ok := first[s.key()]; ok {
			row.State, row.Repeat = Done, line
			row.Detail = fmt.Sprintf("the same server as on line %d", line)
		} else {
			first[s.key()] = s.Line
		}
		if s.untried() && row.Repeat == 0 {
			row.State, row.Detail = Done, fmt.Sprintf("not tried from here: %s is what %s calls so", s.Host, s.Gate)
		}
		row.Words = words(row)
		r.changed = append(r.changed, len(r.rows))
		r.rows = append(r.rows, row)
	}
	r.flush(false)

	var all sync.WaitGroup
	for i := range r.rows {
		if r.rows[i].State == Waiting {
			all.Go(func() {
				where := "diagnosis of " + r.rows[i].Host
				r.guard(where, func() { r.server(ctx, i) })
				r.guard(where, func() { r.change(i, func(row *Row) { row.finish(ctx) }) })
			})
		}
	}
	all.Wait()
}

// server tries all steps of the server in row i, side by side.
func (r *run) server(ctx context.Context, i int) {
	if !r.enter(ctx) {
		return
	}
	start := time.Now()
	server := r.rows[i].Server // which nobody changes
	r.change(i, func(row *Row) { row.State = Trying })
	all, err := family.Resolve(ctx, server.Host)
	r.leave()
	if err != nil {
		r.change(i, func(row *Row) { row.Detail, row.Seconds = err.Error(), time.Since(start).Seconds() })
		return
	}
	here := all.Here()
	steps := plan(all, here)
	r.change(i, func(row *Row) {
		row.Steps = slices.Clone(steps)
		row.Local = row.Local || server.Way != SSH && localAddresses(all)
	})
	var tries sync.WaitGroup
	for j, step := range steps {
		if step.State != Waiting {
			continue
		}
		tries.Go(func() {
			r.guard(fmt.Sprintf("diagnosis of %s, %s %d", server.Host, step.Family, step.Port), func() {
				if !r.enter(ctx) {
					return
				}
				step.try(ctx, here.Of(string(step.Family)), server, r.spec)
				r.leave()
				r.change(i, func(row *Row) { row.Steps[j], row.Seconds = step, time.Since(start).Seconds() })
			})
		})
	}
	tries.Wait()
}

// plan returns the steps to try, those that can't be tried with the reason.
func plan(all, here family.Addresses) []Step {
	sequence, _ := fallback.Named("symmetric")
	var steps []Step
	for _, s := range append(slices.Clone(sequence), fallback.Explicit(fallback.Submissions)...) {
		step := Step{Family: s.Family, Port: s.Port, State: Waiting}
		switch fam := string(s.Family); {
		case len(all.Of(fam)) == 0:
			step.State, step.Detail = Skipped, "the server has no "+title(s.Family)+" address"
		case len(here.Of(fam)) == 0:
			step.State, step.Detail = Skipped, "this machine has no "+title(s.Family)+" address now"
		}
		steps = append(steps, step)
	}
	return steps
}

func title(f fallback.Family) string {
	switch f {
	case fallback.IPv4:
		return "IPv4"
	case fallback.IPv6:
		return "IPv6"
	}
	return "usable"
}

// finish ends a row: what has no end yet was cancelled.
func (row *Row) finish(ctx context.Context) {
	row.State = Done
	for i := range row.Steps {
		if s := &row.Steps[i]; s.State == Waiting {
			s.State = Cancelled
		}
	}
	cancelled := func(s Step) bool { return s.State == Cancelled }
	if slices.ContainsFunc(row.Steps, cancelled) || len(row.Steps) == 0 && ctx.Err() != nil {
		row.State, row.Detail = Cancelled, "cancelled"
	}
}

// change changes row i and tells of it soon.
func (r *run) change(i int, f func(*Row)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	row := &r.rows[i]
	f(row)
	row.Words = words(*row)
	if !slices.Contains(r.changed, i) {
		r.changed = append(r.changed, i)
	}
	if !r.flushing {
		r.flushing = true
		time.AfterFunc(flushAfter, func() {
			r.guard("rows of a diagnosis", func() { r.flush(false) })
		})
	}
}

// flush tells of the rows that have changed, and whether that was all; nothing
// is told after that.
func (r *run) flush(finished bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flushing = false
	if len(r.changed) == 0 && !finished {
		return
	}
	e := event.Diagnosis{ID: r.id, Summary: Sum(r.rows), Complaints: r.complaints}
	for {
		n := min(maxRows, len(r.changed))
		rows := make([]Row, n)
		for j, i := range r.changed[:n] {
			rows[j] = r.rows[i]
			rows[j].Steps = slices.Clone(rows[j].Steps)
		}
		r.changed = r.changed[n:]
		e.Rows, e.Finished = rows, finished && len(r.changed) == 0
		r.events.Send(e)
		if len(r.changed) == 0 {
			return
		}
	}
}

// enter waits for a free slot; false: ctx has ended.
func (r *run) enter(ctx context.Context) bool {
	select {
	case r.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *run) leave() { <-r.slots }

// guard runs f and tells Emacs if it panics.
func (r *run) guard(where string, f func()) {
	defer func() {
		if p := recover(); p != nil {
			r.events.Send(event.Bug{Text: fmt.Sprintf("%s: %v\n%s", where, p, debug.Stack())})
		}
	}()
	f()
}
