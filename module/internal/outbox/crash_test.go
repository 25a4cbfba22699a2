// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A life is a message's way from Add through some stages, each of a few steps
// on the disk. These tests stop a life at every step, by the end of the
// process and by a loss of power.
type stage struct {
	name string
	act  func(e *Entry) error
	// What the next owner may find if the stage was cut short, and after it
	// was done: the status after Claim, or "" for no message.
	during, after []string
}

func lives() map[string][]stage {
	move := func(to Status, during, after []string) stage {
		return stage{"to " + string(to), func(e *Entry) error { return e.Move(to, nil) }, during, after}
	}
	in := func(status ...string) []string { return status }
	sending := move(Sending, in("queued"), in("queued"))
	dot := stage{"dot", (*Entry).MarkDot, in("queued", "uncertain"), in("uncertain")}
	dotLater := stage{"dot", (*Entry).MarkDot, in("deferred", "queued", "uncertain"), in("uncertain")}
	data := stage{"data", (*Entry).MarkData, in("queued"), in("queued")}
	update := func(status string) stage {
		act := func(e *Entry) error { return e.Update(func(s *State) { s.Tries++ }) }
		return stage{"update", act, in(status), in(status)}
	}
	took := stage{"to accepted with a reply", func(e *Entry) error {
		return e.Move(Accepted, func(s *State) { s.Receipt.Reply = "250 ok" })
	}, in("uncertain", "accepted"), in("uncertain", "accepted")}
	later := stage{"to deferred with a reply", func(e *Entry) error {
		return e.Move(Deferred, func(s *State) { s.Detail = "no answer" })
	}, in("queued", "deferred"), in("deferred")}
	again := move(Sending, in("deferred", "queued"), in("deferred", "queued"))
	anew := stage{"to sending with a word", func(e *Entry) error {
		return e.Move(Sending, func(s *State) { s.Detail = "once more" })
	}, in("deferred", "queued"), in("queued")}
	sync := stage{"sync", func(e *Entry) error { return e.box.Sync() }, in("uncertain", "accepted"), in("accepted")}
	remove := func(status string) stage {
		return stage{"remove", (*Entry).Remove, in(status, ""), in(status, "")}
	}
	return map[string][]stage{
		"accepted": {sending, data, dot,
			move(Accepted, in("uncertain", "accepted"), in("uncertain", "accepted")), sync,
			update("accepted"), remove("accepted")},
		"accepted and removed at once": {sending, dot, update("uncertain"), took,
			{"remove", (*Entry).Remove, in("uncertain", "accepted", ""), in("uncertain", "accepted", "")}},
		"deferred": {update("queued"), sending, update("queued"),
			move(Deferred, in("queued", "deferred"), in("deferred")),
			move(Queued, in("deferred", "queued"), in("queued")), sending},
		// A mark that nobody finds would double the mail: the file that it is in
		// has to be there under its name.
		"deferred and tried again":     {sending, later, again, dotLater, took, sync, remove("accepted")},
		"tried again in another state": {sending, later, anew, dot, took, sync, remove("accepted")},
		"refused": {sending, dot,
			move(Refused, in("uncertain", "refused"), in("refused")),
			move(Cancelled, in("refused", "cancelled"), in("cancelled")), remove("cancelled")},
	}
}

// lifeTexts are the messages that are sent: the ways through Add.
func lifeTexts() map[string]string {
	return map[string]string{"": sample, " with Bcc": "Bcc: x@example.org\n" + sample, withDraft: sample}
}

const withDraft = " with a draft"

// lifeDraft gives a draft of one of lifeTexts.
func lifeDraft(t *testing.T, b *Box, what, text string) Draft {
	t.Helper()
	d := draftOf(t, b, text)
	if what == withDraft {
		d.Keep = draftOf(t, b, "as it was typed").File
	}
	return d
}

// TestCrash: whatever the moment, the message is there as the stage says.
func TestCrash(t *testing.T) {
	for name, stages := range lives() {
		for what, text := range lifeTexts() {
			t.Run(name+what, func(t *testing.T) {
				b := open(t)
				d := lifeDraft(t, b, what, text)
				m := follow(t, b)
				m.stage, m.allowed = "add", []string{"", "queued"}
				e, err := b.Add(d)
				must(t, err)
				defer e.Release()
				m.stage, m.allowed = "after add", []string{"queued"}
				m.look()
				for _, s := range stages {
					m.stage, m.allowed = s.name, s.during
					must(t, s.act(e))
					m.stage, m.allowed = "after "+s.name, s.after
					m.look()
				}
				if len(m.seen) < 10 {
					t.Errorf("only %d crashes", len(m.seen))
				}
			})
		}
	}
}

// node is the content of one file.
type node struct {
	now    string // what programs see
	synced string // what is surely on the disk
	whole  bool   // it was on disk, and its first sector alone has changed since
}

// change is a change of names: a file appears (to), goes (from), or moves.
type change struct {
	from, to string
	node     *node
}

// model follows the steps of a Box and tries out what may be left at each.
type model struct {
	t       *testing.T
	box     *Box
	names   map[string]*node // what programs see
	durable map[string]*node // as of the last sync of the directory
	pending []change         // since then
	last    *step            // begun, and done when the next begins
	stage   string
	allowed []string
	seen    map[string]bool // what was tried, so that nothing is tried twice
}

// follow begins with drafts that Emacs has written and not synced.
func follow(t *testing.T, b *Box) *model {
	m := &model{t: t, box: b, names: map[string]*node{}, seen: map[string]bool{}}
	for _, name := range names(t, b) {
		m.change(change{"", name, &node{now: m.read(name)}})
	}
	b.disk.before = func(s step) error {
		m.look()
		m.last = &s
		return nil
	}
	return m
}

func (m *model) read(name string) string {
	text, err := os.ReadFile(m.box.disk.path(name))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

func (m *model) change(c change) {
	c.apply(m.names)
	m.pending = append(m.pending, c)
}

func (c change) apply(names map[string]*node) {
	delete(names, c.from)
	if c.to != "" {
		names[c.to] = c.node
	}
}

// done follows the last step.
func (m *model) done() {
	if m.last == nil {
		return
	}
	s, n := *m.last, m.names[m.last.name]
	m.last = nil
	switch s.op {
	case "create":
		if n != nil {
			n.now = ""
		} else {
			m.change(change{"", s.name, &node{}})
		}
	case "write":
		n.now = m.read(s.name)
	case "overwrite":
		n.whole = n.whole || n.synced == n.now
		n.now = m.read(s.name)
	case "sync":
		n.synced, n.whole = n.now, false
	case "rename":
		m.change(change{s.name, s.to, n})
	case "remove":
		if n != nil {
			m.change(change{s.name, "", nil})
		}
	case "syncdir":
		m.durable, m.pending = maps.Clone(m.names), nil
	default:
		m.t.Fatalf("step %v", s)
	}
}

// look tries out a crash at this moment: every selection of the changes of
// names since the directory was synced, with files as they were synced, as
// they were written, and half of that.
func (m *model) look() {
	m.done()
	for chosen := range 1 << len(m.pending) {
		image := maps.Clone(m.durable)
		if image == nil {
			image = map[string]*node{}
		}
		for i, c := range m.pending {
			if chosen>>i&1 == 1 {
				c.apply(image)
			}
		}
		// A file system that keeps the order loses only the latest changes.
		ordered := chosen&(chosen+1) == 0
		for _, content := range []func(*node) string{
			func(n *node) string { return n.synced },
			func(n *node) string { return n.now },
			func(n *node) string {
				if n.synced == n.now || n.whole {
					return n.now
				}
				return n.now[:len(n.now)/2]
			},
		} {
			files := map[string]string{}
			for name, n := range image {
				files[name] = content(n)
			}
			m.try(files, ordered)
		}
	}
}

// try makes an outbox of the files and sees what the next Emacs finds there.
func (m *model) try(files map[string]string, ordered bool) {
	key := fmt.Sprint(m.allowed, ordered, files)
	if m.seen[key] {
		return
	}
	m.seen[key] = true
	dir := filepath.Join(m.t.TempDir(), "outbox")
	must(m.t, os.Mkdir(dir, 0o700))
	for name, content := range files {
		must(m.t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	complain := func(format string, arguments ...any) {
		m.t.Helper()
		m.t.Errorf("%s: "+format+"; files %q", append(append([]any{m.stage}, arguments...), slices.Sorted(maps.Keys(files)))...)
	}
	b := openIn(m.t, dir)
	status, err := survivor(b)
	switch {
	case err == nil && !slices.Contains(m.allowed, status):
		complain("found %q", status)
	case err == nil:
	case ordered || strings.HasPrefix(m.stage, "after") && m.stage != "after remove":
		complain("%v", err)
	case !errors.Is(err, ErrNoState) && !errors.Is(err, ErrNoMessage):
		// With its names in disorder the message may be in pieces, and that
		// is told; anything else is still wrong.
		complain("%v", err)
	}
	if err == nil && status == "" {
		b.now = func() time.Time { return time.Now().Add(staleAge + time.Hour) }
		b.sweep()
		if left := names(m.t, b); len(left) > 0 {
			complain("not swept: %q", left)
		}
	}
}

// survivor claims the message in an outbox and returns its status, or "" if
// there is none. All that is not done with must still have its bytes.
func survivor(b *Box) (string, error) {
	states, problems := b.List()
	if len(problems) > 0 {
		return "", errors.Join(problems...)
	}
	if len(states) == 0 {
		return "", nil
	}
	e, err := b.Claim(states[0].ID)
	if err != nil {
		return "", err
	}
	defer e.Release()
	status := e.State().Status
	if len(states) > 1 {
		return "", fmt.Errorf("%d messages", len(states))
	}
	if !status.Final() {
		text, err := os.ReadFile(b.disk.path(messageName(e.ID())))
		if err != nil || string(text) != sample {
			return "", fmt.Errorf("%s with the bytes %q, %v", status, text, err)
		}
	}
	return string(status), nil
}
