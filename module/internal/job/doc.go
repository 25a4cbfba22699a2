// SPDX-License-Identifier: GPL-3.0-or-later

// Package job is the life of a message, and the one place where sequence,
// family and session meet.
//
// A [Dispatcher] owns an outbox directory for one Emacs. [Dispatcher.Submit]
// puts a message into the outbox and starts a goroutine for it; from there the
// path is, file by file:
//
//   - life.go: from queued to the status the message ends in, one try after
//     the other where a password has to be asked for;
//   - connect.go: one walk along the sequence, to a server that said 220;
//   - transact.go: what is said to that server;
//   - verdict.go: what its answer means for the message, DESIGN's table of
//     verdicts as code.
//
// The rules that hold everywhere: a state is on disk before Emacs is told of
// it; after the final dot only a reply decides; a fault of ours fails one
// message and leaves it in the outbox.
package job
