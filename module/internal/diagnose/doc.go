// SPDX-License-Identifier: GPL-3.0-or-later

// Package diagnose is the field test of the paper "Fallback from the Submission
// port to the SMTP port": which of its cases a list of servers is, seen from
// here, and what each of their ports offers.
//
//	servers, complaints := diagnose.Parse(lines)
//	diagnose.Run(ctx, id, spec, events) // parses spec.Lines itself
//
// To each server the steps of the symmetric sequence and port 465 are tried, all
// of them side by side, with at most one connection for a step. No mail is sent:
// [session.Inspect] looks around and goes, and asks on port 587 whether mail is
// taken without AUTH. Only the servers on the list are connected to, and one
// that stands there twice only once.
//
// A [Row] is what is known of a server; every change of one is an event, with
// the [Summary] as it is then. lines.go reads the list, step.go makes one step,
// run.go makes all of them, words.go and summary.go say what came of it.
package diagnose
