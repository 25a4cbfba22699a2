// SPDX-License-Identifier: GPL-3.0-or-later

// Package netlab is a network laboratory for tests: network namespaces on this
// machine with a client, a router with a firewall and a script, and a server.
//
//	client 198.18.0.2 ── 198.18.0.1 router 198.18.1.1 ── 198.18.1.2 server
//	     fd00:0:0:1::2    fd00:0:0:1::1   fd00:0:0:10::1   fd00:0:0:10::2
//
// The server has as many more addresses as a test wants, so each row of a table
// takes its own and all of them run side by side:
//
//	lab := netlab.New(t)
//	v4, v6 := lab.Addresses()
//	to := netip.AddrPortFrom(v4, 587)
//	lab.Answer(to, netlab.ICMP(3, 13))  // the router forbids port 587
//	lab.Listen(t, netip.AddrPortFrom(v4, 25)) // the server listens on 25
//	// and any other port of v4 and v6 answers with RST
//
// What runs where is up to the test. Namespace.Do runs a function on the calling
// goroutine's thread inside a namespace; sockets that it opens stay there, also
// when they are used from elsewhere later, but goroutines that it starts do not.
// Namespace.Start starts a command there, with all of its threads. A test whose
// Go code itself has to be the client, with its goroutines, calls Main from
// TestMain: then the whole test process is in the client's namespace.
//
// Nothing outlives the test: the namespaces have no names, and go when the last
// descriptor of them is closed, at the latest when the process ends.
//
// A laboratory needs Linux, root, and nft from the package nftables. New skips
// the test, and says why, if it isn't run by root; if root can't have a
// laboratory the test fails.
package netlab
