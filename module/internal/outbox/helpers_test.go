// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const sample = "From: a@example.org\nTo: b@example.org\nMessage-ID: <1@example.org>\nSubject: hello\n\nbody\n"

// open opens an outbox in a fresh directory.
func open(t *testing.T) *Box {
	t.Helper()
	return openIn(t, filepath.Join(t.TempDir(), "outbox"))
}

func openIn(t *testing.T, dir string) *Box {
	t.Helper()
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// draftOf gives a draft whose bytes lie in a temporary file in the outbox.
func draftOf(t *testing.T, b *Box, text string) Draft {
	t.Helper()
	file, err := os.CreateTemp(b.disk.dir, DraftPrefix)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return Draft{
		File:     file.Name(),
		Envelope: Envelope{From: "a@example.org", To: []string{"b@example.org", "c@example.org"}},
		Settings: json.RawMessage(`{"host":"mail.example.org"}`),
	}
}

// add adds a message with the given bytes, and lets go of it when the test is over.
func add(t *testing.T, b *Box, text string) *Entry {
	t.Helper()
	e, err := b.Add(draftOf(t, b, text))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Release)
	return e
}

func claim(t *testing.T, b *Box, id string) *Entry {
	t.Helper()
	e, err := b.Claim(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Release)
	return e
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// path takes a message by the shortest way from Queued to a status.
func advance(t *testing.T, e *Entry, to Status) {
	t.Helper()
	way := map[Status][]Status{
		Queued:    {},
		Sending:   {Sending},
		Deferred:  {Deferred},
		Held:      {Held},
		Refused:   {Sending, Refused},
		Uncertain: {Sending, Uncertain},
		Accepted:  {Sending, Accepted},
		Cancelled: {Cancelled},
	}[to]
	for _, status := range way {
		must(t, e.Move(status, nil))
	}
}

// names gives the names of all files in the outbox.
func names(t *testing.T, b *Box) []string {
	t.Helper()
	all, err := b.names()
	if err != nil {
		t.Fatal(err)
	}
	list := slices.Sorted(maps.Keys(all))
	// The file that locks are names of is there as long as there is a lock.
	if isLock := func(name string) bool { return strings.HasSuffix(name, lockSuffix) }; slices.ContainsFunc(list, isLock) {
		list = slices.DeleteFunc(list, func(name string) bool { return strings.HasPrefix(name, ownerPrefix) })
	}
	return list
}

// bytesOf gives a message's bytes.
func bytesOf(t *testing.T, e *Entry) string {
	t.Helper()
	file, err := e.Message()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// onDisk gives the state of a message as it is in its file.
func onDisk(t *testing.T, b *Box, id string) State {
	t.Helper()
	s, err := b.read(id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rewrite changes the text of a file, as a person would.
func rewrite(t *testing.T, file string, edit func(string) string) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte(edit(string(text))), 0o600))
}
