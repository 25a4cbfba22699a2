// SPDX-License-Identifier: GPL-3.0-or-later

package family

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"unicode/utf8"

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

// Resolve returns the addresses of host in both families. Host is a name, which
// may have non-ASCII letters (RFC 5890), or an address: IPv4, IPv6, either of
// them in brackets, or the address literals of RFC 5321 §4.1.3. Both families
// are asked for at once. If one of the questions fails, the other's answer
// stands; if neither has an address, the error is a *NameError, with NotFound
// only if that was the answer to both. The limit on time is ctx's and the
// resolver's own.
func Resolve(ctx context.Context, host string) (Addresses, error) {
	return resolve(ctx, net.DefaultResolver, host)
}

func resolve(ctx context.Context, resolver *net.Resolver, host string) (Addresses, error) {
	if ip, ok := literal(host); ok {
		return addressesOf([]netip.Addr{ip}), nil
	}
	name, err := ASCII(host)
	if err != nil {
		return Addresses{}, err
	}
	ipv6 := make(chan answer, 1)
	go func() { ipv6 <- ask(ctx, resolver, "ip6", name) }()
	v4 := ask(ctx, resolver, "ip4", name)
	v6 := <-ipv6
	if ips := append(v4.ips, v6.ips...); len(ips) > 0 {
		return addressesOf(ips), nil
	}
	for _, a := range []answer{v4, v6} {
		if !a.notFound() {
			return Addresses{}, &NameError{Host: host, Err: a.err}
		}
	}
	return Addresses{}, &NameError{Host: host, NotFound: true, Err: v4.err}
}

// An answer is what came of the question for one family.
type answer struct {
	ips []netip.Addr
	err error
}

// notFound reports whether the answer was that there is no such address; other
// errors are the resolver's.
func (a answer) notFound() bool {
	var dns *net.DNSError
	return errors.As(a.err, &dns) && dns.IsNotFound
}

// ask looks up one family and turns a panic into an error.
func ask(ctx context.Context, resolver *net.Resolver, network, name string) (a answer) {
	defer func() {
		if p := recover(); p != nil {
			a = answer{err: fmt.Errorf("bug: panic while looking up: %v", p)}
		}
	}()
	a.ips, a.err = resolver.LookupNetIP(ctx, network, name)
	return a
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
	if utf8.ValidString(name) && strings.IndexFunc(name, func(r rune) bool { return r > 0x7f }) >= 0 {
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
