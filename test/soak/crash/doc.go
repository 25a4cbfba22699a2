// SPDX-License-Identifier: GPL-3.0-or-later

/*
Package crash puts the outbox's promise to the test: nothing lost, nothing
doubled. Emacs after Emacs sends messages from message-mode to a server that
counts, and each is killed with SIGKILL at a random moment, or its connections
are cut at random points, or both. The next one takes over what the last one
left. At the end every message whose sending command had returned was
delivered once to each of its recipients, or is still in the outbox, or is
uncertain.

	tally, err := crash.Run(ctx, crash.Config{Dir: dir, Lisp: "lisp", Seed: 7, Lives: 20, Kill: true, Drop: true})
	… tally.Wrong has a sentence for each promise that was broken …

# What counts

The server counts a message as delivered when it has come with its final dot
and was not answered with a no: whether the answer came through or not. So a
message that is uncertain may count once, and never twice. The sending command
notes the Message-ID in one file before it is called and in another, synced,
when it has returned: what is in the second must not be lost; what is in the
first only must not be doubled.

# Where the moments come from

A moment is a time after Emacs was started, or the n-th thing that happens at
the server, or the n-th change to a name in the outbox, each sometimes with a
little time added, all from the seed. The seed brings back the plan and not
the machine's own order of events.

This runs on Linux alone, for it watches a directory by inotify.
*/
package crash
