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
	"github.com/xdg-go/scram"
)

// maxCommand is the longest command line without its line end (RFC 5321
// §4.5.3.1.4). An initial response that doesn't fit is sent as an answer
// (RFC 4954 §4).
const maxCommand = 510

// Credentials are what we can prove who we are with, besides a client
// certificate. What is empty is not there. They are held in memory only and
// appear in no error and no trace; a session keeps none of them when Start has
// returned, and overwrites what it wrote to the connection. The strings
// themselves can't be overwritten in Go: they go when nobody holds them and the
// garbage collector has been.
type Credentials struct {
	User     string
	Password string
	Token    string // a bearer token (RFC 6750) for OAUTHBEARER and XOAUTH2
	Identity string // the authorization identity of PLAIN (RFC 4616); "": the server derives it
}

// ErrToken is wrapped by the error of kind auth of a server that refused the
// bearer token: another one may do.
var ErrToken = errors.New("the bearer token was refused")

// mechanism is one way to authenticate.
type mechanism struct {
	name    string
	reveals bool // what crosses the wire is the secret itself, or as good
	needs   need
	client  func(*Session, *Credentials) (sasl.Client, error)
}

// need is what a mechanism shows, or shows to know.
type need int

const (
	needPassword need = iota
	needToken
	needCertificate
	needBinding // and a password
)

// mechanisms are those we know, best first.
func mechanisms() []mechanism {
	hashed := func(name string, hash scram.HashGeneratorFcn) func(*Session, *Credentials) (sasl.Client, error) {
		return func(s *Session, c *Credentials) (sasl.Client, error) { return s.newSCRAM(name, hash, c) }
	}
	simple := func(f func(*Credentials) sasl.Client) func(*Session, *Credentials) (sasl.Client, error) {
		return func(_ *Session, c *Credentials) (sasl.Client, error) { return f(c), nil }
	}
	return []mechanism{
		{sasl.External, false, needCertificate, simple(func(c *Credentials) sasl.Client { return sasl.NewExternalClient(c.User) })},
		{scramSHA256Plus, false, needBinding, hashed(scramSHA256Plus, scram.SHA256)},
		{scramSHA256, false, needPassword, hashed(scramSHA256, scram.SHA256)},
		{scramSHA1, false, needPassword, hashed(scramSHA1, scram.SHA1)},
		{sasl.OAuthBearer, true, needToken, simple(func(c *Credentials) sasl.Client { return newOAuthBearer(c.User, c.Token) })},
		{xoauth2, true, needToken, simple(func(c *Credentials) sasl.Client { return newXOAuth2(c.User, c.Token) })},
		{cramMD5, false, needPassword, simple(func(c *Credentials) sasl.Client { return &cramClient{user: c.User, password: c.Password} })},
		{sasl.Plain, true, needPassword, simple(func(c *Credentials) sasl.Client { return sasl.NewPlainClient(c.Identity, c.User, c.Password) })},
		{sasl.Login, true, needPassword, simple(func(c *Credentials) sasl.Client { return &loginClient{answers: []string{c.User, c.Password}} })},
	}
}

// usable returns the mechanisms to try in order, or an error that says why
// there are none.
func (s *Session) usable(cred *Credentials) ([]mechanism, error) {
	known := mechanisms()
	preferred := s.cfg.Mechanisms
	if len(preferred) == 0 {
		for _, m := range known {
			preferred = append(preferred, m.name)
		}
	}
	why := errors.New("there is nothing to show for any mechanism that both sides can use, the server offers: " +
		cut(strings.Join(s.ext["AUTH"], " "), 200))
	var usable []mechanism
	for _, name := range preferred {
		i := slices.IndexFunc(known, func(m mechanism) bool { return strings.EqualFold(m.name, name) })
		switch {
		case i < 0 || !slices.Contains(s.ext["AUTH"], known[i].name) || !s.has(known[i].needs, cred):
		case known[i].reveals && !s.mayReveal():
			why = errors.New("no password or token is sent in the clear to another machine")
		default:
			usable = append(usable, known[i])
		}
	}
	if len(usable) == 0 {
		return nil, why
	}
	return usable, nil
}

// wants says whether a mechanism is on the list of those to use.
func (s *Session) wants(name string) bool {
	return len(s.cfg.Mechanisms) == 0 ||
		slices.ContainsFunc(s.cfg.Mechanisms, func(m string) bool { return strings.EqualFold(m, name) })
}

// has says whether there is what a mechanism needs.
func (s *Session) has(n need, cred *Credentials) bool {
	switch n {
	case needToken:
		return cred.Token != ""
	case needCertificate:
		return s.shown
	case needBinding:
		_, ok := s.channelBinding()
		return ok && cred.Password != ""
	}
	return cred.Password != ""
}

// mayReveal says whether a secret may be sent as it is: to a peer that TLS has
// proved, or where the user asked for no TLS, to this machine or because the
// user said so.
func (s *Session) mayReveal() bool {
	if s.trusted() {
		return true
	}
	if s.cfg.Security != Plain {
		return false
	}
	peer, ok := s.w.raw.RemoteAddr().(*net.TCPAddr)
	return s.cfg.AllowCleartextAuth || ok && peer.IP.IsLoopback() && !s.cfg.Tunnelled
}

// auth authenticates with the first mechanism that the server takes. After 504
// and 534 the next one is tried; every other refusal is final, but for one: a
// server that keeps passwords as hashes can't do CRAM-MD5 and says 535, so
// that is followed by PLAIN or LOGIN where the peer is proved.
func (s *Session) auth(ctx context.Context, cred *Credentials) error {
	if !s.ext.has("AUTH") || !s.trusted() && s.cfg.Security != Plain {
		return nil
	}
	if cred == nil && s.cfg.Ask != nil {
		if cred = s.cfg.Ask(ctx, s.ext["AUTH"]); cred == nil {
			return &Error{Stage: StageAuth, Kind: KindAuth, Err: errors.New("no password was given")}
		}
	}
	if cred == nil {
		cred = &Credentials{}
	}
	usable, err := s.usable(cred)
	switch {
	case err != nil && *cred == Credentials{}:
		return nil
	case err != nil:
		return &Error{Stage: StageAuth, Kind: KindAuth, Err: err}
	case !cred.sendable():
		return &Error{Stage: StageAuth, Kind: KindAuth, Err: errors.New("a control character in the user name, password or token")}
	}
	s.w.secrets.add(cred.Password)
	s.w.secrets.add(cred.Token)
	defer s.w.secrets.forget()

	var last *Error
	for len(usable) > 0 {
		m := usable[0]
		usable = usable[1:]
		client, err := m.client(s, cred)
		if err != nil {
			last = &Error{Stage: StageAuth, Kind: KindAuth, Err: err}
			continue
		}
		reply, err := s.authenticate(ctx, client)
		switch {
		case err != nil:
			return err
		case reply.class() == 2:
			return nil
		}
		last = s.refused(StageAuth, reply)
		switch {
		case reply.Code == 504, reply.Code == 534:
		case reply.Code == 535 && m.name == cramMD5 && s.trusted():
			usable = slices.DeleteFunc(usable, func(m mechanism) bool { return m.name != sasl.Plain && m.name != sasl.Login })
		case m.needs == needToken && last.Kind == KindAuth && reply.Code != 530 && reply.Code != 538:
			last.Err = ErrToken
			return last
		default:
			return last
		}
	}
	return last
}

// sendable says whether every mechanism leaves the credentials what they are:
// PLAIN ends a name with NUL, the bearer ones end a field with a control
// character.
func (c *Credentials) sendable() bool {
	control := func(r rune) bool { return r < ' ' }
	return strings.IndexByte(c.User+c.Identity, 0) < 0 && strings.IndexByte(c.Password, 0) < 0 &&
		(c.Token == "" || !strings.ContainsFunc(c.Token, control) && !strings.ContainsFunc(c.User, control))
}

// authenticate plays one mechanism to its end (RFC 4954 §4) and returns the
// reply that ended it, 2xx for success.
func (s *Session) authenticate(ctx context.Context, client sasl.Client) (Reply, error) {
	name, response, err := client.Start()
	if err != nil {
		return Reply{}, &Error{Stage: StageAuth, Kind: KindAuth, Err: err}
	}
	line, shown := []byte("AUTH "+name), "AUTH "+name
	ready := response != nil // response waits to be sent as an answer
	if ready && len(line)+len(" ")+base64.StdEncoding.EncodedLen(len(response)) <= maxCommand {
		text := s.encode(response)
		line, shown, ready = slices.Concat(line, []byte(" "), text), shown+" ***", false
		clear(text)
		if len(text) == 0 {
			line = append(line, '=')
		}
	}
	for {
		reply, err := s.hidden(ctx, StageAuth, s.limits.Command, line, shown)
		clear(line)
		switch {
		case err != nil:
			return reply, err
		case reply.class() == 2:
			return reply, s.proof(client)
		case reply.class() != 3:
			return reply, nil
		case reply.Code != 334:
			return reply, s.refused(StageAuth, reply)
		}
		if !ready {
			challenge, err := base64.StdEncoding.DecodeString(reply.challenge)
			if err == nil {
				response, err = client.Next(challenge)
			}
			if errors.Is(err, ErrServerProof) {
				return reply, s.impostor()
			}
			if err != nil {
				return s.giveUp(ctx, err)
			}
		}
		line, shown, ready = s.encode(response), "***", false
	}
}

// proof looks at a server that says yes: with SCRAM it must have shown before
// that it knows the password too.
func (s *Session) proof(client sasl.Client) error {
	if c, ok := client.(*scramClient); ok && !c.proved() {
		return s.impostor()
	}
	return nil
}

// impostor ends a session with a server that isn't the one it says it is.
func (s *Session) impostor() *Error {
	s.Abort()
	return &Error{Stage: StageAuth, Kind: KindProtocol, Err: ErrServerProof}
}

// giveUp ends an exchange that we can't go on with (RFC 4954 §4: "*").
func (s *Session) giveUp(ctx context.Context, why error) (Reply, error) {
	reply, err := s.command(ctx, StageAuth, s.limits.Command, "*")
	if err != nil {
		return reply, err
	}
	e := s.refused(StageAuth, reply)
	if reply.class() >= 4 {
		e.Err = why
	}
	return reply, e
}

// encode makes a response fit for the wire, overwrites it, and sees to it that
// the server's words don't show it again.
func (s *Session) encode(response []byte) []byte {
	text := make([]byte, base64.StdEncoding.EncodedLen(len(response)))
	base64.StdEncoding.Encode(text, response)
	clear(response)
	s.w.secrets.addEncoded(text)
	return text
}
