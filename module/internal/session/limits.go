// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"strconv"
	"strings"
)

// defaultRecipients is how many recipients a server takes at least (RFC 5321
// §4.5.3.1.8), and often at most.
const defaultRecipients = 100

// MaxRecipients is how many recipients to name in one transaction: as many as
// the server says that it takes (RCPTMAX of RFC 9422), or 100.
func (s *Session) MaxRecipients() int {
	if n := s.limit("RCPTMAX"); n > 0 {
		return n
	}
	return defaultRecipients
}

// MaxDomains is to how many domains the recipients of one transaction may
// belong (RCPTDOMAINMAX of RFC 9422); 0 where the server says nothing.
func (s *Session) MaxDomains() int { return s.limit("RCPTDOMAINMAX") }

// MaxTransactions is how many transactions the server takes over one
// connection (MAILMAX of RFC 9422); 0 where it says nothing.
func (s *Session) MaxTransactions() int { return s.limit("MAILMAX") }

// limit is what the server says of a limit; 0 for nothing that makes sense.
func (s *Session) limit(name string) int {
	for _, limit := range s.ext["LIMITS"] {
		if value, ok := strings.CutPrefix(limit, name+"="); ok {
			if n, err := strconv.Atoi(value); err == nil && n > 0 && n < 1_000_000 {
				return n
			}
		}
	}
	return 0
}
