// SPDX-License-Identifier: GPL-3.0-or-later

package event

import (
	"fmt"
	"io"
	"runtime/debug"
	"sync"
)

// maxChatter is how many attempts and replies may wait for an Emacs that does
// not read; more are dropped, for they are a log and not the truth.
const maxChatter = 1000

// Stream is a queue of events with one goroutine that writes them.
type Stream struct {
	mu      sync.Mutex
	queue   []Event
	chatter int
	wake    chan struct{} // capacity 1
	closing bool
	done    chan struct{}
}

// NewStream starts a stream that writes to w and closes it at its end. An
// error in writing ends the stream and nothing else: later events are
// dropped.
func NewStream(w io.WriteCloser) *Stream {
	s := &Stream{wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.write(w)
	return s
}

// Send queues an event and returns at once.
func (s *Stream) Send(e Event) {
	s.mu.Lock()
	if !s.closing {
		s.add(e)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// add puts e into the queue, which the caller has locked.
func (s *Stream) add(e Event) {
	switch e := e.(type) {
	case Progress:
		for i, q := range s.queue {
			if p, ok := q.(Progress); ok && p.ID == e.ID {
				s.queue[i] = e
				return
			}
		}
	case Attempt, Reply, Line:
		if s.chatter >= maxChatter {
			return
		}
		s.chatter++
	}
	s.queue = append(s.queue, e)
}

// Close sends the last event and returns when everything was written or the
// writer failed.
func (s *Stream) Close() {
	s.mu.Lock()
	if !s.closing {
		s.queue = append(s.queue, Closed{})
		s.closing = true
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	<-s.done
}

// Guard, deferred at the top of a goroutine, catches a panic and tells Emacs
// of it: a bug of ours must not end Emacs. Where names the goroutine, id the
// message that it works on, "" for none.
func (s *Stream) Guard(where, id string) {
	if r := recover(); r != nil {
		s.Send(Bug{ID: id, Text: fmt.Sprintf("%s: %v\n%s", where, r, debug.Stack())})
	}
}

func (s *Stream) write(w io.WriteCloser) {
	defer close(s.done)
	defer w.Close()
	// A fault in the writer can't be told through the writer. It ends the
	// stream, and Send goes on without an effect.
	defer func() { _ = recover() }()
	for {
		<-s.wake
		s.mu.Lock()
		batch, last := s.queue, s.closing
		s.queue, s.chatter = nil, 0
		s.mu.Unlock()
		for _, e := range batch {
			line, err := encode(e)
			if err != nil {
				line, err = encode(Bug{Text: err.Error()})
			}
			if err == nil {
				_, err = w.Write(line)
			}
			if err != nil {
				s.abandon()
				return
			}
		}
		if last {
			return
		}
	}
}

// abandon drops what waits and what comes, since nobody reads any more.
func (s *Stream) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing, s.queue = true, nil
}
