// SPDX-License-Identifier: GPL-3.0-or-later

package family

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// NameError says why a host has no addresses. Exactly one of three things is
// the matter: the text can't be a host name (Invalid), the name server says
// that there is no such name or that it has no address (NotFound), or no name
// server gave an answer (neither is set; trying again later may help).
type NameError struct {
	Host     string // as it was given
	NotFound bool
	Invalid  bool
	Err      error
}

func (e *NameError) Error() string {
	switch {
	case e.Invalid:
		return fmt.Sprintf("%q is not a host name: %v", e.Host, e.Err)
	case e.NotFound:
		return fmt.Sprintf("no such name: %s", e.Host)
	}
	return fmt.Sprintf("can't look up %s: %v", e.Host, e.Err)
}

func (e *NameError) Unwrap() error { return e.Err }

// Resolve returns the addresses of host in both families at once. Host is a
// name, which may have non-ASCII letters (RFC 5890), or an address: IPv4, IPv6,
// either of them in brackets, or the address literals of RFC 5321 §4.1.3. A
// failure is a *NameError. The limit on time is ctx's, and the resolver's own.
func Resolve(ctx context.Context, host string) (Addresses, error) {
	if ip, ok := literal(host); ok {
		return addressesOf([]netip.Addr{ip}), nil
	}
	name, err := ASCII(host)
	if err != nil {
		return Addresses{}, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		var dns *net.DNSError
		notFound := errors.As(err, &dns) && dns.IsNotFound
		return Addresses{}, &NameError{Host: host, NotFound: notFound, Err: err}
	}
	return addressesOf(ips), nil
}

// ASCII returns the form of a host name that goes on the wire and stands in
// certificates: A-labels, in lower case, without a final dot. Addresses come
// back as they are, without brackets. An error is a *NameError with Invalid set.
func ASCII(host string) (string, error) {
	if ip, ok := literal(host); ok {
		return ip.String(), nil
	}
	name := strings.TrimSuffix(host, ".")
	// The checks of RFC 5891 are for names with other letters than ASCII; a
	// plain name is left to the name server, who may know an underscore.
	if strings.IndexFunc(name, func(r rune) bool { return r > 0x7f }) >= 0 {
		var err error
		if name, err = idna.Lookup.ToASCII(name); err != nil {
			return "", &NameError{Host: host, Invalid: true, Err: err}
		}
	}
	if err := checkName(name); err != nil {
		return "", &NameError{Host: host, Invalid: true, Err: err}
	}
	return strings.ToLower(name), nil
}

// checkName returns nil if name can be asked of a name server (RFC 1035 §2.3.4).
func checkName(name string) error {
	if name == "" {
		return errors.New("it is empty")
	}
	if len(name) > 253 {
		return errors.New("it is too long")
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return errors.New("the parts between dots have 1 to 63 letters")
		}
	}
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
		default:
			return fmt.Errorf("%q can't stand in it", r)
		}
	}
	return nil
}

// literal reads an address: bare, in brackets, or with the tag of RFC 5321.
func literal(host string) (netip.Addr, bool) {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if host, ok = strings.CutSuffix(inner, "]"); !ok {
			return netip.Addr{}, false
		}
		if len(host) > 5 && strings.EqualFold(host[:5], "IPv6:") {
			host = host[5:]
		}
	}
	ip, err := netip.ParseAddr(host)
	return ip.Unmap(), err == nil
}
