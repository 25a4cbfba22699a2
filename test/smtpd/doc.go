// SPDX-License-Identifier: GPL-3.0-or-later

/*
Package smtpd is an SMTP submission server for tests. It does what a script
says, good or bad, on loopback, and records what clients do.

	server, err := smtpd.Start(smtpd.Script{Behaviour: smtpd.Behaviour{
		Users: map[string]string{"kazu": "secret"},
		Rules: []smtpd.Rule{{On: "RCPT", Match: "bad@", Reply: smtpd.Lines{"550 5.1.1 no such user"}}},
	}})
	defer server.Close()
	… let something send to server.Addr("") …
	messages, err := server.WaitMessages(ctx, 1)

The program in cmd/smtpd runs the same scripts from the shell and from Emacs.

# The script

A script is one JSON object with the keys below; {} is a well-behaved server on
one port of 127.0.0.1. A key that is not known is an error.

	{
	  "listen": [
	    {"name": "submission", "closed": true},
	    {"name": "smtp", "address": "127.0.0.1:2525"},
	    {"name": "submissions", "tls": true, "behaviour": {"certificate": "expired"}}
	  ],
	  "host": "mail.test",
	  "users": {"kazu": "secret"},
	  "require-auth": true,
	  "ehlo": ["SIZE 1000000", "STARTTLS"],
	  "ehlo-tls": ["SIZE 1000000", "8BITMIME", "AUTH CRAM-MD5 PLAIN LOGIN"],
	  "rules": [
	    {"on": "GREETING", "delay": "1.5s"},
	    {"on": "MAIL", "times": 1, "reply": "451 4.3.0 try again later"},
	    {"on": "RCPT", "match": "bad@", "reply": "550 5.1.1 no such user"},
	    {"on": "DOT", "from": 2, "instead": "close"}
	  ]
	}

On the script:

	listen    the ports: name (for Server.Addr and the events), address
	          (default 127.0.0.1:0, a free port), tls (the port waits for a
	          ClientHello), closed (connections are refused with RST, but the
	          port stays ours), behaviour (this port's own, in place of the
	          script's: all keys below)
	store     a directory for messages, in place of memory

and its behaviour:

	host                name in the greeting, EHLO and certificate (mail.test)
	ehlo, ehlo-tls      keyword lines of the reply to EHLO in the clear and
	                    under TLS, verbatim. Defaults: PIPELINING, SIZE 52428800,
	                    8BITMIME, SMTPUTF8, ENHANCEDSTATUSCODES, and in the
	                    clear STARTTLS, under TLS AUTH PLAIN LOGIN if there are
	                    users
	users               {"name": "password or token"}
	require-auth        MAIL is answered with 530 5.7.0 before AUTH
	require-tls         all but EHLO, STARTTLS, NOOP and QUIT is answered with
	                    530 5.7.0 before TLS
	login-prompts       the two of AUTH LOGIN (["Username:", "Password:"])
	bearer-failure      how a bad token is refused: "google" (334 and JSON, then
	                    535), "microsoft" (535 at once); default: as RFC 7628
	certificate         good, other-name, expired, not-yet, self-signed,
	                    unknown-issuer
	names               the certificate's names and addresses
	tls-min, tls-max    "1.0" to "1.3"
	client-certificate  ask for one; AUTH EXTERNAL works if one was shown
	resume              offer TLS session tickets
	max-messages        so many MAIL commands on a connection, then 421
	latency             waited before each batch of replies is written
	rules               see below

Behind a keyword that is offered stands its behaviour, and what is not offered
is refused: SIZE, 8BITMIME, BINARYMIME, SMTPUTF8, DSN, REQUIRETLS (parameters
of MAIL and RCPT, 555 otherwise; 552 beyond SIZE), PIPELINING (503 to a client
that doesn't wait), CHUNKING (BDAT), STARTTLS, LIMITS (RCPTMAX, MAILMAX,
RCPTDOMAINMAX), AUTH (and the old "AUTH=LOGIN") with the mechanisms PLAIN,
LOGIN, CRAM-MD5, SCRAM-SHA-1, SCRAM-SHA-256, SCRAM-SHA-256-PLUS, XOAUTH2,
OAUTHBEARER and EXTERNAL. Keywords may be in lower case. Times are strings such
as "1.5s" or "100ms", or numbers of seconds.

# Rules

For each thing that happens, rules are tried from the top, and the first that
fits decides; without one the server does the usual. When it acts:

	on       a verb (EHLO, HELO, STARTTLS, AUTH, MAIL, RCPT, DATA, BDAT, RSET,
	         NOOP, VRFY, QUIT, any other word) or a point (next list)
	match    a regular expression, case doesn't matter, on the argument: what
	         follows the verb, such as "TO:<a@b> NOTIFY=NEVER"
	tls      true or false: only with, only without TLS
	from     the first time it acts, counting from 1 each time it fits
	times    how many times in a row from there (0: for ever)
	per      "server" (default: counted over all connections) or "session"
	after    a number of bytes, for BODY, SENT and WIRE

The points:

  - every line of the client's, and a message's final dot (match is
    tried on the whole line, "." for the dot); not within a message
    CONNECT   accepted, before TLS on a port with TLS; match: the peer's address
    GREETING  the greeting; other than 220, all but QUIT is then answered 503
    TLS       a handshake is to begin; with reply or raw, that is said in its
    place and the session goes on in the clear
    RESPONSE  a line of the client's within AUTH
    AUTH-END  AUTH is decided; match: "MECHANISM USER ok" or "... bad"
    DOT       a message has come (DATA or last BDAT); match: the message
    BODY      within a message: after so many bytes of it
    SENT      after so many bytes were said on the connection, TLS's not counted
    WIRE      after so many bytes were written, TLS's own counted

BODY, SENT and WIRE take from, times, per, after, delay (BODY only) and instead
or then, which are the same there; from counts messages with BODY, connections
with SENT and WIRE.

What it does:

	delay    waited first
	reply    said in place of the usual reply: a string, lines cut at "\n", or a
	         list of lines; CRLF is added to each. Codes are yours to write,
	         "550-one\n550 two". Several replies are allowed: the later ones come
	         unasked
	raw      said in place of the usual reply, exactly, with no CRLF added:
	         "220 go\r\n250 injected\r\n", "\u0000", half a line
	pieces   the reply (the usual one too) is written so many bytes at a time,
	gap      this far apart
	flood    said again and again without end, gap apart: "220-more\r\n" for
	         endless lines, "a" for an endless line
	instead  in place of any reply: nothing (say nothing, go on), or an end
	then     an end, after the reply

The ends: close (close_notify under TLS, and FIN), cut (FIN alone), reset (RST),
silence (reads on, never answers, stays until the client goes), stall (stops
reading, stays until the server is closed). Where bytes of the client's lie
unread, the system makes RST of a FIN. Before a stall is felt, a few MB fit
into the buffers of the systems.

The code of what is said decides what follows: a recipient whose RCPT is
answered 251 by a rule is a recipient, a message answered 451 is not accepted,
354 to DATA begins the message, 220 to STARTTLS the handshake, 235 ends AUTH
well, 421 closes.

Some scenarios:

	nothing is ever said       {"on": "GREETING", "instead": "silence"}
	RST before the greeting    {"on": "CONNECT", "instead": "reset"}
	endless greeting           {"on": "GREETING", "flood": "220-wait\r\n", "gap": "1s"}
	EHLO refused               {"on": "EHLO", "reply": "502 5.5.1 what?"}
	injection after STARTTLS   {"on": "STARTTLS", "raw": "220 go\r\n250 mail.evil\r\n"}
	lost in the handshake      {"on": "TLS", "instead": "reset"}
	454 to a good password     {"on": "AUTH-END", "reply": "454 4.7.0 later"}
	lost in the message        {"on": "BODY", "after": 10000, "instead": "reset"}
	stops reading              {"on": "BODY", "after": 10000, "instead": "stall"}
	taken, but who knows       {"on": "DOT", "instead": "close"}
	lost at the 5th line       {"on": "*", "from": 5, "per": "session", "instead": "close"}
	lost after byte 300        {"on": "SENT", "after": 300, "then": "reset"}
	a reply that comes slowly  {"on": "*", "pieces": 1, "gap": "10ms"}
*/
package smtpd
