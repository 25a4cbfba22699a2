// SPDX-License-Identifier: GPL-3.0-or-later

package fallback

import (
	"fmt"
	"slices"
)

// Family is the address family of a step.
type Family string

// The families. Any stands for both, in the order of RFC 8305.
const (
	IPv4 Family = "ipv4"
	IPv6 Family = "ipv6"
	Any  Family = "any"
)

// The ports of mail submission.
const (
	SMTP        = 25  // RFC 5321
	Submissions = 465 // RFC 8314: implicit TLS
	Submission  = 587 // RFC 6409
)

// Step is one thing to try: a port over an address family.
type Step struct {
	Family Family `json:"family"`
	Port   int    `json:"port"`
}

func (s Step) String() string { return fmt.Sprintf("%s %d", s.Family, s.Port) }

// Named returns the steps of a sequence that has a name: "mew", the paper's
// algorithm; "ipv6-first", the same with IPv6 587 put before it; "symmetric",
// the paper's Appendix A. The second result is false for any other name.
func Named(name string) ([]Step, bool) {
	switch name {
	case "mew":
		return []Step{{IPv4, Submission}, {IPv4, SMTP}}, true
	case "ipv6-first":
		return []Step{{IPv6, Submission}, {IPv4, Submission}, {IPv4, SMTP}}, true
	case "symmetric":
		return []Step{{IPv6, Submission}, {IPv4, Submission}, {IPv6, SMTP}, {IPv4, SMTP}}, true
	}
	return nil, false
}

// Explicit returns the one step for a port that the user named: it is tried
// over both families and never falls back. Port 465 is always meant so.
func Explicit(port int) []Step { return []Step{{Any, port}} }

// Available returns the steps of seq whose family is there, as has tells for
// IPv4 and IPv6; has should be true for a family that both the server and this
// machine have. Where that leaves nothing of a named sequence, the same ports
// are returned over the other family, so that a user with only IPv6 is not
// stranded by a sequence of IPv4 alone.
func Available(seq []Step, named bool, has func(Family) bool) []Step {
	there := func(f Family) bool {
		if f == Any {
			return has(IPv4) || has(IPv6)
		}
		return has(f)
	}
	var steps []Step
	for _, s := range seq {
		if there(s.Family) {
			steps = append(steps, s)
		}
	}
	if len(steps) > 0 || !named {
		return steps
	}
	for _, s := range seq {
		o := Step{s.Family.other(), s.Port}
		if there(o.Family) && !slices.Contains(steps, o) {
			steps = append(steps, o)
		}
	}
	return steps
}

func (f Family) other() Family {
	switch f {
	case IPv4:
		return IPv6
	case IPv6:
		return IPv4
	}
	return f
}
