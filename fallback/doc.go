// SPDX-License-Identifier: GPL-3.0-or-later

// Package fallback is the algorithm of Kazu Yamamoto's paper "Fallback from
// the Submission port to the SMTP port" (2005), as Mew had it, without a
// socket in it.
//
// A sequence is a list of steps, a step is an address family and a port.
// [Available] drops the steps that cannot be tried here, [Order] puts a
// remembered step in front, [Run] tries them one after the other until a
// server has said 220, and [Learn] says what of it is worth remembering.
//
// What a step came to is an [Outcome]. The paper's five cases are numbered by
// [Outcome.Case]; the outcomes that the paper does not have (trouble on this
// machine, a connection closed before the greeting, a greeting other than
// 220, silence after connect) have no number.
//
// 220 is the line. Until a server has said it, a step is merely unavailable
// and the next one is tried; after it the server has the word, and nothing in
// this package is called any more.
package fallback
