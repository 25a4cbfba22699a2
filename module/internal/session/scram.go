// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

// The variants of SCRAM (RFC 5802, RFC 7677) that we know.
const (
	scramSHA256Plus = "SCRAM-SHA-256-PLUS"
	scramSHA256     = "SCRAM-SHA-256"
	scramSHA1       = "SCRAM-SHA-1"
)

// maxIterations is how much work a server may ask of us for one AUTH: about a
// second of it. Usual are 4096 to 600000.
const maxIterations = 1_000_000

// ErrServerProof is wrapped by the error of a session whose server said yes to
// SCRAM, or was about to, without having shown that it knows the password
// itself: it may be anybody.
var ErrServerProof = errors.New("the server can't prove that it knows the password")

// scramClient is SCRAM in any variant. The library does the mathematics; what
// a server may ask for, and when it has proved itself, is watched here.
type scramClient struct {
	name     string
	talk     *scram.ClientConversation
	answered bool // the server's first message, and so the next is its last
}

// newSCRAM refuses a user name or password that RFC 4013 doesn't allow.
func (s *Session) newSCRAM(name string, hash scram.HashGeneratorFcn, cred *Credentials) (*scramClient, error) {
	client, err := hash.NewClient(cred.User, cred.Password, "")
	if err != nil { // which may tell of the password
		return nil, errors.New("the user name or password has characters that SCRAM doesn't allow")
	}
	c := &scramClient{name: name}
	binding, bindable := s.channelBinding()
	switch {
	case name == scramSHA256Plus:
		c.talk = client.NewConversationWithChannelBinding(binding)
	case bindable && s.wants(scramSHA256Plus) && !slices.ContainsFunc(s.ext["AUTH"], isPlus):
		// Says that we could have bound, which a server that can too takes for
		// the work of somebody who cut its -PLUS out (RFC 5802 §6).
		c.talk = client.NewConversationAdvertisingChannelBinding()
	default:
		c.talk = client.NewConversation()
	}
	return c, nil
}

func isPlus(mechanism string) bool {
	return strings.HasPrefix(mechanism, "SCRAM-") && strings.HasSuffix(mechanism, "-PLUS")
}

// channelBinding ties an exchange to this TLS connection: tls-exporter (RFC
// 9266) with TLS 1.3, tls-server-end-point (RFC 5929) with TLS 1.2.
func (s *Session) channelBinding() (scram.ChannelBinding, bool) {
	conn, ok := s.w.conn.(*tls.Conn)
	if !ok {
		return scram.ChannelBinding{}, false
	}
	state := conn.ConnectionState()
	bind := scram.NewTLSServerEndpointBinding
	if state.Version >= tls.VersionTLS13 {
		bind = scram.NewTLSExporterBinding
	}
	binding, err := bind(&state)
	return binding, err == nil
}

func (c *scramClient) Start() (string, []byte, error) {
	first, err := c.talk.Step("")
	return c.name, []byte(first), err
}

func (c *scramClient) Next(challenge []byte) ([]byte, error) {
	text := string(challenge)
	switch why, refused := strings.CutPrefix(text, "e="); {
	case c.answered && refused:
		return nil, fmt.Errorf("%s: the server says %q", c.name, cut(printable([]byte(why)), 80))
	case c.answered:
		if _, err := c.talk.Step(text); err != nil {
			return nil, ErrServerProof
		}
		return []byte{}, nil
	}
	c.answered = true
	if err := checkIterations(text); err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	answer, err := c.talk.Step(text)
	if err != nil { // which may quote the server at any length
		return nil, fmt.Errorf("%s: %s", c.name, cut(printable([]byte(err.Error())), 120))
	}
	return []byte(answer), nil
}

// proved says whether the server has shown that it knows the password.
func (c *scramClient) proved() bool { return c.talk.Valid() }

// checkIterations looks only for too many; the library does for too few.
func checkIterations(first string) error {
	for _, field := range strings.Split(first, ",") {
		if value, ok := strings.CutPrefix(field, "i="); ok {
			if n, err := strconv.Atoi(value); err != nil || n > maxIterations {
				return fmt.Errorf("the server asks for %s iterations", cut(printable([]byte(value)), 20))
			}
		}
	}
	return nil
}
