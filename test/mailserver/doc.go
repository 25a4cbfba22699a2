// SPDX-License-Identifier: GPL-3.0-or-later

// Package mailserver runs real mail servers for tests: Postfix (with Dovecot's
// SASL), OpenSMTPD and Exim, from Debian's packages and yet not installed.
//
//	s := mailserver.Start(t, mailserver.Postfix)
//	cmd := s.Command("emacs", "--batch", …) // in the network of the server
//	mail := s.Await(t, "bob", messageID)    // bytes, as they were delivered
//
// # What is where
//
// The packages, with all that they depend on, are downloaded with apt-get into
// test/.cache and unpacked there with none of their scripts run. apt-get is
// given lists and a status of its own in that cache, so neither dpkg nor apt of
// the machine know of it. Where they come from is what the machine's own list of
// sources says, but for OpenSMTPD: Debian 12's is of no use (opensmtpd_linux.go),
// so there Debian 13's is taken from the same places.
//
// A server runs in namespaces of its own (network, mounts, processes, host
// name), in a root that is an overlay of the unpacked packages, its
// configuration and a tmpfs: frame.sh. What outlives the processes is a
// directory of the test's, with the mailboxes and the logs. The frame ends when
// its standard input does, and the kernel then ends every process in it and
// frees the namespaces; so nothing stays behind, also when the test is killed.
//
// # The network
//
// Each host has an address of its own on the loopback interface of the
// namespace, and all of them are the one server:
//
//	mail.example.org    587 (STARTTLS and AUTH required) and 25
//	old.example.org     25 only: 587 answers with RST
//	walled.example.org  25, and a firewall that drops what is for 587
//	small.example.org   587, with a limit of 20000 bytes (not OpenSMTPD)
//
// There is no name server: a command started by Command sees the names in its
// own /etc/hosts. The certificate is good for all of them, and issued by CA.
//
// # The mail
//
// User kazu with password secret may submit. Mail to bob, carol and dave at
// example.org is delivered to a maildir each, any other recipient is refused;
// so is the sender refused@example.org. Messages of 60 MB are taken.
//
// # SSH
//
// StartSSH starts an OpenSSH server in the same way, but on 127.0.0.1 of the
// machine's own network: one sshd for each connection, which the test accepts
// and can cut.
//
// This needs Linux and root, and Debian for its packages. Start skips the test
// and says why where one of them isn't there; where all are, what fails is a
// failure.
package mailserver
