// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// A Script says on which ports a server listens and how it behaves there.
// The zero Script is a well-behaved server on one port of 127.0.0.1. The
// package comment describes the JSON form.
type Script struct {
	// Listen lists the ports; nil means one port with no name.
	Listen []Listen `json:"listen"`
	// Behaviour holds for every port that has none of its own.
	Behaviour
	// Store is a directory into which messages are written instead of being
	// kept in memory; "" keeps them in memory.
	Store string `json:"store"`
	// CA issues the certificates; nil makes a new one.
	CA *CA `json:"-"`
	// Events, if set, is called with each event in order, one at a time. It
	// must not call the server.
	Events func(Event) `json:"-"`
}

// Listen is one port of a server.
type Listen struct {
	// Name is what Server.Addr and the records call this port.
	Name string `json:"name"`
	// Address is host:port; "" means "127.0.0.1:0", a port of the system's
	// choice.
	Address string `json:"address"`
	// TLS makes the port wait for a ClientHello before it greets.
	TLS bool `json:"tls"`
	// Closed keeps the port for us but refuses connections with RST.
	Closed bool `json:"closed"`
	// Behaviour, if set, is used here in place of (not on top of) the
	// script's.
	Behaviour *Behaviour `json:"behaviour"`
}

// Behaviour is what a server does with a connection.
type Behaviour struct {
	// Host is the server's name in the greeting and in the certificate; ""
	// means "mail.test".
	Host string `json:"host"`
	// EHLO and EHLOTLS are the keyword lines of the reply to EHLO in the clear
	// and under TLS, verbatim; nil means the defaults of the package comment.
	EHLO    []string `json:"ehlo"`
	EHLOTLS []string `json:"ehlo-tls"`
	// Users are user names and their passwords or bearer tokens.
	Users map[string]string `json:"users"`
	// RequireAuth answers MAIL with 530 until the client is authenticated.
	RequireAuth bool `json:"require-auth"`
	// RequireTLS answers everything but EHLO, STARTTLS, NOOP and QUIT with 530
	// until the client is under TLS.
	RequireTLS bool `json:"require-tls"`
	// LoginPrompts are the two prompts of AUTH LOGIN before base64; nil means
	// "Username:" and "Password:".
	LoginPrompts []string `json:"login-prompts"`
	// BearerFailure is how a bad token is refused: "google", "microsoft", or
	// "" for RFC 7628's own example.
	BearerFailure string `json:"bearer-failure"`
	// Certificate is the kind of certificate shown; "" means Good.
	Certificate Kind `json:"certificate"`
	// Names are the certificate's names and addresses; nil means Host,
	// "localhost", 127.0.0.1 and ::1.
	Names []string `json:"names"`
	// TLSMin and TLSMax bound the version: "1.0", "1.1", "1.2" or "1.3"; ""
	// means 1.2 and 1.3.
	TLSMin string `json:"tls-min"`
	TLSMax string `json:"tls-max"`
	// ClientCertificate asks for one; AUTH EXTERNAL then succeeds if one came.
	ClientCertificate bool `json:"client-certificate"`
	// Resume offers TLS session tickets. They are off by default so that
	// Session.Turns counts the client's turns only.
	Resume bool `json:"resume"`
	// MaxMessages is how many MAIL commands one connection may give before
	// it is sent away with 421; 0 means no limit.
	MaxMessages int `json:"max-messages"`
	// Latency is waited before each batch of replies is written: a stand-in
	// for a round trip.
	Latency Duration `json:"latency"`
	// Rules are tried in order for each thing that happens; the first that
	// fits decides.
	Rules []Rule `json:"rules"`
}

// A Rule changes what the server does at one point of the dialogue.
type Rule struct {
	// On is a verb, "*" for any line of the client's, or one of the points
	// that the package comment lists ("GREETING", "DOT", "BODY"...).
	On string `json:"on"`
	// Match is a regular expression on the argument; "" fits all.
	Match string `json:"match"`
	// TLS, if set, fits only with (true) or without (false) TLS.
	TLS *bool `json:"tls"`
	// From and Times limit the rule to the From-th fit (1 is the first, and
	// the default) and for Times fits in a row (0: for ever).
	From  int `json:"from"`
	Times int `json:"times"`
	// Per says where fits are counted: "server" (default: over all
	// connections) or "session".
	Per string `json:"per"`
	// After is the number of bytes after which BODY, SENT and WIRE happen.
	After int64 `json:"after"`

	// Delay is waited first.
	Delay Duration `json:"delay"`
	// Reply are lines said in place of the usual reply, each with CRLF added.
	Reply Lines `json:"reply"`
	// Raw is said in place of the usual reply (after Reply), exactly as given.
	Raw string `json:"raw"`
	// Pieces, if not 0, writes so many bytes at a time, Gap apart.
	Pieces int      `json:"pieces"`
	Gap    Duration `json:"gap"`
	// Flood is said again and again, in place of the usual reply, Gap apart.
	Flood string `json:"flood"`
	// Instead ends or silences the session in place of a reply, Then after it.
	Instead End `json:"instead"`
	Then    End `json:"then"`
}

// End is a way for the server to end its part of a session.
type End string

// The ways to end.
const (
	// Nothing, only of use as Instead, swallows one reply and goes on.
	Nothing End = "nothing"
	// CloseConn ends TLS properly, if there is any, and sends FIN.
	CloseConn End = "close"
	// Cut sends FIN with no word from TLS.
	Cut End = "cut"
	// Reset sends RST.
	Reset End = "reset"
	// Silence reads on, answers nothing, and stays until the client goes.
	Silence End = "silence"
	// Stall stops reading and stays until the server is closed.
	Stall End = "stall"
)

// Duration is a time.Duration that JSON writes as "1.5s" or as seconds.
type Duration time.Duration

// UnmarshalJSON reads a string for time.ParseDuration or a number of seconds.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case float64:
		*d = Duration(v * float64(time.Second))
		return nil
	case string:
		t, err := time.ParseDuration(v)
		*d = Duration(t)
		return err
	}
	return fmt.Errorf("a duration is a string such as \"1.5s\" or a number of seconds, not %s", b)
}

// Lines is a list of lines that JSON may also give as one string, cut at
// newlines.
type Lines []string

// UnmarshalJSON reads a string or a list of strings.
func (l *Lines) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*l = strings.Split(s, "\n")
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// Parse reads one script in its JSON form. An unknown key, or anything that
// could never happen as written, is an error.
func Parse(r io.Reader) (Script, error) {
	var script Script
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&script); err != nil {
		return Script{}, fmt.Errorf("script: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Script{}, errors.New("script: something follows the JSON object")
	}
	_, err := script.behaviours()
	return script, err
}

// ParseString is Parse for a string.
func ParseString(s string) (Script, error) { return Parse(bytes.NewBufferString(s)) }

// ports returns the script's ports, one where none is listed.
func (s *Script) ports() []Listen {
	if len(s.Listen) == 0 {
		return []Listen{{}}
	}
	return s.Listen
}

// behaviours checks the script and returns the behaviour of each port.
func (s *Script) behaviours() ([]*behaviour, error) {
	common, err := compile(s.Behaviour)
	if err != nil {
		return nil, err
	}
	var list []*behaviour
	seen := map[string]bool{}
	for _, l := range s.ports() {
		if seen[l.Name] {
			return nil, fmt.Errorf("script: two ports are named %q", l.Name)
		}
		seen[l.Name] = true
		b := common
		if l.Behaviour != nil {
			if b, err = compile(*l.Behaviour); err != nil {
				return nil, err
			}
		}
		list = append(list, b)
	}
	return list, nil
}

// behaviour is a Behaviour with its defaults filled in and checked.
type behaviour struct {
	Behaviour
	rules          []*rule
	tlsMin, tlsMax uint16
}

func compile(b Behaviour) (*behaviour, error) {
	if b.Host == "" {
		b.Host = "mail.test"
	}
	if b.EHLO == nil {
		b.EHLO = append(defaultKeywords(), "STARTTLS")
	}
	if b.EHLOTLS == nil {
		b.EHLOTLS = defaultKeywords()
		if len(b.Users) > 0 {
			b.EHLOTLS = append(b.EHLOTLS, "AUTH PLAIN LOGIN")
		}
	}
	if b.LoginPrompts == nil {
		b.LoginPrompts = []string{"Username:", "Password:"}
	}
	if len(b.LoginPrompts) != 2 {
		return nil, errors.New("script: login-prompts: two are needed")
	}
	if b.Names == nil {
		b.Names = []string{b.Host, "localhost", "127.0.0.1", "::1"}
	}
	if b.Certificate == "" {
		b.Certificate = Good
	}
	if !b.Certificate.known() {
		return nil, fmt.Errorf("script: no such kind of certificate: %q", b.Certificate)
	}
	switch b.BearerFailure {
	case "", "google", "microsoft":
	default:
		return nil, fmt.Errorf("script: no such bearer-failure: %q", b.BearerFailure)
	}
	c := &behaviour{Behaviour: b}
	var err error
	if c.tlsMin, err = tlsVersion(b.TLSMin, tls.VersionTLS12); err != nil {
		return nil, err
	}
	if c.tlsMax, err = tlsVersion(b.TLSMax, tls.VersionTLS13); err != nil {
		return nil, err
	}
	// A script that only lowers the highest version means that one alone.
	c.tlsMin = min(c.tlsMin, c.tlsMax)
	c.rules, err = compileRules(b.Rules)
	return c, err
}

func defaultKeywords() []string {
	return []string{"PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"}
}

func tlsVersion(s string, otherwise uint16) (uint16, error) {
	switch s {
	case "":
		return otherwise, nil
	case "1.0":
		return tls.VersionTLS10, nil
	case "1.1":
		return tls.VersionTLS11, nil
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("script: no such TLS version: %q", s)
}
