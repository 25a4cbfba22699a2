// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/xdg-go/scram"
)

// plain is PLAIN (RFC 4616).
type plain struct {
	check        func(user, password string) bool
	user, secret string
}

func (p *plain) begin() authReply { return challenge("") }

func (p *plain) next(response string) authReply {
	parts := strings.Split(response, "\x00")
	if len(parts) != 3 {
		return final("501 5.5.2 not PLAIN")
	}
	p.user, p.secret = parts[1], parts[2]
	return decided(p.check(p.user, p.secret))
}

func (p *plain) seen() (string, string) { return p.user, p.secret }

// login is LOGIN, which has only a draft.
type login struct {
	check        func(user, password string) bool
	prompts      []string
	named        bool
	user, secret string
}

func (l *login) begin() authReply { return challenge(l.prompts[0]) }

func (l *login) next(response string) authReply {
	if !l.named {
		l.named, l.user = true, response
		return challenge(l.prompts[1])
	}
	l.secret = response
	return decided(l.check(l.user, l.secret))
}

func (l *login) seen() (string, string) { return l.user, l.secret }

// cram is CRAM-MD5 (RFC 2195).
type cram struct {
	users        map[string]string
	question     string
	user, secret string
}

func newCRAM(users map[string]string, host string) *cram {
	return &cram{users: users, question: "<" + rand.Text() + "@" + host + ">"}
}

func (m *cram) begin() authReply { return challenge(m.question) }

func (m *cram) next(response string) authReply {
	i := strings.LastIndex(response, " ")
	if i < 0 {
		return final("501 5.5.2 not CRAM-MD5")
	}
	m.user, m.secret = response[:i], response[i+1:]
	password, known := m.users[m.user]
	mac := hmac.New(md5.New, []byte(password))
	mac.Write([]byte(m.question))
	return decided(known && hex.EncodeToString(mac.Sum(nil)) == m.secret)
}

func (m *cram) seen() (string, string) { return m.user, m.secret }

// bearer is XOAUTH2 (Google's and Microsoft's documents) and, with its GS2
// header, OAUTHBEARER (RFC 7628).
type bearer struct {
	check        func(user, token string) bool
	gs2          bool
	failure      string
	failed       bool
	user, secret string
}

func (m *bearer) begin() authReply { return challenge("") }

func (m *bearer) next(response string) authReply {
	if m.failed {
		return final(m.refusal()) // whatever the client said to the 334
	}
	for i, part := range strings.Split(response, "\x01") {
		name, value, _ := strings.Cut(part, "=")
		switch {
		case m.gs2 && i == 0:
			// n,a=user@example.org,
			_, user, _ := strings.Cut(part, "a=")
			m.user = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(strings.TrimSuffix(user, ","))
		case !m.gs2 && name == "user":
			m.user = value
		case name == "auth":
			m.secret = strings.TrimPrefix(value, "Bearer ")
		}
	}
	if m.check(m.user, m.secret) {
		return decided(true)
	}
	m.failed = true
	switch m.failure {
	case "google":
		return challenge(`{"status":"401","schemes":"Bearer","scope":"https://mail.google.com/"}`)
	case "microsoft":
		return final(m.refusal())
	}
	return challenge(`{"status":"invalid_token","scope":"mail"}`)
}

func (m *bearer) refusal() string {
	switch m.failure {
	case "google":
		return "535-5.7.8 Username and Password not accepted. For more information, go to\n" +
			"535 5.7.8  https://support.google.com/mail/?p=BadCredentials - gsmtp"
	case "microsoft":
		return "535 5.7.3 Authentication unsuccessful [MAIL.test.outlook.com]"
	}
	return "535 5.7.8 authentication failed"
}

func (m *bearer) seen() (string, string) { return m.user, m.secret }

// external is EXTERNAL (RFC 4422 appendix A): the certificate says who it is.
type external struct {
	certificate *x509.Certificate
	user        string
}

func (m *external) begin() authReply { return challenge("") }

func (m *external) next(response string) authReply {
	m.user = response
	if m.certificate == nil {
		return decided(false)
	}
	if m.user == "" {
		m.user = m.certificate.Subject.CommonName
	}
	return decided(true)
}

func (m *external) seen() (string, string) { return m.user, "" }

// scramServer is SCRAM (RFC 5802, 7677), with channel binding for -PLUS (RFC
// 5929 tls-server-end-point, RFC 9266 tls-exporter).
type scramServer struct {
	hash         scram.HashGeneratorFcn
	plus         bool
	users        map[string]string
	tls          *tls.Conn         // nil in the clear
	own          *x509.Certificate // what we showed
	talk         *scram.ServerConversation
	finished     bool
	user, secret string
}

func newSCRAM(name string, users map[string]string, t *tls.Conn, own *x509.Certificate) *scramServer {
	m := &scramServer{hash: scram.SHA256, plus: strings.HasSuffix(name, "-PLUS"), users: users, tls: t, own: own}
	if name == "SCRAM-SHA-1" {
		m.hash = scram.SHA1
	}
	return m
}

func (m *scramServer) begin() authReply { return challenge("") }

func (m *scramServer) next(response string) authReply {
	if m.finished { // the empty answer to our own proof
		return decided(response == "")
	}
	if m.talk == nil {
		server, err := m.hash.NewServer(m.lookup)
		if err != nil {
			return final("454 4.7.0 " + err.Error())
		}
		m.talk = server.NewConversation()
		if m.plus {
			m.talk = server.NewConversationWithChannelBindingRequired(m.binding(response))
		}
	}
	m.secret = response
	answer, err := m.talk.Step(response)
	if m.user == "" {
		m.user = m.talk.Username()
	}
	if err != nil {
		return decided(false)
	}
	m.finished = m.talk.Valid()
	return challenge(answer)
}

// binding is what the client's first message asks for, "p=TYPE,...".
func (m *scramServer) binding(first string) scram.ChannelBinding {
	if m.tls == nil {
		return scram.ChannelBinding{}
	}
	state := m.tls.ConnectionState()
	switch {
	case strings.HasPrefix(first, "p=tls-exporter,"):
		b, err := scram.NewTLSExporterBinding(&state)
		if err != nil {
			return scram.ChannelBinding{}
		}
		return b
	case strings.HasPrefix(first, "p=tls-server-end-point,"):
		// The binding is to our own certificate, which is the peer's only to
		// the client.
		state.PeerCertificates = []*x509.Certificate{m.own}
		b, err := scram.NewTLSServerEndpointBinding(&state)
		if err != nil {
			return scram.ChannelBinding{}
		}
		return b
	}
	return scram.ChannelBinding{}
}

func (m *scramServer) lookup(user string) (scram.StoredCredentials, error) {
	password, ok := m.users[user]
	if !ok {
		return scram.StoredCredentials{}, errors.New("unknown user")
	}
	client, err := m.hash.NewClient(user, password, "")
	if err != nil {
		return scram.StoredCredentials{}, err
	}
	return client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "sixteen bytes, ok", Iters: 4096})
}

func (m *scramServer) seen() (string, string) { return m.user, m.secret }
