// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd

import (
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"
)

// auth carries one AUTH command (RFC 4954) to its end.
func (c *conn) auth(argument, line string) error {
	name, initial, hasInitial := strings.Cut(argument, " ")
	name = strings.ToUpper(name)
	at := point{"AUTH", argument}
	log := Auth{Mechanism: name, TLS: c.tls != nil}
	x := c.mechanism(name)
	refusal := ""
	switch {
	case c.hello == "":
		refusal = "503 5.5.1 say EHLO first"
	case c.authenticated || c.mail != nil:
		refusal = "503 5.5.1 not now"
	case x == nil || !c.offersMechanism(name):
		refusal = "504 5.5.4 unknown mechanism"
	}
	if x == nil {
		x = unknownMechanism{}
	}
	reply := x.begin()
	if hasInitial {
		reply = c.answer(x, initial)
	}
	if refusal != "" {
		reply = final(refusal)
	}
	for {
		log.User, log.Secret = x.seen()
		points := []point{at}
		if reply.final {
			points = append(points, point{onAuthEnd, name + " " + log.User + " " + verdictWord(reply.text)})
		}
		before := c.replies()
		code, err := c.respond(reply.text, line, points...)
		if err != nil || code != 334 {
			log.OK, log.Reply = code == 235, c.repliesSince(before)
			c.noteAuth(log)
			if log.OK {
				c.authenticated, c.user = true, log.User
			}
			return err
		}
		if line, _, err = c.readLine(); err != nil {
			c.noteAuth(log)
			return err
		}
		at = point{onResponse, line}
		reply = c.answer(x, line)
	}
}

func verdictWord(reply string) string {
	if strings.HasPrefix(reply, "235") {
		return "ok"
	}
	return "bad"
}

// answer gives a response of the client's, in base64, to the mechanism.
func (c *conn) answer(x mechanism, response string) authReply {
	switch response {
	case "*":
		return final("501 5.7.0 cancelled")
	case "=":
		response = ""
	}
	b, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		return final("501 5.5.2 not base64")
	}
	return x.next(string(b))
}

func (c *conn) noteAuth(a Auth) {
	e := Event{Event: "auth", Mechanism: a.Mechanism, User: a.User, Secret: a.Secret, TLS: a.TLS, OK: a.OK, Reply: a.Reply}
	c.note(e, func(l *live) { l.Auth = append(l.Auth, a) })
}

// offersMechanism also knows the old form "AUTH=LOGIN".
func (c *conn) offersMechanism(name string) bool {
	if c.hello != "EHLO" {
		return false
	}
	for _, line := range c.keywords() {
		fields := strings.Fields(strings.ToUpper(line))
		if len(fields) == 0 {
			continue
		}
		if first, ok := strings.CutPrefix(fields[0], "AUTH="); ok {
			fields[0] = first
		} else if fields[0] != "AUTH" {
			continue
		}
		if slices.Contains(fields, name) {
			return true
		}
	}
	return false
}

// authReply is the next reply within AUTH.
type authReply struct {
	text  string
	final bool
}

func challenge(text string) authReply {
	return authReply{text: "334 " + base64.StdEncoding.EncodeToString([]byte(text))}
}

func final(text string) authReply { return authReply{text: text, final: true} }

func decided(ok bool) authReply {
	if ok {
		return final("235 2.7.0 welcome")
	}
	return final("535 5.7.8 authentication failed")
}

// A mechanism is the server's side of one exchange.
type mechanism interface {
	begin() authReply               // without an initial response
	next(response string) authReply // a decoded response
	seen() (user, secret string)    // what the client has shown so far
}

func (c *conn) mechanism(name string) mechanism {
	users := c.behaviour.Users
	check := func(user, password string) bool {
		known, ok := users[user]
		return ok && known == password
	}
	switch name {
	case "PLAIN":
		return &plain{check: check}
	case "LOGIN":
		return &login{check: check, prompts: c.behaviour.LoginPrompts}
	case "CRAM-MD5":
		return newCRAM(users, c.behaviour.Host)
	case "XOAUTH2", "OAUTHBEARER":
		return &bearer{check: check, gs2: name == "OAUTHBEARER", failure: c.behaviour.BearerFailure}
	case "EXTERNAL":
		return &external{certificate: c.clientCertificate()}
	case "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS":
		return newSCRAM(name, users, c.tls, c.config.Certificates[0].Leaf)
	}
	return nil
}

func (c *conn) clientCertificate() *x509.Certificate {
	if c.tls == nil {
		return nil
	}
	if list := c.tls.ConnectionState().PeerCertificates; len(list) > 0 {
		return list[0]
	}
	return nil
}

type unknownMechanism struct{}

func (unknownMechanism) begin() authReply         { return challenge("") }
func (unknownMechanism) next(string) authReply    { return decided(false) }
func (unknownMechanism) seen() (user, sec string) { return "", "" }
