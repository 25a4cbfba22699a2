// SPDX-License-Identifier: GPL-3.0-or-later

// Package job is the life of a message, and the one place where sequence,
// family and session meet.
//
// A [Dispatcher] owns an outbox directory for one Emacs. [Dispatcher.Submit]
// puts a message into the outbox; from there the path is, file by file:
//
//   - account.go: messages with the same settings wait in one line, for one
//     connection and one login;
//   - connect.go: one walk along the sequence, to a server that said 220, on
//     the way that way.go finds (the network, an SSH tunnel, a proxy), with what
//     memory.go recalls and learns; then EHLO, TLS and AUTH;
//   - transact.go: the message, or several transactions for many recipients;
//   - verdict.go: what the answer means for the message, the table of
//     doc/verdicts.md as code;
//   - life.go: what became of it, on disk first, then told.
//
// Beside the path stand schedule.go (tries that are due, and a change of
// network), action.go (what a person wants done with a message), ask.go
// (questions to Lisp: passwords, tokens, tunnels) and log.go (a line for each
// message that left).
//
// The rules that hold everywhere: a state is on disk before Emacs is told of
// it; after the final dot only a reply decides; a fault of ours fails one
// message and leaves it in the outbox.
package job
