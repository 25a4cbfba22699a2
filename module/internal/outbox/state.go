// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Version is the version of the state file that this package writes, and the
// newest that it reads. It grows with every change that an older reader would
// get wrong.
const Version = 1

// State is all that is known about a message but for its bytes: the content of
// its state file.
type State struct {
	// What stands before ID is the head of the file: see headSize.
	Version int        `json:"version"`
	Rev     int64      `json:"rev"` // grows by one with each change
	Status  Status     `json:"status"`
	Tries   int        `json:"tries"`
	NextTry *time.Time `json:"next-try"` // nil: none is planned
	Data    bool       `json:"data"`     // a server may have got some of the bytes; set by MarkData
	// Dot says that the final dot may have gone out. It is true only from
	// MarkDot to the next Move or Passed, and on disk before the dot goes.
	Dot    bool   `json:"dot"`
	ID     string `json:"id"`
	Reason Reason `json:"reason"` // why it is held or refused
	Detail string `json:"detail"` // what happened, in words, where the server didn't say it
	// Certificate is that of the server, where it is why the message is held;
	// an object that this package doesn't look into.
	Certificate json.RawMessage `json:"certificate,omitempty"`
	MessageID   string          `json:"message-id"` // with its angle brackets; "" if there is none
	Subject     string          `json:"subject"`    // unfolded, encoded words as they stand, at most 1000 bytes
	Size        int64           `json:"size"`       // of the message file, in bytes
	EightBit    bool            `json:"8bit"`       // there is a byte over 127 in it
	Queued      time.Time       `json:"queued"`     // UTC, in whole seconds
	Envelope    Envelope        `json:"envelope"`
	Settings    json.RawMessage `json:"settings"` // the account's, an object that this package doesn't look into
	Receipt     Receipt         `json:"receipt"`
}

// Envelope is whom the message is from and whom it is still to reach (RFC 5321 §2.3.1).
type Envelope struct {
	From string   `json:"from"` // "" is the null reverse-path
	To   []string `json:"to"`   // the recipients that are left
}

// Receipt is what came of the latest try, as the receipt in Lisp tells it.
type Receipt struct {
	Host     string    `json:"host"`
	Address  string    `json:"address"` // the IP address
	Family   string    `json:"family"`  // ipv4, ipv6 or ""
	Port     int       `json:"port"`
	TLS      string    `json:"tls"`   // verified, pinned, unverified or ""
	Reply    string    `json:"reply"` // the server's last, with its code
	Accepted []string  `json:"accepted"`
	Refused  []Refusal `json:"refused"`
	Attempts []Attempt `json:"attempts"` // oldest first, one for each step
	Elapsed  float64   `json:"elapsed"`  // seconds
}

// Attempt is how one step of the sequence ended.
type Attempt struct {
	Family  string  `json:"family"`
	Port    int     `json:"port"`
	Address string  `json:"address"`
	Outcome string  `json:"outcome"`
	Case    Case    `json:"case"`
	Detail  string  `json:"detail"`
	Elapsed float64 `json:"elapsed"` // seconds
}

// Case is the paper's case, 1 to 5; 0 is none, and null in JSON.
type Case int

// MarshalJSON writes no case as null.
func (c Case) MarshalJSON() ([]byte, error) {
	if c == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(int(c))
}

// Refusal is a recipient that the server refused, and its reply; in JSON an
// array of the two.
type Refusal struct{ Address, Reply string }

// MarshalJSON writes ["address", "reply"].
func (r Refusal) MarshalJSON() ([]byte, error) {
	return json.Marshal([2]string{r.Address, r.Reply})
}

// UnmarshalJSON reads ["address", "reply"], and nothing else.
func (r *Refusal) UnmarshalJSON(text []byte) error {
	var pair []string
	if err := json.Unmarshal(text, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return fmt.Errorf("%d strings instead of an address and a reply", len(pair))
	}
	r.Address, r.Reply = pair[0], pair[1]
	return nil
}

// clone gives a copy that shares nothing, and in which no list is nil: Lisp is
// to see [] and not null.
func (s State) clone() State {
	if s.NextTry != nil {
		next := *s.NextTry
		s.NextTry = &next
	}
	s.Envelope.To = list(s.Envelope.To)
	s.Settings = slices.Clone(s.Settings)
	s.Certificate = slices.Clone(s.Certificate)
	s.Receipt.Accepted = list(s.Receipt.Accepted)
	s.Receipt.Refused = list(s.Receipt.Refused)
	s.Receipt.Attempts = list(s.Receipt.Attempts)
	return s
}

func list[T any](of []T) []T { return append([]T{}, of...) }
