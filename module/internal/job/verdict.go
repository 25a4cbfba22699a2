// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"errors"
	"slices"

	"submission/module/internal/outbox"
	"submission/module/internal/session"
)

// verdict is what an event means for a message.
type verdict struct {
	status outbox.Status
	reason outbox.Reason
}

// verdicts is the table of doc/verdicts.md, for what can go wrong once a server
// has said 220 (or a TLS handshake was reached). Before that there is one
// verdict only: no step got that far, so the message is deferred.
var verdicts = map[session.Kind]verdict{
	session.KindCertificate: {outbox.Held, outbox.ReasonCertificate},
	session.KindTLS:         {outbox.Held, outbox.ReasonTLS},
	session.KindHandshake:   {outbox.Deferred, outbox.NoReason},
	session.KindAuth:        {outbox.Held, outbox.ReasonAuth},
	session.KindProtocol:    {outbox.Held, outbox.ReasonProtocol},
	session.Kind8Bit:        {outbox.Held, outbox.Reason8Bit},
	session.KindUTF8:        {outbox.Held, outbox.ReasonUTF8},
	session.KindTemporary:   {outbox.Deferred, outbox.NoReason},
	session.KindLost:        {outbox.Deferred, outbox.NoReason},
	session.KindTimeout:     {outbox.Deferred, outbox.NoReason},
	session.KindCancelled:   {outbox.Deferred, outbox.NoReason},
	session.KindLocal:       {outbox.Deferred, outbox.NoReason},
	session.KindPermanent:   {outbox.Refused, outbox.ReasonMessage},
	session.KindSize:        {outbox.Refused, outbox.ReasonSize},
	session.KindRecipients:  {outbox.Refused, outbox.ReasonRecipients},
	session.KindAddress:     {outbox.Refused, outbox.ReasonRecipients},
	session.KindUncertain:   {outbox.Uncertain, outbox.NoReason},
}

// judge returns the verdict on how a session or a message ended. What one kind
// alone doesn't tell is here: when every recipient was refused, one refused
// for now is enough to try again.
func judge(err error, result session.Result) verdict {
	if e := (errTunnel{}); errors.As(err, &e) && e.held {
		return verdict{outbox.Held, outbox.ReasonTunnel}
	}
	var e *session.Error
	if !errors.As(err, &e) {
		// Not from the dialogue: trouble on this machine, such as a message
		// file that can't be read. Nothing was accepted, so trying again is safe.
		return verdict{outbox.Deferred, outbox.NoReason}
	}
	if e.Kind == session.KindRecipients && slices.ContainsFunc(result.Recipients, func(r session.Recipient) bool {
		return r.Reply.Code/100 == 4
	}) {
		return verdict{outbox.Deferred, outbox.NoReason}
	}
	if v, ok := verdicts[e.Kind]; ok {
		return v
	}
	// A kind that isn't in the table is a bug; a person should look at it.
	return verdict{outbox.Held, outbox.ReasonProtocol}
}
