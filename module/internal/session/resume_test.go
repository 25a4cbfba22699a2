// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"submission/test/smtpd"
)

// A TLS session is resumed where it can be, and the peer is looked at again
// each time: what has lost our trust isn't resumed into it.
func TestResume(t *testing.T) {
	for _, version := range []string{"1.2", "1.3"} {
		t.Run(version, func(t *testing.T) {
			server := serve(t, smtpd.Script{Behaviour: smtpd.Behaviour{Resume: true, TLSMin: version, TLSMax: version, ClientCertificate: true,
				Users: map[string]string{"kazu": thePass}}})
			good := Config{Host: "mail.test", Security: STARTTLS, EHLO: "me", Roots: server.CA().Pool(), Timeouts: patient(),
				SessionCache: tls.NewLRUClientSessionCache(4)}
			doubted, accepted, ours := good, good, good
			doubted.Roots = x509.NewCertPool()
			accepted.Roots, accepted.Pins = doubted.Roots, []string{"not this one"}
			ca := newAuthority(t)
			cert := ca.sign(t, leaf(0, "kazu"), true)
			ours.ClientCertificate = &cert
			for i, step := range []struct {
				cfg     Config
				kind    Kind
				resumed bool
			}{{good, "", false}, {good, "", true},
				// A ticket is good for once.
				{doubted, KindCertificate, false}, {good, "", false}, {good, "", true},
				{accepted, KindCertificate, false}, {good, "", false}, {ours, "", false}, {ours, "", false}} {
				s, err := Open(t.Context(), dial(t, server.Addr("")), step.cfg)
				if err == nil {
					err = s.Start(t.Context(), &Credentials{User: "kazu", Password: thePass})
				}
				wantKind(t, err, step.kind)
				if err != nil {
					continue
				}
				state := s.w.conn.(*tls.Conn).ConnectionState()
				if state.DidResume != step.resumed || s.TLS() != "verified" || s.shown != (step.cfg.ClientCertificate != nil) {
					t.Errorf("%d: resumed %v, %s, shown %v", i+1, state.DidResume, s.TLS(), s.shown)
				}
				s.Quit(t.Context())
			}
		})
	}
}
