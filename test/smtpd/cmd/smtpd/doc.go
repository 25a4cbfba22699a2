// SPDX-License-Identifier: GPL-3.0-or-later

/*
Smtpd is package smtpd as a program: a scripted SMTP server on loopback for
tests and demonstrations that are not written in Go.

	smtpd [-script FILE|{…}|-] [-ca DIR] [-store DIR] [-limit TIME] [-keep]

	-script  the script (package smtpd tells its form): a file, the JSON object
	         itself, or "-" for the first line of standard input; without it: {}
	-ca      a directory for the CA: the one there is used, or a new one is
	         written, as ca.pem and ca-key.pem
	-store   a directory for messages, made if need be: 0001.eml as meant,
	         0001.eml.wire as it came
	-limit   ends after this time, 10m by default
	-keep    doesn't end when standard input does

It prints one JSON object a line on standard output. First, for each port,

	{"event":"listen","name":"submission","address":"127.0.0.1:40123","port":40123,"tls":false,"closed":false}

then

	{"event":"ready","ca":"/tmp/ca/ca.pem"}

and then what smtpd.Event describes: connect, command, reply, tls, auth,
message and end, such as

	{"event":"connect","session":1,"port":"submission","remote":"127.0.0.1:50234"}
	{"event":"command","session":1,"line":"EHLO client.test"}
	{"event":"message","session":1,"message":{"number":1,"from":{"address":"a@b.test"},
	 "to":[{"address":"c@d.test"}],"file":"/tmp/mail/0001.eml","size":120,"complete":true,
	 "accepted":true,"reply":"250 2.0.0 ok, queued","tls":false,"user":"","chunks":0}}

(the last on one line). Standard input takes one line at a time: "quit", or a
new script, with the same port names, that holds for later connections, answered by

	{"event":"script"}   or   {"event":"error","error":"why not"}

A story such as 'the server comes back' starts with {"listen":[{"closed":true}]}
and later writes {"listen":[{}]}. The program ends, with status 0, at "quit", at
the end of standard input, at SIGTERM or SIGINT, or when its time is up. Should
it fail to start, the reason is on standard error and the status is 1.
*/
package main
