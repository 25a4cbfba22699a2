// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"context"
	"fmt"
	"net"
	"strings"
)

// extensions are the keywords of a reply to EHLO and their parameters, all in
// upper case.
type extensions map[string][]string

func (e extensions) has(keyword string) bool {
	_, ok := e[keyword]
	return ok
}

// parseExtensions reads the lines of the reply, the first of which is the
// server's name. "AUTH=LOGIN" is an old way to say "AUTH LOGIN"; servers that
// say it say both.
func parseExtensions(lines []string) extensions {
	e := extensions{}
	for _, line := range lines[1:] {
		words := strings.Fields(strings.ToUpper(line))
		if len(words) == 0 {
			continue
		}
		keyword, params := words[0], words[1:]
		if mechanism, old := strings.CutPrefix(keyword, "AUTH="); old {
			keyword, params = "AUTH", append(params, mechanism)
		}
		e[keyword] = append(e[keyword], params...)
	}
	return e
}

// hello says EHLO, and HELO where a server knows no better (codes seen in the
// field), and takes note of what is offered now, forgetting what was before.
func (s *Session) hello(ctx context.Context) error {
	s.ext, s.name = nil, ""
	name := s.cfg.EHLO
	if name == "" {
		name = addressLiteral(s.w.raw.LocalAddr())
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		s.Abort()
		return &Error{Stage: StageHello, Kind: KindAddress, Err: fmt.Errorf("%q can't be our name in EHLO", name)}
	}
	reply, err := s.command(ctx, StageHello, s.limits.Command, "EHLO "+name)
	if err != nil {
		return err
	}
	switch reply.Code {
	case 250:
		s.ext = parseExtensions(reply.Lines)
		s.name, _, _ = strings.Cut(reply.Lines[0], " ")
		s.offered = s.ext.has("STARTTLS")
		return nil
	case 500, 501, 502, 504, 550:
		if reply, err = s.command(ctx, StageHello, s.limits.Command, "HELO "+name); err != nil {
			return err
		}
		if reply.Code == 250 {
			s.name, _, _ = strings.Cut(reply.Lines[0], " ")
			return nil
		}
	}
	return s.refused(StageHello, reply)
}

// addressLiteral is our name where we have none (RFC 5321 §4.1.3).
func addressLiteral(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	switch {
	case !ok:
		return "localhost"
	case tcp.IP.To4() != nil:
		return "[" + tcp.IP.String() + "]"
	default:
		return "[IPv6:" + tcp.IP.String() + "]"
	}
}
