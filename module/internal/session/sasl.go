// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"strings"

	"github.com/emersion/go-sasl"
)

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

// cramMD5 is CRAM-MD5 (RFC 2195): the password is the key to a MAC of what the
// server says.
const cramMD5 = "CRAM-MD5"

type cramClient struct {
	user, password string
	answered       bool
}

func (c *cramClient) Start() (string, []byte, error) { return cramMD5, nil, nil }

func (c *cramClient) Next(challenge []byte) ([]byte, error) {
	if c.answered {
		return nil, sasl.ErrUnexpectedServerChallenge
	}
	c.answered = true
	key := []byte(c.password)
	defer clear(key)
	mac := hmac.New(md5.New, key)
	mac.Write(challenge)
	return []byte(c.user + " " + hex.EncodeToString(mac.Sum(nil))), nil
}

// xoauth2 is what came before OAUTHBEARER; Google and Microsoft describe it.
const xoauth2 = "XOAUTH2"

// bearerClient shows a bearer token. A server that refuses it may say why in a
// challenge; that is to be answered with something fixed before the refusal
// proper comes (RFC 7628 §3.2.3).
type bearerClient struct {
	name     string
	response string
	dummy    string // the answer to a challenge
	answered bool
}

// newOAuthBearer is OAUTHBEARER (RFC 7628). go-sasl's own client neither
// escapes the user name nor answers the challenge.
func newOAuthBearer(user, token string) sasl.Client {
	header := "n,,"
	if user != "" {
		header = "n,a=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user) + ","
	}
	return &bearerClient{name: sasl.OAuthBearer, response: header + "\x01auth=Bearer " + token + "\x01\x01", dummy: "\x01"}
}

func newXOAuth2(user, token string) sasl.Client {
	return &bearerClient{name: xoauth2, response: "user=" + user + "\x01auth=Bearer " + token + "\x01\x01"}
}

func (c *bearerClient) Start() (string, []byte, error) { return c.name, []byte(c.response), nil }

func (c *bearerClient) Next([]byte) ([]byte, error) {
	if c.answered {
		return nil, sasl.ErrUnexpectedServerChallenge
	}
	c.answered = true
	return []byte(c.dummy), nil
}
