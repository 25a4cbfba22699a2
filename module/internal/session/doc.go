// SPDX-License-Identifier: GPL-3.0-or-later

// Package session holds one SMTP dialogue over a connection that somebody
// else has made: greeting, EHLO, STARTTLS, AUTH and any number of messages.
//
// # In order
//
//	s, err := session.Open(ctx, conn, cfg)      // implicit TLS if asked, then 220
//	err = s.Start(ctx, cred)                    // EHLO, STARTTLS, EHLO, AUTH
//	result, err := s.Send(ctx, env, body, mark) // as often as wanted
//	s.Quit(ctx)                                 // or s.Abort()
//
// Every error is an [*Error]. Its Kind says what happened in terms from which
// the caller makes a verdict; its Stage says where, its Reply holds the
// server's own words. Nothing here decides about another port, a later try or
// what the user is told.
//
// # The promises
//
// Nothing less protected than asked. [Security] says what must hold before a
// secret or a message is sent. What came in the clear before TLS is forgotten
// after it, and bytes that arrive between the 220 to STARTTLS and the
// handshake end the session as an attack. Only a peer that TLS has proved, by a
// good certificate or one that the user has accepted ([Config] has Pins), is
// shown a secret as it is; with SCRAM the server must prove itself too. What
// the server repeats of a secret is blotted out before anybody sees it.
//
// Nothing doubled. mark is called, and the session's fate is open, from the
// moment the final dot is about to go: from then on only a well-formed reply
// decides, and everything else is [KindUncertain]. Before that moment a
// message can't have been accepted: an unfinished DATA is ended by closing the
// connection, never by QUIT or RSET, which a server could take for the end.
// With BDAT the last bytes of the message are what the dot is to DATA; where
// the whole transaction goes in one write, that is what mark is called before.
//
// No round trip that can be saved. With PIPELINING the envelope and DATA go in
// one write, with CHUNKING the message too if it isn't large. The replies are
// judged in their order as if each had been waited for. Replies are read while
// commands are still being written, so no list of recipients is too long.
//
// No wait without a limit. Each reply as a whole has its time (RFC 5321
// §4.5.3.2), so has each block written; when ctx ends the connection is closed
// under whatever is going on. A reply is bounded in line length, lines and
// bytes, what is kept of the replies to many recipients in all, the work that
// SCRAM asks for in rounds, and a message is streamed through fixed buffers.
//
// Nothing out of step. Bytes from the server when none are due would be taken
// for the answer to the next command. They end the session, unless they are
// its goodbye (421). While a message is being written a goroutine listens, so
// that a server that says no in the middle is heard at once and one that says
// yes too early isn't believed; and between two messages, so that one that has
// gone is known to be gone before the next message is begun.
//
// # Reading on
//
// wire.go and reply.go are the connection and what is read from it; hello.go,
// tls.go with certificate.go, and auth.go are Start; options.go and send.go are
// the transaction, pipeline.go and chunk.go its faster forms, body.go the bytes
// of a message. A further SASL mechanism is a line in the table of auth.go and,
// if no library has it, a client in sasl.go, as SCRAM has one in scram.go;
// blot.go hides what mechanisms show.
package session
