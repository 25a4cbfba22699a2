// SPDX-License-Identifier: GPL-3.0-or-later

package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"submission/family"
)

// Way is how a list says that a server is reached.
type Way string

// The ways. What isn't the direct one counts by itself in the summary.
const (
	Direct Way = ""
	SSL    Way = "ssl" // HOST:465
	SSH    Way = "ssh" // HOST ssh:GATE: as the host GATE sees it
)

// Unknown is the kind of a server of which the list says nothing.
const Unknown = "Unknown"

// Kinds lists the kinds of the paper's first table, in its order.
func Kinds() []string { return []string{"ISP", "ASP", "Company", "University", Unknown} }

// Server is what a line of the list says.
type Server struct {
	Line int    `json:"line"` // counted from 1
	Host string `json:"host"` // as written, without the port
	Way  Way    `json:"way"`
	Gate string `json:"gate"`
	Kind string `json:"kind"` // one of Kinds
}

// Parse reads a list: on each line a HOST, HOST:465 or HOST ssh:GATE, and maybe
// a kind, in any case, with spaces, tabs or commas between. Empty lines, and
// what follows a "#", are passed over. A complaint says what of which line was
// not understood: a word that is nothing else is left out, and the whole line
// where it names no server.
func Parse(lines []string) (servers []Server, complaints []string) {
	for i, line := range lines {
		line, _, _ = strings.Cut(line, "#")
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n,;\u00a0", r) })
		if len(words) == 0 {
			continue
		}
		complain := func(format string, args ...any) {
			complaints = append(complaints, fmt.Sprintf("line %d: ", i+1)+fmt.Sprintf(format, args...))
		}
		s := Server{Line: i + 1, Kind: Unknown}
		var err error
		if s.Host, s.Way, err = host(words[0]); err != nil {
			complain("%v", err)
			continue
		}
		for _, word := range words[1:] {
			if err := s.take(word); err != nil {
				complain("%v", err)
			}
		}
		servers = append(servers, s)
	}
	return servers, complaints
}

// take reads a word that follows the host.
func (s *Server) take(word string) error {
	if gate, ok := cutPrefixFold(word, "ssh:"); ok {
		if _, err := family.ASCII(gate); err != nil {
			return fmt.Errorf("%q doesn't name a host to go through", word)
		}
		s.Way, s.Gate = SSH, gate
		return nil
	}
	for _, kind := range Kinds() {
		if strings.EqualFold(word, kind) {
			s.Kind = kind
			return nil
		}
	}
	return fmt.Errorf("%q is neither a kind of server nor ssh:GATE", word)
}

// host reads the first word of a line.
func host(word string) (name string, way Way, err error) {
	name, port := word, ""
	if i := strings.LastIndexByte(word, ':'); i >= 0 && !strings.HasSuffix(word, "]") && !address(word).IsValid() {
		name, port = word[:i], word[i+1:]
	}
	if _, err := family.ASCII(name); err != nil {
		return "", "", fmt.Errorf("%q is not the name of a server", word)
	}
	switch port {
	case "", "587", "25":
	case "465":
		way = SSL
	default:
		return "", "", fmt.Errorf("%q: only ports 587, 25 and 465 are tried", word)
	}
	return name, way, nil
}

// address is the address that text is, bare or in brackets, or the zero one.
func address(text string) netip.Addr {
	if name, err := family.ASCII(text); err == nil {
		text = name
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return a
}

// key is equal for lines that name the same server. What stands for the machine
// itself is another server behind each gate.
func (s Server) key() string {
	name, err := family.ASCII(s.Host)
	if err != nil {
		name = s.Host
	}
	if s.untried() {
		name += " behind " + strings.ToLower(s.Gate)
	}
	return name
}

// local tells a server that the paper sets aside, as far as its name shows
// that: on this machine or in a home. Behind a gate the name is the gate's to
// understand.
func (s Server) local() bool {
	if s.Way == SSH {
		return false
	}
	a := address(s.Host)
	return localAddress(a) || !a.IsValid() && localName(s.Host)
}

// untried tells a server that can't be tried from here: the name means
// something else behind the gate.
func (s Server) untried() bool {
	return s.Way == SSH && (localName(s.Host) || localAddress(address(s.Host)))
}

// localName tells the names that stand for this machine (RFC 6761), this link
// (RFC 6762) or a home (RFC 8375).
func localName(name string) bool {
	name = "." + strings.ToLower(strings.TrimSuffix(name, "."))
	return slices.ContainsFunc([]string{".localhost", ".localhost.localdomain", ".local", ".home.arpa"},
		func(suffix string) bool { return strings.HasSuffix(name, suffix) })
}

// localAddress tells loopback, link-local and private addresses.
func localAddress(a netip.Addr) bool {
	return a.IsValid() && (a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsUnspecified())
}

// localAddresses tells a server all of whose addresses are local ones.
func localAddresses(all family.Addresses) bool {
	addrs := all.Of("any")
	return len(addrs) > 0 && !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !localAddress(a) })
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}
