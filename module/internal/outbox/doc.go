// SPDX-License-Identifier: GPL-3.0-or-later

// Package outbox keeps messages on disk until a server has taken them: the
// bytes, the state, the lock that says whose turn it is, and what happens
// after a crash. It knows nothing of the network and of Emacs.
//
// # The directory
//
// An outbox is one directory, mode 0700, with two files of mode 0600 for each
// message, or three, named after its ID, which is the time it was queued (UTC) and
// chance:
//
//	20261121T221500-3f9a2c1b.eml    its bytes, without Bcc
//	20261121T221500-3f9a2c1b.json   its state, see State
//	20261121T221500-3f9a2c1b.draft  what the caller wants kept with it, if anything
//
// What begins with a dot is never mail: .draft-… is a message on its way into
// Add; .ID.eml and .ID.json are those two files before they are in their
// place; .ID.lock is there while somebody owns the message, and .owner-… while
// somebody owns any.
//
// Without a complete state file it is not mail. A state is written beside, synced,
// renamed, and the directory synced; only what changes while a message is being
// sent is written in place, into the head of the file, which is a part of one
// sector and is there as a whole or not at all (headSize). The disk is the truth;
// a State in memory is a copy of it.
//
// A message is synced three times when it is queued, once more if something is
// kept with it, and then once for the mark before its final dot and once when it
// was accepted. A Sync stands for the names of all that were accepted since the
// last one.
//
// # Ownership
//
// Add and Claim return an Entry, which holds the message's lock, and only an
// Entry changes or removes a message. A lock excludes goroutines and processes
// alike, and the system takes it back when its owner dies: .ID.lock is a second
// name of .owner-…, a file that its process keeps open and locked. Nobody waits for
// one: who comes second gets ErrBusy. List needs none and shows what is on
// disk, also while others write.
//
// # A message's life
//
//	box, err := outbox.Open(dir)
//	entry, err := box.Add(outbox.Draft{File: file, Envelope: envelope, Settings: settings})
//	err = entry.Move(outbox.Sending, func(s *outbox.State) { s.Tries++ })
//	// … MAIL, RCPT, DATA, the bytes from entry.Message() …
//	err = entry.MarkDot()                   // and only then the final dot
//	err = entry.Move(outbox.Accepted, func(s *outbox.State) { s.Receipt = receipt })
//	err = box.Sync()                        // for this message or for many
//	// … the person has been told …
//	err = entry.Remove()
//
// or instead of the last four, Move to Deferred, Held, Refused or Uncertain
// and Release. The statuses and the moves between them are data, in status.go.
//
// # What a crash leaves
//
//	during Add           no mail and temporary files, which Open sweeps after a day; or all of it
//	queued, deferred, …  just that
//	sending              queued, by the next Claim: the final dot has not gone
//	sending, dot marked  uncertain, by the next Claim: only a person decides
//	during a move        the state before it or after it
//	accepted, no Sync    that, or by a loss of power uncertain
//	during Remove        accepted or cancelled as before, perhaps without its bytes; Open sweeps the rest
//
// The same holds for a loss of power, as far as the file system keeps what it
// synced and renames in order. Where it does not keep the order, an Add that
// never returned may leave a state without its message, or a Remove a message
// without its state: List tells of both and nothing is sent or deleted.
//
// What can't be read or isn't whole is told by List and left as it is, for a
// person to look at: a damaged state file, one of a newer version, a message
// without a state, a state without its message.
package outbox
