// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"submission/fallback"
	"submission/module/internal/session"
)

// Settings is what a message was queued with. It is kept in the outbox with
// the message, so a later change of configuration doesn't redirect what waits.
type Settings struct {
	Host               string           `json:"host"`
	Port               int              `json:"port"` // 0: the sequence; else that port alone
	Sequence           []fallback.Step  `json:"sequence"`
	SequenceName       string           `json:"sequence-name"` // "" for a list as written
	Security           session.Security `json:"security"`
	User               string           `json:"user"`
	EHLOName           string           `json:"ehlo-name"` // "": an address literal
	TrustFiles         []string         `json:"trust-files"`
	Pins               []string         `json:"pins"` // fingerprints of certificates a person has accepted
	ClientCertificate  KeyPair          `json:"client-certificate"`
	AuthMechanisms     []string         `json:"auth-mechanisms"`
	SSHHost            string           `json:"ssh-host"` // "": no tunnel
	Proxy              string           `json:"proxy"`    // a URL, "": none
	AllowCleartextAuth bool             `json:"allow-cleartext-auth"`
	Remember           string           `json:"remember"` // "t", "ask" or "nil"
	DSN                DSN              `json:"dsn"`
	RequireTLS         bool             `json:"require-tls"`
	Transcript         bool             `json:"transcript"`
	RetryMinutes       []float64        `json:"retry-minutes"`
	RefreshDate        bool             `json:"refresh-date"`     // a message that is sent late gets a new Date
	KeepConnection     float64          `json:"keep-connection"`  // seconds that a link waits for another message
	Chunking           bool             `json:"chunking"`         // BDAT where it is offered; true where nothing is said
	AskWhenOffered     bool             `json:"ask-when-offered"` // Lisp is asked for the secret when the server offers AUTH
	Timeouts           Timeouts         `json:"timeouts"`
}

// KeyPair names the files of a client certificate and its key, in PEM.
type KeyPair struct {
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
}

// DSN says which notifications are asked for (RFC 3461); none if Notify is
// empty.
type DSN struct {
	Notify []string `json:"notify"` // "NEVER" alone, or some of "SUCCESS", "FAILURE", "DELAY"
	Return string   `json:"return"` // "FULL", "HDRS" or ""
}

// session returns what to ask for, the envelope being known by id.
func (n DSN) session(id string) *session.DSN {
	if len(n.Notify) == 0 {
		return nil
	}
	return &session.DSN{Notify: n.Notify, Ret: n.Return, EnvID: id}
}

// Timeouts are the time limits of RFC 5321 §4.5.3.2, in seconds, after that of
// a step's alarm. One that is zero or absent has its default.
type Timeouts struct {
	Connect        float64 `json:"connect"`
	TLS            float64 `json:"tls"`
	Greeting       float64 `json:"greeting"`
	Command        float64 `json:"command"`
	DataInitiation float64 `json:"data-initiation"`
	DataBlock      float64 `json:"data-block"`
	Data           float64 `json:"data"`
}

// Secret is a user name with a password or a bearer token. It lives in memory
// only.
type Secret struct {
	User     string `json:"user"`
	Password string `json:"password"`
	Token    string `json:"token"`
	Identity string `json:"identity"` // to act as, with PLAIN; "": that of the user
}

// Envelope is the envelope of RFC 5321 §2.3.1.
type Envelope struct {
	From string   `json:"from"`
	To   []string `json:"to"`
}

// Request is what Lisp submits: a message file in the outbox directory, which
// becomes ours, its envelope and settings, the secret if there is one, the time
// before which it is not to be sent, if it is not to be sent now, and another
// file there, "" for none, to be kept beside the message.
type Request struct {
	File      string          `json:"file"`
	Envelope  Envelope        `json:"envelope"`
	Settings  json.RawMessage `json:"settings"`
	Secret    *Secret         `json:"secret"`
	NotBefore *time.Time      `json:"not-before"`
	Draft     string          `json:"draft"`
}

func parseSettings(raw json.RawMessage) (Settings, error) {
	s := Settings{Chunking: true}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("settings: %w", err)
	}
	return s, s.check()
}

func (s Settings) check() error {
	switch s.Security {
	case session.STARTTLS, session.Opportunistic, session.ImplicitTLS, session.Plain:
	default:
		return fmt.Errorf("settings: no such security as %q", s.Security)
	}
	if s.Host == "" || strings.ContainsAny(s.Host, " \t\r\n\x00/@") {
		return fmt.Errorf("settings: %q can't be the name of a server", s.Host)
	}
	if s.Port < 0 || s.Port > 65535 {
		return fmt.Errorf("settings: no such port as %d", s.Port)
	}
	if s.Port == 0 && len(s.Sequence) == 0 {
		return errors.New("settings: the sequence has no steps")
	}
	for _, step := range s.Sequence {
		if step.Port < 1 || step.Port > 65535 {
			return fmt.Errorf("settings: no such port as %d", step.Port)
		}
		switch step.Family {
		case fallback.IPv4, fallback.IPv6, fallback.Any:
		default:
			return fmt.Errorf("settings: no such family as %q", step.Family)
		}
	}
	if s.Proxy != "" {
		if _, err := parseProxy(s.Proxy); err != nil {
			return err
		}
	}
	return nil
}

// named reports whether the steps are those of a sequence that has a name.
func (s Settings) named(explicit bool) bool { return !explicit && s.SequenceName != "" }

// steps returns what to try, and whether it is one port that was named and not
// a sequence. Implicit TLS never falls back, whatever the sequence says:
// without a port of its own it is on 465.
func (s Settings) steps() (steps []fallback.Step, explicit bool) {
	switch {
	case s.Port != 0:
		return fallback.Explicit(s.Port), true
	case s.Security == session.ImplicitTLS:
		return fallback.Explicit(fallback.Submissions), true
	}
	return s.Sequence, false
}

// reveals reports whether a password may be used at all on a connection whose
// TLS is tls: otherwise there is no sense in asking for one.
func (s Settings) reveals(tls string) bool {
	return s.Security != session.Opportunistic || tls == "verified" || tls == "pinned"
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// connect returns the alarm of a step; 0 stands for its default.
func (t Timeouts) connect() time.Duration { return seconds(t.Connect) }

// session returns the limits of the dialogue; 0 stands for the default of each.
func (t Timeouts) session() session.Timeouts {
	return session.Timeouts{
		TLS:            seconds(t.TLS),
		Greeting:       seconds(t.Greeting),
		Command:        seconds(t.Command),
		DataInitiation: seconds(t.DataInitiation),
		DataBlock:      seconds(t.DataBlock),
		Data:           seconds(t.Data),
	}
}
