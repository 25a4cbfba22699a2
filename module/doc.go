// SPDX-License-Identifier: GPL-3.0-or-later

// Command module is the dynamic module that Emacs loads: what Lisp can call,
// the event channel, and nothing else.
//
// Each function takes strings (ASCII JSON and file names), returns a string or
// nil, and comes back at once; whatever might take long is a goroutine of
// package job. What happens to a message comes back as lines of JSON on a pipe
// process (package event).
//
// bridge.go holds what go-emacs lacks: the channel of Emacs 28, errors that
// are signalled and not thrown, panics that are caught, and signal handlers
// that leave the stacks of goroutines alone. Nothing else in the tree knows
// its tricks.
package main
