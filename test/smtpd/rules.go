// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// The points of a dialogue at which a rule may act besides the verbs.
const (
	onAny      = "*"        // every line of the client's, argument: the line
	onConnect  = "CONNECT"  // accepted, before TLS; argument: the peer's address
	onGreeting = "GREETING" // before the greeting
	onTLS      = "TLS"      // before a handshake
	onResponse = "RESPONSE" // a client's line within AUTH, argument: the line
	onAuthEnd  = "AUTH-END" // AUTH is decided, argument: "MECHANISM USER ok|bad"
	onBody     = "BODY"     // within DATA or BDAT, after so many bytes
	onDot      = "DOT"      // a message has come, argument: the message
	onSent     = "SENT"     // so many bytes were said
	onWire     = "WIRE"     // so many bytes were written, TLS's own included
)

// rule is a checked Rule with its count over the whole server.
type rule struct {
	Rule
	match *regexp.Regexp

	mu    sync.Mutex
	count int
}

func compileRules(list []Rule) ([]*rule, error) {
	var out []*rule
	for i, r := range list {
		c, err := compileRule(r)
		if err != nil {
			return nil, fmt.Errorf("script: rule %d: %w", i+1, err)
		}
		out = append(out, c)
	}
	return out, nil
}

func compileRule(r Rule) (*rule, error) {
	r.On = strings.ToUpper(r.On)
	if r.On == "" {
		return nil, fmt.Errorf("on is missing")
	}
	for _, e := range []End{r.Instead, r.Then} {
		switch e {
		case "", Nothing, CloseConn, Cut, Reset, Silence, Stall:
		default:
			return nil, fmt.Errorf("no such end: %q", e)
		}
	}
	if r.Then == Nothing {
		return nil, fmt.Errorf("then needs an end; nothing is for instead")
	}
	if r.Flood != "" && r.Then != "" {
		return nil, fmt.Errorf("a flood has no end, so then never comes")
	}
	switch r.Per {
	case "", "server", "session":
	default:
		return nil, fmt.Errorf("per is \"server\" or \"session\", not %q", r.Per)
	}
	switch r.On {
	case onBody, onSent, onWire:
		if r.Instead == Nothing || r.Instead == "" && r.Then == "" {
			return nil, fmt.Errorf("%s needs an end", r.On)
		}
		if r.Match != "" || r.TLS != nil || r.Reply != nil || r.Raw != "" || r.Flood != "" {
			return nil, fmt.Errorf("%s takes only from, times, per, after, delay and an end", r.On)
		}
	default:
		if r.After != 0 {
			return nil, fmt.Errorf("after is for BODY, SENT and WIRE")
		}
	}
	if r.From == 0 {
		r.From = 1
	}
	m, err := regexp.Compile("(?i)" + r.Match)
	if err != nil {
		return nil, err
	}
	return &rule{Rule: r, match: m}, nil
}

// speaks tells whether the rule has words of its own.
func (r *rule) speaks() bool { return r.Reply != nil || r.Raw != "" || r.Flood != "" }

// text is what the rule says before any flood.
func (r *rule) text() string {
	var b strings.Builder
	for _, l := range r.Reply {
		b.WriteString(l + "\r\n")
	}
	return b.String() + r.Raw
}

// takes counts one fit and tells whether the rule acts on it.
func (r *rule) takes(session map[*rule]int) bool {
	var n int
	if r.Per == "session" {
		session[r]++
		n = session[r]
	} else {
		r.mu.Lock()
		r.count++
		n = r.count
		r.mu.Unlock()
	}
	return n >= r.From && (r.Times == 0 || n < r.From+r.Times)
}

// A point is a place of the dialogue with what a rule's Match is tried on. One
// reply can belong to two points: the last line of AUTH is a RESPONSE and the
// AUTH-END.
type point struct{ on, argument string }

// find returns the rule that acts at one of the points, or nil. For a line of
// the client's, line is the whole of it and rules on "*" fit too; elsewhere
// line is "". Only rules that are tried are counted: one that comes after the
// rule that acts is not.
func (c *conn) find(line string, points ...point) *rule {
	underTLS := c.tls != nil
	for _, r := range c.behaviour.rules {
		if r.TLS != nil && *r.TLS != underTLS {
			continue
		}
		if r.fits(line, points) && r.takes(c.counts) {
			return r
		}
	}
	return nil
}

func (r *rule) fits(line string, points []point) bool {
	if r.On == onAny {
		return line != "" && r.match.MatchString(line)
	}
	for _, p := range points {
		if r.On == p.on && r.match.MatchString(p.argument) {
			return true
		}
	}
	return false
}
