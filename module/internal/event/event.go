// SPDX-License-Identifier: GPL-3.0-or-later

package event

// Event is one line to Emacs. Each type marshals to a JSON object whose
// "event" member is its name.
type Event interface{ name() string }

// State tells that a message's state was rewritten on disk. State is that
// state without the settings.
type State struct {
	ID    string `json:"id"`
	State any    `json:"state"`
}

// Attempt tells how a step of the sequence ended.
type Attempt struct {
	ID      string `json:"id"`
	Attempt any    `json:"attempt"`
}

// Progress tells how many bytes of a message of Size bytes were sent.
type Progress struct {
	ID   string `json:"id"`
	Sent int64  `json:"sent"`
	Size int64  `json:"size"`
}

// Reply is a server's words that a person may want to read in the log.
type Reply struct {
	ID   string `json:"id"`
	Line string `json:"line"`
}

// Line is a line of the dialogue, ours if Client is true, secrets blotted out.
type Line struct {
	ID     string `json:"id"`
	Client bool   `json:"client"`
	Line   string `json:"line"`
}

// Ask wants credentials from Lisp, which answers with the number in Ask. Why
// is "530" (the server wants AUTH), "535" (it refused what it was given),
// "missing" (a user name is set, no password was found) or "again" (a later
// try needs what is in auth-source), "token" (a fresh bearer token, as the
// server refused the last one), "tunnel" (an SSH tunnel to Host) or "offered"
// (the server offers AUTH with the mechanisms in Reply). Otherwise Reply is what
// the server said.
type Ask struct {
	ID    string `json:"id"`
	Ask   int    `json:"ask"`
	Host  string `json:"host"`
	Port  int    `json:"port"`
	User  string `json:"user"`
	Why   string `json:"why"`
	Reply string `json:"reply"`
	// Of a tunnel: through which host, and to which ports of Host.
	SSHHost string `json:"ssh-host,omitempty"`
	Ports   []int  `json:"ports,omitempty"`
}

// Learned tells what a fallback taught, for a person to say whether it is to
// be remembered: Outcome is how the first step ended. Lisp gives Lesson back
// if it is.
type Learned struct {
	ID      string `json:"id"`
	Lesson  any    `json:"lesson"`
	Outcome string `json:"outcome"`
}

// Network tells that this machine has come to another network.
type Network struct {
	Network string `json:"network"`
}

// Taken tells that the outbox was gone through, and which messages this Emacs
// now sends.
type Taken struct {
	IDs []string `json:"ids"`
}

// Warning tells of trouble that stops no mail.
type Warning struct {
	Text string `json:"text"`
}

// Bug tells of a fault of ours that was caught, or that the outbox could not be
// written. ID is the message that is not worked on any more, "" for none; Text
// is "" where the same was told already.
type Bug struct {
	ID   string `json:"id,omitempty"`
	Text string `json:"text"`
}

// Closed is the last event of a stream: Emacs does not notice by itself when
// a channel ends.
type Closed struct{}

func (State) name() string    { return "state" }
func (Attempt) name() string  { return "attempt" }
func (Progress) name() string { return "progress" }
func (Reply) name() string    { return "reply" }
func (Line) name() string     { return "line" }
func (Ask) name() string      { return "ask" }
func (Learned) name() string  { return "learned" }
func (Network) name() string  { return "network" }
func (Taken) name() string    { return "taken" }
func (Warning) name() string  { return "warning" }
func (Bug) name() string      { return "error" }
func (Closed) name() string   { return "closed" }
