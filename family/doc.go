// SPDX-License-Identifier: GPL-3.0-or-later

// Package family finds the addresses of a mail server, connects to those of
// one step of the sequence, and says exactly how that ended.
//
// A caller works in three moves:
//
//	all, err := family.Resolve(ctx, "mail.example.org") // both families
//	here := all.Here()                                   // those this machine can use
//	r := new(family.Dialer).Connect(ctx, here.Of("ipv4"), 587)
//
// The result carries either a connection or one of the ways in which the
// paper on falling back from port 587 to port 25 lets a connection fail: the
// server refused (reset), a router or firewall did (hard, soft), nobody
// answered before the alarm (timeout), or the trouble is on this machine
// (local). On Linux these are told apart by the error queue of the socket; the
// errno alone is not enough, because one errno stands for several causes.
// Elsewhere there is the errno only, and the detail says so.
//
// Connect never blocks longer than its alarm. Nothing here keeps state between
// calls, and no goroutine started here can end the process: a panic becomes a
// result.
//
// Network names the network one is on, so that what was learned about a server
// on one network is not believed on another, and Watch rings when the network
// may have changed.
package family
