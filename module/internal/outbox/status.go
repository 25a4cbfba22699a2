// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"encoding/json"
	"slices"
)

// Status says where a message stands. The words are those of the receipt's
// :status and of the state file.
type Status string

const (
	// Queued: complete on disk and waiting for a job to take it up; every
	// message begins here, and one that is to be tried again at once comes back.
	Queued Status = "queued"
	// Sending: a job is at it. If its owner is gone, the message is queued
	// again, or uncertain where the final dot may have gone out (State.Dot).
	Sending Status = "sending"
	// Deferred: tried and not taken, through nobody's lasting fault; tried
	// again at State.NextTry, when the network changes, or when asked.
	Deferred Status = "deferred"
	// Held: not tried again until a person has mended what State.Reason says.
	Held Status = "held"
	// Refused: the server said no for good; kept for the person to edit or discard.
	Refused Status = "refused"
	// Uncertain: the final dot may have gone out and no reply decided. It is
	// never tried again by itself, as that might double the mail.
	Uncertain Status = "uncertain"
	// Accepted: a server answered 2xx after the final dot, or a person said
	// that the message arrived. It only waits for Remove.
	Accepted Status = "accepted"
	// Cancelled: a person gave the message up. It only waits for Remove.
	Cancelled Status = "cancelled"
)

// row is the part of the table of moves that leads away from one status.
type row struct {
	from Status
	to   []Status // whenever there is reason to
	dry  []Status // only while the final dot has not been marked
}

// table holds every move there is; it is read and never written. Anything may
// be cancelled that is not on the wire past its dot: from there on only a
// reply, or a person looking at an uncertain message, decides.
var table = [...]row{
	{from: Queued, to: []Status{Sending, Deferred, Held, Cancelled}},
	{from: Sending, to: []Status{Deferred, Held, Refused, Uncertain, Accepted}, dry: []Status{Queued, Cancelled}},
	{from: Deferred, to: []Status{Queued, Sending, Deferred, Held, Cancelled}},
	{from: Held, to: []Status{Queued, Cancelled}},
	{from: Refused, to: []Status{Queued, Cancelled}},
	{from: Uncertain, to: []Status{Queued, Accepted, Cancelled}},
	{from: Accepted},
	{from: Cancelled},
}

// Statuses returns every status there is, in the order of a message's life.
func Statuses() []Status {
	all := make([]Status, len(table))
	for i, r := range table {
		all[i] = r.from
	}
	return all
}

// Known reports whether s is one of the statuses above.
func (s Status) Known() bool { return slices.Contains(Statuses(), s) }

// Final reports whether the message is done with, so that Remove may take it
// off the disk.
func (s Status) Final() bool { return s == Accepted || s == Cancelled }

// CanMove reports whether a message may go from status s to status to; dot
// says whether its final dot has been marked (State.Dot).
func (s Status) CanMove(to Status, dot bool) bool {
	for _, r := range table {
		if r.from == s {
			return slices.Contains(r.to, to) || !dot && slices.Contains(r.dry, to)
		}
	}
	return false
}

// Reason says why a message is held or refused. The empty reason is null in
// JSON and nil in a receipt.
type Reason string

// The reasons, as a receipt's :reason names them.
const (
	NoReason          Reason = ""
	ReasonTLS         Reason = "tls"         // TLS was asked for and is not to be had
	ReasonCertificate Reason = "certificate" // the certificate is bad
	ReasonAuth        Reason = "auth"        // the server wants another password, or none of our mechanisms
	ReasonProtocol    Reason = "protocol"    // what answered does not speak SMTP
	ReasonRecipients  Reason = "recipients"  // every recipient was refused
	ReasonMessage     Reason = "message"     // the message was refused
	ReasonSize        Reason = "size"        // the message is too large for the server
	ReasonUTF8        Reason = "utf8"        // an address needs SMTPUTF8 and the server lacks it
	Reason8Bit        Reason = "8bit"        // the message needs 8BITMIME and the server lacks it
	ReasonExpired     Reason = "expired"     // deferred for too long
	ReasonTunnel      Reason = "tunnel"      // the SSH tunnel failed
	ReasonUser        Reason = "user"        // a person wants it so
)

// Known reports whether r is the empty reason or one of the reasons above.
func (r Reason) Known() bool {
	switch r {
	case NoReason, ReasonTLS, ReasonCertificate, ReasonAuth, ReasonProtocol, ReasonRecipients,
		ReasonMessage, ReasonSize, ReasonUTF8, Reason8Bit, ReasonExpired, ReasonTunnel, ReasonUser:
		return true
	}
	return false
}

// MarshalJSON writes the empty reason as null.
func (r Reason) MarshalJSON() ([]byte, error) {
	if r == NoReason {
		return []byte("null"), nil
	}
	return json.Marshal(string(r))
}
