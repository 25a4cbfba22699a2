// SPDX-License-Identifier: GPL-3.0-or-later

package fallback

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// keep is how long a lesson holds, counted from when it was learned; use does
// not extend it.
const keep = 24 * time.Hour

// memoryLimit bounds the file that is read, in bytes. What we write is far
// smaller.
const memoryLimit = 1 << 20

// memoryVersion is the version of the file.
const memoryVersion = 1

// Memory is what was learned about servers, in a file that several processes
// may share: each reads it afresh and replaces it as a whole, so it is never
// seen half-written. If two write at the same moment, one lesson is lost, which
// costs one message a few seconds. A file that can't be understood is an empty
// memory.
type Memory struct {
	File string
	mu   sync.Mutex // one writer within this process
}

// memoryFile is the file's JSON.
type memoryFile struct {
	Version int      `json:"version"`
	Lessons []lesson `json:"lessons"`
}

// lesson is a step that worked. Network is where, in the words of the caller,
// and "" for a lesson that holds for the server anywhere.
type lesson struct {
	Host     string    `json:"host"`
	Network  string    `json:"network"`
	Sequence []Step    `json:"sequence"` // of which Step was the one to work
	Step     Step      `json:"step"`
	Learned  time.Time `json:"learned"`
}

func (l lesson) about(host, network string, steps []Step) bool {
	return l.Host == host && (l.Network == "" || l.Network == network) && slices.Equal(l.Sequence, steps)
}

// holds reports whether a lesson is in force. One from the future is not: the
// clock was wrong then, or is now.
func (l lesson) holds(now time.Time) bool {
	age := now.Sub(l.Learned)
	return age >= 0 && age < keep
}

// Recall returns the step that the next message to host should start with, or
// nil. Network names the network one is on; with "", nobody knows which, only
// what holds anywhere is recalled. Steps is the sequence as it would be tried.
// An error is no reason not to send: the memory is then empty.
func (m *Memory) Recall(host, network string, steps []Step, now time.Time) (*Step, error) {
	lessons, err := m.read()
	var latest *lesson
	for i, l := range lessons {
		if l.about(host, network, steps) && l.holds(now) && (latest == nil || l.Learned.After(latest.Learned)) {
			latest = &lessons[i]
		}
	}
	if latest == nil || !slices.Contains(steps, latest.Step) {
		return nil, err
	}
	return &latest.Step, err
}

// Remember puts down what Learn has returned about host on network, tried with
// steps. A lesson that holds only on a network is dropped where the network is
// not known. What is out of date goes at the same time.
func (m *Memory) Remember(host, network string, steps []Step, learned Lesson, now time.Time) error {
	if !learned.Forget && learned.Scope == Nowhere || learned.Scope == OnNetwork && network == "" {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	before, err := m.read()
	if err != nil {
		before = nil // it will be whole again
	}
	lessons := slices.DeleteFunc(slices.Clone(before), func(l lesson) bool {
		return !l.holds(now) || l.about(host, network, steps)
	})
	if !learned.Forget {
		l := lesson{Host: host, Sequence: steps, Step: learned.Step, Learned: now.UTC().Truncate(time.Second)}
		if learned.Scope == OnNetwork {
			l.Network = network
		}
		lessons = append(lessons, l)
	}
	if err == nil && len(lessons) == len(before) && learned.Forget {
		return nil // the common case: there is nothing to forget
	}
	return m.write(lessons)
}

// Forget removes everything.
func (m *Memory) Forget() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := os.Remove(m.File); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (m *Memory) read() ([]lesson, error) {
	info, err := os.Stat(m.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("remembered fallbacks: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > memoryLimit {
		return nil, fmt.Errorf("remembered fallbacks: %s is not ours", m.File)
	}
	text, err := os.ReadFile(m.File)
	if err != nil {
		return nil, fmt.Errorf("remembered fallbacks: %w", err)
	}
	lessons, err := parseMemory(text)
	if err != nil {
		return nil, fmt.Errorf("remembered fallbacks: %s is damaged and is passed over: %w", m.File, err)
	}
	return lessons, nil
}

// parseMemory reads the content of a memory file. It believes nothing: a
// lesson that could not have been learned makes the whole file a damaged one.
func parseMemory(text []byte) ([]lesson, error) {
	var f memoryFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, err
	}
	if f.Version != memoryVersion {
		return nil, fmt.Errorf("version %d, not %d", f.Version, memoryVersion)
	}
	for _, l := range f.Lessons {
		if l.Host == "" || l.Learned.IsZero() || !slices.Contains(l.Sequence, l.Step) || l.Step.Port < 1 || l.Step.Port > 65535 {
			return nil, errors.New("a lesson without a sense")
		}
	}
	return f.Lessons, nil
}

// write replaces the file. It is not synced: a memory that a crash takes away
// is learned again.
func (m *Memory) write(lessons []lesson) error {
	text, err := json.MarshalIndent(memoryFile{memoryVersion, lessons}, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.File), 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(m.File), ".fallbacks-")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(append(text, '\n'))
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), m.File)
}
