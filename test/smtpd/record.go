// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Session is what happened on one connection.
type Session struct {
	ID     int    // 1 for the first connection
	Port   string // the Listen's name
	Remote string // the client's address
	Start  time.Time
	Stop   time.Time // zero while it lasts
	// End tells how it ended: "quit" (the client said QUIT), "client" (it
	// closed), "client-reset", "421" (sent away), "handshake", "server" (the
	// server was closed), or the End of the rule that acted.
	End string

	Lines    []Line // all that was said, in order, without message bodies
	Auth     []Auth
	Messages []Message // every one that began, also those that never ended
	Trace    []Run     // who wrote, in turn

	TLS        string // the version, "" without TLS
	ServerName string // as the client asked by SNI
	TLSError   string // why the handshake failed
	ClientCert []byte // DER of the client's certificate
}

// A Line is one command or one reply, without the final CRLF.
type Line struct {
	Client bool
	Text   string
	TLS    bool
	// Early marks a client's line that had arrived before the server answered
	// the one before: pipelining.
	Early bool
	At    time.Time
}

// Auth is one AUTH command and how it ended.
type Auth struct {
	Mechanism string // upper case
	User      string
	// Secret is the password or token that crossed the wire. SCRAM and
	// CRAM-MD5 show none: there it is the client's last response.
	Secret string
	TLS    bool
	OK     bool
	Reply  string // the last one
}

// A Message is one mail transaction from DATA or BDAT on.
type Message struct {
	Number  int    `json:"number"` // 1 for the server's first, in order of completion
	Session int    `json:"-"`
	Port    string `json:"-"`
	From    Path   `json:"from"`
	To      []Path `json:"to"` // those that were accepted
	Data    []byte `json:"-"`  // as it is meant: dots unstuffed, without the final dot
	Wire    []byte `json:"-"`  // as it came: with DATA's stuffing and final dot, or all chunks
	// File is, with Script.Store, where Data was written in place of being
	// kept; Wire is beside it with ".wire" added.
	File     string    `json:"file,omitempty"`
	Size     int       `json:"size"`     // of Data
	Complete bool      `json:"complete"` // all of it came
	Accepted bool      `json:"accepted"` // the server answered 2xx
	Reply    string    `json:"reply"`    // "" if none was given
	TLS      bool      `json:"tls"`
	User     string    `json:"user"`   // "" without AUTH
	Chunks   int       `json:"chunks"` // how many BDAT commands; 0: DATA
	At       time.Time `json:"-"`
}

// A Path is an address with its parameters as the client gave them.
type Path struct {
	Address    string   `json:"address"`              // without < >
	Parameters []string `json:"parameters,omitempty"` // "BODY=8BITMIME"
}

// A Run is a stretch of bytes that went one way, TLS's own included.
type Run struct {
	Client bool
	Bytes  int64
	Calls  int // reads or writes that it took
	Start  time.Time
	Stop   time.Time
}

// Commands returns the client's lines.
func (s Session) Commands() []string {
	var list []string
	for _, l := range s.Lines {
		if l.Client {
			list = append(list, l.Text)
		}
	}
	return list
}

// Turns counts how often the client began to write after the server had, or at
// first: the round trips that it needed, those of TLS included.
func (s Session) Turns() int {
	n := 0
	for _, r := range s.Trace {
		if r.Client {
			n++
		}
	}
	return n
}

// record holds the sessions. Its slices are only ever appended to, so that a
// copy of their headers is a snapshot.
type record struct {
	mu       sync.Mutex
	sessions []*live
	messages int // completed ones
	events   func(Event)
	changed  chan struct{} // closed and replaced at each change
}

type live struct {
	Session
	run Run // the stretch under way
}

func (r *record) begin(port, remote string) *live {
	l := &live{}
	r.change(l, Event{Event: "connect", Port: port, Remote: remote}, func() {
		r.sessions = append(r.sessions, l)
		l.ID, l.Port, l.Remote, l.Start = len(r.sessions), port, remote, time.Now()
	})
	return l
}

// change alters the record of a session and tells whoever waits.
func (r *record) change(l *live, e Event, f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	if r.events != nil {
		e.Session = l.ID
		r.events(e)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// transfer notes n bytes on the wire.
func (r *record) transfer(l *live, client bool, n int) {
	if n <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if l.run.Calls > 0 && l.run.Client != client {
		l.Trace = append(l.Trace, l.run)
		l.run = Run{}
	}
	if l.run.Calls == 0 {
		l.run = Run{Client: client, Start: now}
	}
	l.run.Bytes += int64(n)
	l.run.Calls++
	l.run.Stop = now
}

func (l *live) snapshot() Session {
	s := l.Session
	if l.run.Calls > 0 {
		s.Trace = append(slices.Clip(s.Trace), l.run)
	}
	return s
}

func (r *record) snapshot() ([]Session, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Session, len(r.sessions))
	for i, l := range r.sessions {
		list[i] = l.snapshot()
	}
	return list, r.changed
}

// Sessions returns what has happened so far, in order of connection.
func (s *Server) Sessions() []Session {
	list, _ := s.snapshot()
	return list
}

// Messages returns the accepted messages in the order of their completion.
func (s *Server) Messages() []Message { return accepted(s.Sessions()) }

func accepted(sessions []Session) []Message {
	var list []Message
	for _, s := range sessions {
		for _, m := range s.Messages {
			if m.Accepted {
				list = append(list, m)
			}
		}
	}
	slices.SortFunc(list, func(a, b Message) int { return a.Number - b.Number })
	return list
}

// Wait returns the sessions as soon as done is true of them. It looks again
// at each change, and ends with an error when ctx does; give ctx a generous
// limit.
func (s *Server) Wait(ctx context.Context, done func([]Session) bool) ([]Session, error) {
	for {
		list, changed := s.snapshot()
		if done(list) {
			return list, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return list, fmt.Errorf("waiting for the test server: %w", ctx.Err())
		}
	}
}

// WaitMessages waits until n messages have been accepted, and returns them.
func (s *Server) WaitMessages(ctx context.Context, n int) ([]Message, error) {
	list, err := s.Wait(ctx, func(list []Session) bool { return len(accepted(list)) >= n })
	return accepted(list), err
}

// WaitSessions waits until n sessions have ended, and returns all.
func (s *Server) WaitSessions(ctx context.Context, n int) ([]Session, error) {
	return s.Wait(ctx, func(list []Session) bool {
		ended := 0
		for _, s := range list {
			if s.End != "" {
				ended++
			}
		}
		return ended >= n
	})
}
