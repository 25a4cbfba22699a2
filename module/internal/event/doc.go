// SPDX-License-Identifier: GPL-3.0-or-later

// Package event carries what happens to messages from goroutines to Emacs, as
// JSON objects in ASCII, one a line.
//
// A [Stream] never makes its caller wait: events are queued in memory and one
// goroutine writes them. If Emacs does not read for a while, progress of the
// same message is merged and chatter is dropped beyond a limit; an event that
// tells how a message ended is kept always. The outbox on disk is the truth,
// an event is a hint to look; so a stream that broke loses nothing but haste.
package event
