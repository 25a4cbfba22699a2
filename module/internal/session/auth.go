// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
)

// maxCommand is the longest command line without its line end (RFC 5321
// §4.5.3.1.4). An initial response that doesn't fit is sent as an answer
// (RFC 4954 §4).
const maxCommand = 510

// Credentials are what we can prove who we are with. They are held in memory
// only and appear in no error and no trace.
type Credentials struct {
	User, Password string
}

// mechanism is one way to authenticate.
type mechanism struct {
	name    string
	reveals bool // what crosses the wire is the secret itself, or as good
	client  func(*Credentials) sasl.Client
}

// mechanisms are those we know, best first.
func mechanisms() []mechanism {
	return []mechanism{
		{sasl.Plain, true, func(c *Credentials) sasl.Client { return sasl.NewPlainClient("", c.User, c.Password) }},
		{sasl.Login, true, func(c *Credentials) sasl.Client { return &loginClient{answers: []string{c.User, c.Password}} }},
	}
}

// usable returns the mechanisms to try in order, or an error that says why
// there are none.
func (s *Session) usable() ([]mechanism, error) {
	known := mechanisms()
	preferred := s.cfg.Mechanisms
	if preferred == nil {
		for _, m := range known {
			preferred = append(preferred, m.name)
		}
	}
	why := errors.New("no mechanism that both sides can use, the server offers: " + strings.Join(s.ext["AUTH"], " "))
	var usable []mechanism
	for _, name := range preferred {
		i := slices.IndexFunc(known, func(m mechanism) bool { return strings.EqualFold(m.name, name) })
		switch {
		case i < 0 || !slices.Contains(s.ext["AUTH"], known[i].name):
		case known[i].reveals && !s.mayReveal():
			why = errors.New("a password is not sent in the clear to another machine")
		default:
			usable = append(usable, known[i])
		}
	}
	if len(usable) == 0 {
		return nil, why
	}
	return usable, nil
}

// mayReveal says whether a secret may be sent as it is: under verified TLS, or
// where the user asked for no TLS, to this machine or because the user said so.
func (s *Session) mayReveal() bool {
	if s.tls == "verified" {
		return true
	}
	if s.cfg.Security != Plain {
		return false
	}
	peer, ok := s.w.raw.RemoteAddr().(*net.TCPAddr)
	return s.cfg.AllowCleartextAuth || ok && peer.IP.IsLoopback()
}

// auth authenticates with the first mechanism that the server takes. After 504
// and 534 the next one is tried; every other refusal is final.
func (s *Session) auth(ctx context.Context, cred *Credentials) error {
	if !s.ext.has("AUTH") || s.tls != "verified" && s.cfg.Security != Plain {
		return nil
	}
	usable, err := s.usable()
	if err != nil {
		return &Error{Stage: StageAuth, Kind: KindAuth, Err: err}
	}
	if strings.ContainsRune(cred.User+cred.Password, 0) {
		return &Error{Stage: StageAuth, Kind: KindAuth, Err: errors.New("a NUL in the user name or password")}
	}
	s.w.secrets = []string{cred.Password}
	defer func() { s.w.secrets = nil }()
	var reply Reply
	for _, m := range usable {
		if reply, err = s.authenticate(ctx, m.client(cred)); err != nil {
			return err
		}
		if reply.class() == 2 {
			return nil
		}
		if reply.Code != 504 && reply.Code != 534 {
			break
		}
	}
	return s.refused(StageAuth, reply)
}

// authenticate plays one mechanism to its end (RFC 4954 §4) and returns the
// reply that ended it, 2xx for success.
func (s *Session) authenticate(ctx context.Context, client sasl.Client) (Reply, error) {
	name, response, err := client.Start()
	if err != nil {
		return Reply{}, &Error{Stage: StageAuth, Kind: KindAuth, Err: err}
	}
	line, shown := "AUTH "+name, "AUTH "+name
	ready := response != nil // response waits to be sent as an answer
	if ready {
		text := s.encode(response)
		if text == "" {
			text = "="
		}
		if len(line)+1+len(text) <= maxCommand {
			line, shown, ready = line+" "+text, shown+" ***", false
		}
	}
	for {
		reply, err := s.hidden(ctx, StageAuth, s.limits.Command, line, shown)
		if err != nil || reply.class() != 3 {
			return reply, err
		}
		if reply.Code != 334 {
			return reply, s.refused(StageAuth, reply)
		}
		if !ready {
			challenge, err := base64.StdEncoding.DecodeString(strings.Join(reply.Lines, ""))
			if err == nil {
				response, err = client.Next(challenge)
			}
			if err != nil {
				return s.giveUp(ctx, err)
			}
		}
		line, shown, ready = s.encode(response), "***", false
	}
}

// giveUp ends an exchange that we can't go on with (RFC 4954 §4: "*").
func (s *Session) giveUp(ctx context.Context, why error) (Reply, error) {
	reply, err := s.command(ctx, StageAuth, s.limits.Command, "*")
	if err != nil {
		return reply, err
	}
	if reply.class() < 4 {
		return reply, s.refused(StageAuth, reply)
	}
	return reply, &Error{Stage: StageAuth, Kind: KindAuth, Reply: reply, Err: why}
}

// encode makes a response fit for the wire and sees to it that the server's
// words don't show it again.
func (s *Session) encode(response []byte) string {
	text := base64.StdEncoding.EncodeToString(response)
	s.w.secrets = append(s.w.secrets, text)
	return text
}

// loginClient is LOGIN for servers that word their prompts as they please: the
// first question is for the user, the second for the password.
type loginClient struct{ answers []string }

func (c *loginClient) Start() (string, []byte, error) { return sasl.Login, nil, nil }

func (c *loginClient) Next([]byte) ([]byte, error) {
	if len(c.answers) == 0 {
		return nil, sasl.ErrUnexpectedServerChallenge
	}
	answer := c.answers[0]
	c.answers = c.answers[1:]
	return []byte(answer), nil
}
