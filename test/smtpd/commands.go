// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd

import (
	"slices"
	"strconv"
	"strings"
)

// transaction is one mail between MAIL and its end.
type transaction struct {
	from       Path
	to         []Path
	utf8       bool
	data, wire []byte // of BDAT chunks so far
	chunks     int
}

// command carries out one line of the client's.
func (c *conn) command(line string, early bool) error {
	verb, argument, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	at := point{verb, argument}
	if refusal := c.refusal(verb, early); refusal != "" {
		if verb == "BDAT" {
			return c.bdat(argument, line, refusal)
		}
		_, err := c.respond(refusal, line, at)
		return err
	}
	switch verb {
	case "EHLO", "HELO":
		return c.greet(verb, argument, line)
	case "STARTTLS":
		return c.startTLS(argument, line)
	case "AUTH":
		return c.auth(argument, line)
	case "MAIL":
		return c.mailFrom(argument, line)
	case "RCPT":
		return c.rcptTo(argument, line)
	case "DATA":
		return c.data(argument, line)
	case "BDAT":
		return c.bdat(argument, line, "")
	case "RSET":
		c.mail = nil
		_, err := c.respond("250 2.0.0 forgotten", line, at)
		return err
	case "NOOP":
		_, err := c.respond("250 2.0.0 ok", line, at)
		return err
	case "VRFY":
		_, err := c.respond("252 2.5.0 try it and see", line, at)
		return err
	case "QUIT":
		if _, err := c.respond("221 2.0.0 "+c.behaviour.Host+" bye", line, at); err != nil {
			return err
		}
		return errQuit
	}
	_, err := c.respond("500 5.5.1 unknown command", line, at)
	return err
}

// refusal is the reply that keeps a command from being looked at, or "".
func (c *conn) refusal(verb string, early bool) string {
	if verb == "QUIT" {
		return ""
	}
	if c.rejected {
		return "503 5.5.1 no service here"
	}
	if _, ok := c.offered("PIPELINING"); early && !ok && verb != "BDAT" {
		return "503 5.5.0 pipelining was not offered"
	}
	if c.behaviour.RequireTLS && c.tls == nil {
		switch verb {
		case "EHLO", "STARTTLS", "NOOP":
		default:
			return "530 5.7.0 must issue a STARTTLS command first"
		}
	}
	return ""
}

// keywords is what EHLO says at this moment.
func (c *conn) keywords() []string {
	if c.tls != nil {
		return c.behaviour.EHLOTLS
	}
	return c.behaviour.EHLO
}

// offered tells whether a keyword was offered to this client, and its
// parameters.
func (c *conn) offered(keyword string) ([]string, bool) {
	if c.hello != "EHLO" {
		return nil, false
	}
	for _, line := range c.keywords() {
		fields := strings.Fields(line)
		if len(fields) > 0 && strings.EqualFold(fields[0], keyword) {
			return fields[1:], true
		}
	}
	return nil, false
}

// number is the numeric parameter of a keyword such as SIZE, 0 for none.
func (c *conn) number(keyword string) int64 {
	parameters, _ := c.offered(keyword)
	if len(parameters) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(parameters[0], 10, 64)
	return n
}

// limitOf is a limit of the LIMITS keyword (RFC 9422), 0 for none.
func (c *conn) limitOf(name string) int {
	parameters, _ := c.offered("LIMITS")
	for _, p := range parameters {
		if value, ok := strings.CutPrefix(strings.ToUpper(p), name+"="); ok {
			n, _ := strconv.Atoi(value)
			return n
		}
	}
	return 0
}

func (c *conn) greet(verb, argument, line string) error {
	usual := "250 " + c.behaviour.Host
	if verb == "EHLO" {
		usual = multiline("250", append([]string{c.behaviour.Host}, c.keywords()...))
	}
	if argument == "" {
		usual = "501 5.5.4 " + verb + " needs a name"
	}
	code, err := c.respond(usual, line, point{verb, argument})
	if positive(code) {
		c.hello, c.mail = verb, nil
	}
	return err
}

func multiline(code string, lines []string) string {
	var b strings.Builder
	for i, l := range lines {
		switch {
		case i == len(lines)-1:
			b.WriteString(code + " " + l)
		default:
			b.WriteString(code + "-" + l + "\n")
		}
	}
	return b.String()
}

func (c *conn) startTLS(argument, line string) error {
	usual := "220 2.0.0 go ahead"
	switch _, ok := c.offered("STARTTLS"); {
	case argument != "":
		usual = "501 5.5.4 STARTTLS takes no argument"
	case !ok || c.tls != nil:
		usual = "502 5.5.1 STARTTLS is not offered"
	}
	code, err := c.respond(usual, line, point{"STARTTLS", argument})
	if err != nil || code != 220 {
		return err
	}
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.handshake(); err != nil {
		return err
	}
	if c.tls != nil {
		// RFC 3207 section 4.2: both sides forget what came before.
		c.hello, c.authenticated, c.user, c.mail = "", false, "", nil
	}
	return nil
}

func (c *conn) mailFrom(argument, line string) error {
	path, ok := parsePath("FROM:", argument)
	usual := "250 2.1.0 sender ok"
	limit := c.behaviour.MaxMessages
	if n := c.limitOf("MAILMAX"); limit == 0 {
		limit = n
	}
	switch {
	case c.hello == "":
		usual = "503 5.5.1 say EHLO first"
	case limit > 0 && c.mails >= limit:
		usual = "421 4.7.0 too many messages on one connection"
	case c.behaviour.RequireAuth && !c.authenticated:
		usual = "530 5.7.0 authentication required"
	case c.mail != nil:
		usual = "503 5.5.1 one mail at a time"
	case !ok:
		usual = "501 5.1.7 bad sender address"
	default:
		if refusal := c.refuseMail(path); refusal != "" {
			usual = refusal
		}
	}
	code, err := c.respond(usual, line, point{"MAIL", argument})
	if positive(code) {
		c.mails++
		c.mail = &transaction{from: path, utf8: slices.ContainsFunc(path.Parameters, func(p string) bool {
			return strings.EqualFold(p, "SMTPUTF8")
		})}
	}
	return err
}

// refuseMail checks the parameters of MAIL against what was offered.
func (c *conn) refuseMail(path Path) string {
	utf8 := false
	for _, p := range path.Parameters {
		name, value, _ := strings.Cut(strings.ToUpper(p), "=")
		keyword := map[string]string{
			"SIZE": "SIZE", "BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8", "AUTH": "AUTH",
			"RET": "DSN", "ENVID": "DSN", "REQUIRETLS": "REQUIRETLS",
		}[name]
		if p := strings.ToUpper(p); p == "BODY=BINARYMIME" {
			keyword = "BINARYMIME"
		}
		if _, ok := c.offered(keyword); keyword == "" || !ok {
			return "555 5.5.4 " + p + " was not offered"
		}
		switch name {
		case "SIZE":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return "501 5.5.4 bad SIZE"
			}
			if most := c.number("SIZE"); most > 0 && n > most {
				return "552 5.3.4 the message is too large"
			}
		case "BODY":
			if value != "7BIT" && value != "8BITMIME" && value != "BINARYMIME" {
				return "501 5.5.4 bad BODY"
			}
		case "RET":
			if value != "FULL" && value != "HDRS" {
				return "501 5.5.4 bad RET"
			}
		case "SMTPUTF8":
			utf8 = true
		case "REQUIRETLS":
			if c.tls == nil {
				return "530 5.7.10 REQUIRETLS needs TLS"
			}
		}
	}
	if !ascii(path.Address) && !utf8 {
		return "553 5.6.7 the address needs SMTPUTF8"
	}
	return ""
}

func (c *conn) rcptTo(argument, line string) error {
	path, ok := parsePath("TO:", argument)
	usual := "250 2.1.5 recipient ok"
	switch {
	case c.mail == nil:
		usual = "503 5.5.1 say MAIL first"
	case !ok || path.Address == "":
		usual = "501 5.1.3 bad recipient address"
	default:
		if refusal := c.refuseRcpt(path); refusal != "" {
			usual = refusal
		}
	}
	code, err := c.respond(usual, line, point{"RCPT", argument})
	if positive(code) && c.mail != nil {
		c.mail.to = append(c.mail.to, path)
	}
	return err
}

// refuseRcpt checks a recipient and its parameters against what was offered.
func (c *conn) refuseRcpt(path Path) string {
	for _, p := range path.Parameters {
		name, _, _ := strings.Cut(strings.ToUpper(p), "=")
		_, dsn := c.offered("DSN")
		if !dsn || name != "NOTIFY" && name != "ORCPT" {
			return "555 5.5.4 " + p + " was not offered"
		}
	}
	if !ascii(path.Address) && !c.mail.utf8 {
		return "553 5.6.7 the address needs SMTPUTF8"
	}
	if most := c.limitOf("RCPTMAX"); most > 0 && len(c.mail.to) >= most {
		return "452 4.5.3 too many recipients"
	}
	domains := map[string]bool{domainOf(path.Address): true}
	for _, p := range c.mail.to {
		domains[domainOf(p.Address)] = true
	}
	if most := c.limitOf("RCPTDOMAINMAX"); most > 0 && len(domains) > most {
		return "452 4.5.3 too many domains"
	}
	return ""
}

func domainOf(address string) string {
	return strings.ToLower(address[strings.LastIndex(address, "@")+1:])
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 127 })
}

// parsePath reads "FROM:<address> PARAMETER..." (RFC 5321 section 4.1.2),
// strictly: no space after the colon, and the brackets are needed. A quoted
// local part may hold ">" and spaces.
func parsePath(prefix, argument string) (Path, bool) {
	if len(argument) < len(prefix) || !strings.EqualFold(argument[:len(prefix)], prefix) {
		return Path{}, false
	}
	rest, ok := strings.CutPrefix(argument[len(prefix):], "<")
	if !ok {
		return Path{}, false
	}
	end := closing(rest)
	if end < 0 {
		return Path{}, false
	}
	path := Path{Address: rest[:end]}
	rest = rest[end+1:]
	if rest == "" {
		return path, true
	}
	if rest[0] != ' ' {
		return Path{}, false
	}
	path.Parameters = strings.Fields(rest)
	return path, true
}

// closing is where the path's ">" stands, or -1.
func closing(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; {
		case quoted && ch == '\\':
			i++
		case ch == '"':
			quoted = !quoted
		case quoted:
		case ch == '>':
			return i
		case ch <= ' ' || ch == 127:
			return -1
		}
	}
	return -1
}
