// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// DSN asks for delivery status notifications (RFC 3461). What is empty isn't
// asked for.
type DSN struct {
	Notify []string // when: "NEVER" alone, or some of "SUCCESS", "FAILURE", "DELAY"
	Ret    string   // what comes back with a failure: "FULL" or "HDRS"
	EnvID  string   // comes back with each: at most 100 printable ASCII characters
	Orcpt  bool     // name the recipients as they are here
}

// commands are MAIL and the RCPTs of a transaction, ready to be sent.
type commands struct {
	mail string
	rcpt []string // in the order of Envelope.To
	dsn  bool     // notifications are asked for
}

// prepare looks at what can be known before anything is sent: whether the
// server takes what the message needs.
func (s *Session) prepare(env Envelope) (c commands, err error) {
	wrong := func(kind Kind, format string, args ...any) (commands, error) {
		return commands{}, &Error{Stage: StageEnvelope, Kind: kind, Err: fmt.Errorf(format, args...)}
	}
	from, to, international, err := s.addresses(env)
	if err != nil {
		return c, err
	}
	c.mail = "MAIL FROM:<" + from + ">"
	if params, ok := s.ext["SIZE"]; ok && env.Size > 0 {
		if len(params) > 0 {
			// A number that can't be read, and 0, set no limit.
			if limit, err := strconv.ParseInt(params[0], 10, 64); err == nil && limit > 0 && env.Size > limit {
				return wrong(KindSize, "the message has %d bytes, the server takes at most %d", env.Size, limit)
			}
		}
		c.mail += " SIZE=" + strconv.FormatInt(env.Size, 10)
	}
	if env.EightBit {
		if !s.ext.has("8BITMIME") {
			return wrong(Kind8Bit, "the message is 8-bit and the server doesn't offer 8BITMIME")
		}
		c.mail += " BODY=8BITMIME"
	}
	if international {
		c.mail += " SMTPUTF8"
	}
	if env.RequireTLS {
		switch {
		case !s.trusted():
			return wrong(KindTLS, "REQUIRETLS is asked for, and the connection isn't protected by verified TLS")
		case !s.ext.has("REQUIRETLS"):
			return wrong(KindTLS, "REQUIRETLS is asked for, and the server doesn't offer it")
		}
		c.mail += " REQUIRETLS"
	}
	var each string
	if env.DSN != nil {
		if err := env.DSN.check(); err != nil {
			return wrong(KindAddress, "%w", err)
		}
		if c.dsn = s.ext.has("DSN"); c.dsn {
			var mail string
			mail, each = env.DSN.parameters()
			c.mail += mail
		}
	}
	for i, address := range to {
		line := "RCPT TO:<" + address + ">" + each
		// Another kind of address would need another way to write it (RFC 6533).
		if c.dsn && env.DSN.Orcpt && isASCII(env.To[i]) {
			line += " ORCPT=rfc822;" + xtext(env.To[i])
		}
		c.rcpt = append(c.rcpt, line)
	}
	return c, nil
}

// addresses checks the addresses of an envelope and returns them as they are
// sent. With international, that is what they are (RFC 6531): a header or the
// part before an @ needs it. Otherwise domains become A-labels, which every
// server on the way understands, whatever this one offers.
func (s *Session) addresses(env Envelope) (from string, to []string, international bool, err error) {
	if len(env.To) == 0 {
		return "", nil, false, &Error{Stage: StageEnvelope, Kind: KindAddress, Err: errors.New("no recipient")}
	}
	why := ""
	if env.UTF8 {
		why = "a header of the message"
	}
	all := append([]string{env.From}, env.To...)
	ascii := slices.Clone(all)
	for i, address := range all {
		if i == 0 && address == "" {
			continue
		}
		if err := checkAddress(address); err != nil {
			return "", nil, false, &Error{Stage: StageEnvelope, Kind: KindAddress, Err: err}
		}
		var ok bool
		if ascii[i], ok = asciiAddress(address); !ok {
			why = fmt.Sprintf("the address %q", address)
		}
	}
	switch {
	case why == "":
		return ascii[0], ascii[1:], false, nil
	case !s.ext.has("SMTPUTF8"):
		return "", nil, false, &Error{Stage: StageEnvelope, Kind: KindUTF8,
			Err: fmt.Errorf("%s needs SMTPUTF8, which the server doesn't offer", why)}
	}
	return all[0], all[1:], true, nil
}

// checkAddress is the last line of defence against an address that would be
// more than one, or a command of its own.
func checkAddress(address string) error {
	bad := func(r rune) bool { return r <= ' ' || r == 0x7f || r == '<' || r == '>' }
	switch {
	case address == "":
		return errors.New("an empty address")
	case !utf8.ValidString(address), strings.ContainsFunc(address, bad):
		return fmt.Errorf("the address %q can't be sent", address)
	}
	return nil
}

// asciiAddress writes the domain of an address in A-labels and says whether
// that was enough.
func asciiAddress(address string) (string, bool) {
	if isASCII(address) {
		return address, true
	}
	at := strings.LastIndexByte(address, '@')
	if at < 0 || !isASCII(address[:at]) {
		return address, false
	}
	domain, err := idna.Lookup.ToASCII(address[at+1:])
	return address[:at+1] + domain, err == nil
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// check says what can't be asked for.
func (d *DSN) check() error {
	for _, word := range d.Notify {
		never := word == "NEVER" && len(d.Notify) == 1
		if !never && word != "SUCCESS" && word != "FAILURE" && word != "DELAY" {
			return fmt.Errorf("notifications can't be asked for with %q", d.Notify)
		}
	}
	if d.Ret != "" && d.Ret != "FULL" && d.Ret != "HDRS" {
		return fmt.Errorf("what notifications return can't be %q", d.Ret)
	}
	if len(d.EnvID) > 100 || strings.ContainsFunc(d.EnvID, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("notifications can't carry %q", cut(d.EnvID, 120))
	}
	return nil
}

// parameters returns those of MAIL and those of each RCPT.
func (d *DSN) parameters() (mail, rcpt string) {
	if d.Ret != "" {
		mail += " RET=" + d.Ret
	}
	if d.EnvID != "" {
		mail += " ENVID=" + xtext(d.EnvID)
	}
	if len(d.Notify) > 0 {
		rcpt = " NOTIFY=" + strings.Join(d.Notify, ",")
	}
	return mail, rcpt
}

// xtext writes text so that it can be the value of a parameter (RFC 3461 §4).
func xtext(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c > ' ' && c <= '~' && c != '+' && c != '=' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "+%02X", c)
		}
	}
	return b.String()
}
