// SPDX-License-Identifier: GPL-3.0-or-later

package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"submission/test/smtpd"
)

// Tally is what became of the messages. A message to two people counts twice.
type Tally struct {
	Kills     int // of Emacsen
	Submitted int // the sending command returned
	Begun     int // Emacs was killed within the sending command
	Delivered int // the server has it
	Uncertain int // it is uncertain, delivered or not
	Arrived   int // of those, the server has so many
	Sessions  int // connections
	// Found counts in which status the messages were that were found in the
	// outbox when an Emacs had ended; "sending." is one whose dot was marked.
	// What is uncertain stays, and counts once.
	Found map[string]int
	Wrong []string // each promise that was broken
}

// String gives the tally in three lines.
func (t Tally) String() string {
	var found []string
	for _, status := range slices.Sorted(maps.Keys(t.Found)) {
		found = append(found, fmt.Sprintf("%d %s", t.Found[status], status))
	}
	return fmt.Sprintf("%d kills; %d submitted, %d cut off in the command\n%d delivered over %d connections, %d uncertain (%d of them delivered); wrong: %d\nfound in the outbox in between: %s",
		t.Kills, t.Submitted, t.Begun, t.Delivered, t.Sessions, t.Uncertain, t.Arrived, len(t.Wrong), strings.Join(found, ", "))
}

func (w *world) wrong(format string, args ...any) {
	w.tally.Wrong = append(w.tally.Wrong, fmt.Sprintf(format, args...))
}

// parcel is a message for one recipient.
type parcel struct{ id, to string }

// parcels reads a file of crash.el's notes. Its last line may be cut.
func (w *world) parcels(file string) (map[parcel]bool, error) {
	text, err := os.ReadFile(filepath.Join(w.Dir, file))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	list := make(map[parcel]bool)
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if !strings.HasSuffix(line, "\n") || len(words) < 2 {
			continue
		}
		for _, to := range words[1:] {
			list[parcel{words[0], to}] = true
		}
	}
	return list, nil
}

// state is the part of a state file that matters here.
type state struct {
	Status    string `json:"status"`
	MessageID string `json:"message-id"`
	Dot       bool   `json:"dot"`
	Envelope  struct {
		To []string `json:"to"`
	} `json:"envelope"`
}

func (s state) parcels() []parcel {
	var list []parcel
	for _, to := range s.Envelope.To {
		list = append(list, parcel{s.MessageID, to})
	}
	return list
}

// outbox reads the states in the outbox. One that can't be read, or that has no
// message, is wrong.
func (w *world) outbox() ([]state, error) {
	files, err := filepath.Glob(filepath.Join(w.Dir, "outbox", "[^.]*.json"))
	if err != nil {
		return nil, err
	}
	var list []state
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var s state
		if err := json.Unmarshal(text, &s); err != nil {
			w.wrong("%s is damaged: %v", file, err)
			continue
		}
		base := strings.TrimSuffix(file, ".json")
		final := s.Status == "accepted" || s.Status == "cancelled"
		if !final && !exists(base+".eml") && !exists(filepath.Join(filepath.Dir(base), "."+filepath.Base(base)+".eml")) {
			w.wrong("%s has no message", file)
		}
		list = append(list, s)
	}
	return list, nil
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}

// delivered counts what the server has, by message and recipient.
func (w *world) delivered() map[parcel]int {
	list := make(map[parcel]int)
	for _, s := range w.server.Sessions() {
		for _, m := range s.Messages {
			if no := strings.HasPrefix(m.Reply, "4") || strings.HasPrefix(m.Reply, "5"); !m.Complete || no {
				continue
			}
			id := "(a message that can't be read)"
			if parsed, err := mail.ReadMessage(bytes.NewReader(m.Data)); err == nil {
				id = parsed.Header.Get("Message-ID")
			}
			for _, to := range m.To {
				list[parcel{id, to.Address}]++
			}
		}
	}
	return list
}

// look sees what an Emacs has left, once the server is through with it.
func (w *world) look(ctx context.Context) error {
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	sessions, err := w.server.Wait(limit, func(list []smtpd.Session) bool {
		return !slices.ContainsFunc(list, func(s smtpd.Session) bool { return s.End == "" })
	})
	if err != nil {
		return err
	}
	w.tally.Sessions = len(sessions)
	states, err := w.outbox()
	if err != nil {
		return err
	}
	delivered := w.delivered()
	for _, s := range states {
		status := s.Status
		if s.Dot {
			status += "."
		}
		news := s.Status != "uncertain"
		for _, p := range s.parcels() {
			if _, known := w.settled[p.id+p.to]; s.Status == "uncertain" && !known {
				w.settled[p.id+p.to] = delivered[p]
				news = true
			}
		}
		if news {
			w.tally.Found[status]++
		}
	}
	return nil
}

// settle has Emacs send what is left to a server that behaves, and counts.
func (w *world) settle(ctx context.Context) error {
	if err := w.server.Update(smtpd.Script{}); err != nil {
		return err
	}
	for i := range 3 {
		if err := w.emacs(ctx, fmt.Sprintf("%d-end-%d", w.Seed, i), 0, nil); err != nil {
			return err
		}
	}
	if err := w.look(ctx); err != nil {
		return err
	}
	submitted, err := w.parcels("submitted")
	if err != nil {
		return err
	}
	begun, err := w.parcels("begun")
	if err != nil {
		return err
	}
	states, err := w.outbox()
	if err != nil {
		return err
	}
	w.judge(submitted, begun, states, w.delivered())
	return nil
}

// judge holds what was sent against what came.
func (w *world) judge(submitted, begun map[parcel]bool, states []state, delivered map[parcel]int) {
	t := &w.tally
	t.Submitted, t.Begun = len(submitted), len(begun)-len(submitted)
	uncertain := make(map[parcel]bool)
	for _, s := range states {
		if s.Status != "uncertain" {
			w.wrong("%s is still %s", s.MessageID, s.Status)
		}
		for _, p := range s.parcels() {
			t.Uncertain++
			uncertain[p] = true
			t.Arrived += delivered[p]
			if was, known := w.settled[p.id+p.to]; !known || was != delivered[p] {
				w.wrong("%s to %s was uncertain and was sent again", p.id, p.to)
			}
		}
	}
	for p, n := range delivered {
		t.Delivered++
		if n > 1 {
			w.wrong("%s to %s was delivered %d times", p.id, p.to, n)
		}
		if !begun[p] {
			w.wrong("%s to %s was delivered and never sent", p.id, p.to)
		}
	}
	for p := range submitted {
		if delivered[p] == 0 && !uncertain[p] {
			w.wrong("%s to %s is lost", p.id, p.to)
		}
	}
	slices.Sort(t.Wrong)
}
