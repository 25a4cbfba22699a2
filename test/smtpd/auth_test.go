// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd_test

import (
	"crypto/tls"
	"encoding/base64"
	"net/smtp"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"
)

// step is a client's side of a mechanism: a response to a challenge.
type step func(challenge []byte) ([]byte, error)

func fromSASL(c sasl.Client) (initial []byte, next step) {
	_, initial, err := c.Start()
	if err != nil {
		panic(err)
	}
	return initial, c.Next
}

func fromSCRAM(c *scram.ClientConversation) (initial []byte, next step) {
	first, err := c.Step("")
	if err != nil {
		panic(err)
	}
	return []byte(first), func(challenge []byte) ([]byte, error) {
		s, err := c.Step(string(challenge))
		return []byte(s), err
	}
}

// authenticate carries AUTH through and returns the last reply line.
func (c *caller) authenticate(mechanism string, initial []byte, next step) string {
	c.t.Helper()
	line := "AUTH " + mechanism
	if initial != nil {
		line += " " + base64.StdEncoding.EncodeToString(initial)
	}
	for {
		c.talk("C " + line)
		reply, err := c.in.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		challenge, more := strings.CutPrefix(reply, "334 ")
		if !more {
			return strings.TrimSpace(reply)
		}
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(challenge))
		if err != nil {
			c.t.Fatal(err)
		}
		response, err := next(b)
		if err != nil {
			c.t.Fatalf("the client gave up: %v", err)
		}
		line = base64.StdEncoding.EncodeToString(response)
	}
}

func TestMechanisms(t *testing.T) {
	scramBy := func(hash scram.HashGeneratorFcn, binding func(*caller) scram.ChannelBinding) func(*caller, string) ([]byte, step) {
		return func(c *caller, password string) ([]byte, step) {
			client, err := hash.NewClient("kazu", password, "")
			if err != nil {
				c.t.Fatal(err)
			}
			if binding == nil {
				return fromSCRAM(client.NewConversation())
			}
			return fromSCRAM(client.NewConversationWithChannelBinding(binding(c)))
		}
	}
	tests := []struct {
		mechanism string
		client    func(*caller, string) ([]byte, step)
		secret    bool // the password itself crosses the wire
	}{
		{"PLAIN", func(c *caller, p string) ([]byte, step) { return fromSASL(sasl.NewPlainClient("", "kazu", p)) }, true},
		{"LOGIN", func(c *caller, p string) ([]byte, step) {
			return nil, func(challenge []byte) ([]byte, error) {
				return []byte(map[string]string{"User Name": "kazu", "Pass": p}[string(challenge)]), nil
			}
		}, true},
		{"CRAM-MD5", func(c *caller, p string) ([]byte, step) {
			return nil, func(challenge []byte) ([]byte, error) {
				return smtp.CRAMMD5Auth("kazu", p).Next(challenge, true)
			}
		}, false},
		{"SCRAM-SHA-1", scramBy(scram.SHA1, nil), false},
		{"SCRAM-SHA-256", scramBy(scram.SHA256, nil), false},
		{"SCRAM-SHA-256-PLUS", scramBy(scram.SHA256, func(c *caller) scram.ChannelBinding {
			state := c.nc.(*tls.Conn).ConnectionState()
			b, err := scram.NewTLSExporterBinding(&state)
			if err != nil {
				c.t.Fatal(err)
			}
			return b
		}), false},
		{"SCRAM-SHA-256-PLUS", scramBy(scram.SHA256, func(c *caller) scram.ChannelBinding {
			state := c.nc.(*tls.Conn).ConnectionState()
			b, err := scram.NewTLSServerEndpointBinding(&state)
			if err != nil {
				c.t.Fatal(err)
			}
			return b
		}), false},
		{"OAUTHBEARER", func(c *caller, p string) ([]byte, step) {
			return []byte("n,a=kazu,\x01host=mail.test\x01port=587\x01auth=Bearer " + p + "\x01\x01"),
				func([]byte) ([]byte, error) { return []byte("\x01"), nil }
		}, true},
		{"XOAUTH2", func(c *caller, p string) ([]byte, step) {
			return []byte("user=kazu\x01auth=Bearer " + p + "\x01\x01"), func([]byte) ([]byte, error) { return nil, nil }
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.mechanism, func(t *testing.T) {
			server := start(t, `{"ehlo":["STARTTLS"],"ehlo-tls":["AUTH `+tt.mechanism+`"],"users":{"kazu":"secret"},"login-prompts":["User Name","Pass"]}`)
			c, err := secure(t, server, &tls.Config{RootCAs: server.Pool(), ServerName: "mail.test"})
			if err != nil {
				t.Fatal(err)
			}
			c.talk("C EHLO me", "S 250-mail.test", "S 250 AUTH "+tt.mechanism)
			for _, password := range []string{"wrong", "secret"} {
				initial, next := tt.client(c, password)
				reply := c.authenticate(tt.mechanism, initial, next)
				list := server.Sessions()[0].Auth
				a := list[len(list)-1]
				good := password == "secret"
				if strings.HasPrefix(reply, "235") != good || a.OK != good {
					t.Fatalf("with %q: %s, %+v", password, reply, a)
				}
				if a.Mechanism != tt.mechanism || a.User != "kazu" || !a.TLS || a.Reply != reply || tt.secret != (a.Secret == password) {
					t.Errorf("with %q: %+v", password, a)
				}
			}
		})
	}
}

func TestAuthReplies(t *testing.T) {
	const plain = "C AUTH PLAIN AGthenUAc2VjcmV0" // kazu, secret
	hi := ehlo("auth=LOGIN PLAIN XOAUTH2")
	bad := base64.StdEncoding.EncodeToString([]byte("user=kazu\x01auth=Bearer old\x01\x01"))
	tests := []struct{ name, more, talk string }{
		{"the old form", ``, plain + "|S 235 2.7.0 welcome"},
		{"twice", ``, plain + "|S 235 2.7.0 welcome|" + plain + "|S 503 5.5.1 not now"},
		{"not offered", ``, "C AUTH CRAM-MD5|S 504 5.5.4 unknown mechanism"},
		{"never heard of", ``, "C AUTH X Y|S 504 5.5.4 unknown mechanism"},
		{"not base64", ``, "C AUTH PLAIN !|S 501 5.5.2 not base64"},
		{"cancelled", ``, "C AUTH LOGIN|S 334 VXNlcm5hbWU6|C *|S 501 5.7.0 cancelled|C NOOP|S 250 2.0.0 ok"},
		{"refused at once", `,"rules":[{"on":"AUTH","match":"^LOGIN","reply":"534 5.7.9 too weak"}]`, "C AUTH LOGIN|S 534 5.7.9 too weak|" + plain + "|S 235 2.7.0 welcome"},
		{"refused in the end", `,"rules":[{"on":"AUTH-END","match":"kazu ok","reply":"454 4.7.0 later"}]`, plain + "|S 454 4.7.0 later"},
		{"any word", `,"rules":[{"on":"AUTH-END","match":"bad","reply":"235 ok"}]`, "C AUTH PLAIN AGEAYg==|S 235 ok"},
		{"lost within", `,"rules":[{"on":"RESPONSE","from":2,"instead":"close"}]`, "C AUTH LOGIN|S 334 VXNlcm5hbWU6|C a2F6dQ==|S 334 UGFzc3dvcmQ6|C c2VjcmV0|E"},
		{"each line counts once", `,"rules":[{"on":"*","from":4,"then":"close"}]`, "C AUTH LOGIN|S 334 VXNlcm5hbWU6|C a2F6dQ==|S 334 UGFzc3dvcmQ6|C c2VjcmV0|S 235 2.7.0 welcome|E"},
		{"Google", `,"bearer-failure":"google"`, "C AUTH XOAUTH2 " + bad +
			"|S 334 eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ==" +
			"|C |S 535-5.7.8 Username and Password not accepted. For more information, go to|S 535 5.7.8  https://support.google.com/mail/?p=BadCredentials - gsmtp"},
		{"Microsoft", `,"bearer-failure":"microsoft"`, "C AUTH XOAUTH2 " + bad + "|S 535 5.7.3 Authentication unsuccessful [MAIL.test.outlook.com]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := start(t, `{"ehlo":["auth=LOGIN PLAIN XOAUTH2"],"users":{"kazu":"secret"}`+tt.more+`}`)
			call(t, server.Addr("")).talk(strings.Split(hi+"|"+tt.talk, "|")...)
		})
	}
}

// TestSecretIsRecorded is what proves, elsewhere, that none was sent.
func TestSecretIsRecorded(t *testing.T) {
	server := start(t, `{`+hello+`}`)
	c := call(t, server.Addr(""))
	c.talk(strings.Split(ehlo("X")+"|C AUTH PLAIN AGthenUAc2VjcmV0|S 504 5.5.4 unknown mechanism", "|")...)
	if a := server.Sessions()[0].Auth; len(a) != 1 || a[0].Secret != "secret" || a[0].TLS || a[0].OK {
		t.Errorf("auth %+v", a)
	}
}
