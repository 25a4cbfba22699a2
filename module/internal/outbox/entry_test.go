// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"testing"
	"time"
)

// TestMoveOnDisk: every move of the table, and no other, is made and on disk;
// with it goes what belonged to the status before.
func TestMoveOnDisk(t *testing.T) {
	for _, from := range Statuses() {
		for _, to := range Statuses() {
			t.Run(string(from)+" "+string(to), func(t *testing.T) {
				b := open(t)
				e := add(t, b, sample)
				advance(t, e, from)
				soon := time.Date(2026, 11, 21, 22, 15, 0, 0, time.UTC)
				must(t, e.Update(func(s *State) { s.Reason, s.Detail, s.NextTry = ReasonUser, "because", &soon }))
				before := e.State()
				err := e.Move(to, func(s *State) {
					if s.NextTry != nil || to != Sending && (s.Reason != NoReason || s.Detail != "") {
						t.Errorf("what is left of %s: %+v", from, s)
					}
					s.Tries++
				})
				after := e.State()
				if from.CanMove(to, false) {
					if err != nil || after.Status != to || after.Tries != before.Tries+1 || after.Rev != before.Rev+1 {
						t.Errorf("%+v, %v", after, err)
					}
				} else if !errors.Is(err, ErrMove) || !reflect.DeepEqual(after, before) {
					t.Errorf("%+v, %v", after, err)
				}
				sameOnDisk(t, b, e)
			})
		}
	}
}

// sameOnDisk holds the state in memory against the one on disk.
func sameOnDisk(t *testing.T, b *Box, e *Entry) {
	t.Helper()
	disk, memory := onDisk(t, b, e.ID()), e.State()
	disk.Settings, memory.Settings = json.RawMessage(compact(t, disk.Settings)), json.RawMessage(compact(t, memory.Settings))
	if !reflect.DeepEqual(disk, memory) {
		t.Errorf("on disk   %+v\nin memory %+v", disk, memory)
	}
}

// TestChangeLimits: what is not for change to set stays, and the State that is
// handed out shares nothing with the entry.
func TestChangeLimits(t *testing.T) {
	b := open(t)
	e := add(t, b, sample)
	before := e.State()
	spoil := func(s *State) {
		s.Version, s.ID, s.Rev, s.Status, s.Dot = 7, "../x", 99, "sent", true
		s.Envelope.To = s.Envelope.To[1:]
	}
	must(t, e.Update(spoil))
	want := before
	want.Rev, want.Envelope.To = 2, before.Envelope.To[1:]
	if got := e.State(); !reflect.DeepEqual(got, want) {
		t.Errorf("after Update: %+v", got)
	}
	must(t, e.Move(Sending, spoil))
	want.Rev, want.Status, want.Envelope.To = 3, Sending, []string{}
	if got := e.State(); !reflect.DeepEqual(got, want) {
		t.Errorf("after Move: %+v", got)
	}
	sameOnDisk(t, b, e)
	must(t, e.Update(func(s *State) { s.Receipt.Accepted = append(s.Receipt.Accepted, "a") }))
	e.State().Receipt.Accepted[0] = "b"
	if got := e.State().Receipt.Accepted[0]; got != "a" {
		t.Error("the state handed out is the entry's own")
	}
	// What can't be written changes nothing.
	before = e.State()
	for name, err := range map[string]error{
		"update": e.Update(func(s *State) { s.Envelope.From = "\n" }),
		"move":   e.Move(Held, func(s *State) { s.Reason = "weather" }),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := e.State(); !reflect.DeepEqual(got, before) {
		t.Errorf("after errors: %+v", got)
	}
	sameOnDisk(t, b, e)
}

// TestMarkDot: the mark is there only while sending, and from then on only a
// reply or a person decides.
func TestMarkDot(t *testing.T) {
	b := open(t)
	for _, status := range Statuses() {
		e := add(t, b, sample)
		advance(t, e, status)
		err := e.MarkDot()
		if status != Sending {
			if !errors.Is(err, ErrMove) || e.State().Dot {
				t.Errorf("%s: %v", status, err)
			}
			continue
		}
		if err != nil || !e.State().Dot || !onDisk(t, b, e.ID()).Dot {
			t.Fatalf("%s: %v, %+v", status, err, e.State())
		}
		for _, to := range []Status{Queued, Cancelled} {
			if err := e.Move(to, nil); !errors.Is(err, ErrMove) {
				t.Errorf("to %s after the dot: %v", to, err)
			}
		}
		must(t, e.Move(Deferred, nil))
		if e.State().Dot || onDisk(t, b, e.ID()).Dot {
			t.Error("deferred with a dot")
		}
	}
}

// Passed takes the doubt away, and a crash after it means another try for those
// who are left.
func TestPassed(t *testing.T) {
	box := open(t)
	e := add(t, box, sample)
	change := func(s *State) {
		s.Envelope.To, s.Receipt.Accepted = []string{"left@example.org"}, []string{"bob@example.org"}
	}
	if err := e.Passed(change); !errors.Is(err, ErrMove) {
		t.Errorf("while queued: %v", err)
	}
	for _, err := range []error{e.Move(Sending, nil), e.MarkDot(), e.Passed(change)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	id := e.ID()
	e.Release()
	e, err := box.Claim(id)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Release()
	if s := e.State(); s.Status != Queued || s.Dot || fmt.Sprint(s.Envelope.To) != "[left@example.org]" ||
		fmt.Sprint(s.Receipt.Accepted) != "[bob@example.org]" {
		t.Errorf("%+v", s)
	}
}

func TestClaim(t *testing.T) {
	for _, status := range Statuses() {
		t.Run(string(status), func(t *testing.T) {
			b := open(t)
			e := add(t, b, sample)
			advance(t, e, status)
			e.Release()
			want := status
			if status == Sending {
				want = Queued
			}
			got := claim(t, b, e.ID())
			if s := got.State(); s.Status != want {
				t.Errorf("%s", s.Status)
			}
			sameOnDisk(t, b, got)
			if text := bytesOf(t, got); text != sample {
				t.Errorf("%q", text)
			}
		})
	}
	t.Run("sending, dot marked", func(t *testing.T) {
		b := open(t)
		e := add(t, b, sample)
		advance(t, e, Sending)
		must(t, e.MarkDot())
		e.Release()
		got := claim(t, b, e.ID())
		if s := got.State(); s.Status != Uncertain || s.Dot {
			t.Errorf("%+v", s)
		}
		sameOnDisk(t, b, got)
	})
}

// TestClaimHalfAdded: Add died before its last rename, and no Open came since.
func TestClaimHalfAdded(t *testing.T) {
	b := open(t)
	e := add(t, b, sample)
	e.Release()
	must(t, b.disk.rename(messageName(e.ID()), newMessageName(e.ID())))
	if states, problems := b.List(); len(states) != 1 || len(problems) != 0 {
		t.Errorf("%+v, %v", states, problems)
	}
	if got := bytesOf(t, claim(t, b, e.ID())); got != sample {
		t.Errorf("%q", got)
	}
}

func TestRemove(t *testing.T) {
	for _, status := range Statuses() {
		t.Run(string(status), func(t *testing.T) {
			b := open(t)
			e := add(t, b, sample)
			advance(t, e, status)
			err := e.Remove()
			if !status.Final() {
				if !errors.Is(err, ErrMove) || bytesOf(t, e) != sample {
					t.Errorf("%v", err)
				}
				sameOnDisk(t, b, e)
				return
			}
			if err != nil || len(names(t, b)) != 0 {
				t.Errorf("%v, %q", err, names(t, b))
			}
			if _, err := b.Claim(e.ID()); !errors.Is(err, ErrGone) || len(names(t, b)) != 0 {
				t.Errorf("claim: %v, %q", err, names(t, b))
			}
			released(t, e)
		})
	}
}

func TestRelease(t *testing.T) {
	b := open(t)
	e := add(t, b, sample)
	e.Release()
	e.Release()
	if got := names(t, b); len(got) != 2 {
		t.Errorf("%q", got)
	}
	released(t, e)
	again := claim(t, b, e.ID())
	e.Release()
	if _, err := b.Claim(e.ID()); !errors.Is(err, ErrBusy) {
		t.Errorf("the second owner's lock was given back by the first: %v", err)
	}
	again.Release()
}

// released: an entry that was let go of changes nothing any more.
func released(t *testing.T, e *Entry) {
	t.Helper()
	_, err := e.Message()
	for name, err := range map[string]error{
		"message": err,
		"update":  e.Update(func(*State) {}),
		"remove":  e.Remove(),
	} {
		if !errors.Is(err, ErrReleased) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := e.Move(Sending, nil); !errors.Is(err, ErrReleased) && !errors.Is(err, ErrMove) {
		t.Errorf("move: %v", err)
	}
}

// TestBroken: what isn't whole is told by List and Claim, is left as it is, and
// disturbs no other message.
func TestBroken(t *testing.T) {
	newer := []byte(`{"version": 2, "id": "x"}`)
	for name, test := range map[string]struct {
		spoil func(b *Box, id string) error
		want  error
	}{
		"no message":          {func(b *Box, id string) error { return os.Remove(b.disk.path(messageName(id))) }, ErrNoMessage},
		"message a directory": {func(b *Box, id string) error { return swap(b.disk.path(messageName(id))) }, ErrNoMessage},
		"no state":            {func(b *Box, id string) error { return os.Remove(b.disk.path(stateName(id))) }, ErrNoState},
		"state a directory":   {func(b *Box, id string) error { return swap(b.disk.path(stateName(id))) }, ErrDamaged},
		"state empty":         {func(b *Box, id string) error { return os.WriteFile(b.disk.path(stateName(id)), nil, 0o600) }, ErrDamaged},
		"state cut short":     {func(b *Box, id string) error { return os.Truncate(b.disk.path(stateName(id)), 100) }, ErrDamaged},
		"state huge":          {func(b *Box, id string) error { return os.Truncate(b.disk.path(stateName(id)), 1<<40) }, ErrDamaged},
		"state newer":         {func(b *Box, id string) error { return os.WriteFile(b.disk.path(stateName(id)), newer, 0o600) }, ErrNewer},
		"another's state": {func(b *Box, id string) error {
			text, _ := sampleState().encode()
			return os.WriteFile(b.disk.path(stateName(id)), text, 0o600)
		}, ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			good, bad := add(t, b, sample), add(t, b, sample)
			good.Release()
			bad.Release()
			must(t, test.spoil(b, bad.ID()))
			before := names(t, b)
			b = openIn(t, b.disk.dir)
			b.now = func() time.Time { return time.Now().Add(100 * staleAge) }
			b.sweep()
			states, problems := b.List()
			if len(states) != 1 || states[0].ID != good.ID() {
				t.Errorf("states: %+v", states)
			}
			var typed *Error
			if len(problems) != 1 || !errors.Is(problems[0], test.want) || !errors.As(problems[0], &typed) || typed.ID != bad.ID() {
				t.Errorf("problems: %v", problems)
			}
			if _, err := b.Claim(bad.ID()); !errors.Is(err, test.want) {
				t.Errorf("claim: %v", err)
			}
			if after := names(t, b); !reflect.DeepEqual(after, before) {
				t.Errorf("files %q, before %q", after, before)
			}
			claim(t, b, good.ID())
		})
	}
}

// swap puts a directory in the place of a file.
func swap(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }

// TestMessageGone: a message file that goes while the message is owned.
func TestMessageGone(t *testing.T) {
	b := open(t)
	e := add(t, b, sample)
	must(t, os.Remove(b.disk.path(messageName(e.ID()))))
	if _, err := e.Message(); !errors.Is(err, ErrNoMessage) {
		t.Errorf("%v", err)
	}
	must(t, e.Move(Cancelled, nil))
	must(t, e.Remove())
	if _, err := os.Stat(b.disk.path(stateName(e.ID()))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
