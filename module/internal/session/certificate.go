// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Problem is something that is wrong with a certificate.
type Problem string

// The problems.
const (
	ProblemName       Problem = "name"        // it is for other names
	ProblemExpired    Problem = "expired"     //
	ProblemNotYet     Problem = "not-yet"     // its time has not begun
	ProblemSelfSigned Problem = "self-signed" // nobody vouches for it but itself
	ProblemIssuer     Problem = "issuer"      // who issued it is not known or not trusted
	ProblemChanged    Problem = "changed"     // others were accepted for this server, not this one
	ProblemOther      Problem = "other"       // see Err
)

// CertificateError is a certificate that proves nothing, with what a person
// needs to know to decide whether to accept it all the same. Its texts are the
// peer's own words, made printable and of bounded length.
type CertificateError struct {
	Host        string    `json:"host"`        // as it was asked for
	Problems    []Problem `json:"problems"`    // at least one
	Subject     string    `json:"subject"`     // RFC 2253
	Names       []string  `json:"names"`       // host names and addresses it is for, the first ten
	Issuer      string    `json:"issuer"`      // RFC 2253
	NotBefore   time.Time `json:"not-before"`  // UTC
	NotAfter    time.Time `json:"not-after"`   // UTC
	Fingerprint string    `json:"fingerprint"` // to put among Config.Pins
	Pins        []string  `json:"pins"`        // those that were accepted before
	Err         error     `json:"-"`           // what verification said
}

// Error says in one line what is wrong and which certificate it is.
func (e *CertificateError) Error() string {
	var what []string
	for _, p := range e.Problems {
		switch p {
		case ProblemName:
			names := "no server"
			if len(e.Names) > 0 {
				names = strings.Join(e.Names, ", ")
			}
			what = append(what, "is for "+names)
		case ProblemExpired:
			what = append(what, "expired on "+e.NotAfter.Format(time.DateOnly))
		case ProblemNotYet:
			what = append(what, "is not valid before "+e.NotBefore.Format(time.DateOnly))
		case ProblemSelfSigned:
			what = append(what, "is signed by nobody but itself")
		case ProblemIssuer:
			what = append(what, "was issued by "+e.Issuer+", which is not trusted here")
		case ProblemChanged:
			what = append(what, "is not the one that was accepted before")
		default:
			what = append(what, "can't be verified: "+cut(printable([]byte(e.Err.Error())), 200))
		}
	}
	return fmt.Sprintf("the certificate of %s %s (SHA-256 %s)", e.Host, strings.Join(what, " and "), e.Fingerprint)
}

// Unwrap returns what verification said.
func (e *CertificateError) Unwrap() error { return e.Err }

// fingerprint is how a certificate is known among Config.Pins.
func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// pinned says whether the user has accepted the certificate.
func (s *Session) pinned(chain []*x509.Certificate) bool {
	return len(chain) > 0 && slices.Contains(s.cfg.Pins, fingerprint(chain[0]))
}

// badCertificate describes a chain that verify found fault with.
func (s *Session) badCertificate(chain []*x509.Certificate, err error) error {
	if len(chain) == 0 {
		return &tls.CertificateVerificationError{Err: err}
	}
	leaf := chain[0]
	e := &CertificateError{
		Host:        s.cfg.Host,
		Subject:     cut(printable([]byte(leaf.Subject.String())), 200),
		Issuer:      cut(printable([]byte(leaf.Issuer.String())), 200),
		NotBefore:   leaf.NotBefore.UTC(),
		NotAfter:    leaf.NotAfter.UTC(),
		Fingerprint: fingerprint(leaf),
		Pins:        s.cfg.Pins,
		Err:         err,
	}
	var other error
	e.Problems, other = problems(chain, serverName(s.cfg.Host), s.cfg.Roots, time.Now())
	if other != nil {
		e.Err = other
	}
	if len(e.Problems) == 0 { // it became valid while we looked
		e.Problems = []Problem{ProblemOther}
	}
	if len(s.cfg.Pins) > 0 {
		e.Problems = append(e.Problems, ProblemChanged)
	}
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	for _, name := range names[:min(len(names), 10)] {
		e.Names = append(e.Names, cut(printable([]byte(name)), 100))
	}
	return e
}

// problems looks for all that is wrong, where verification stops at the first:
// a person who is asked to accept an expired certificate should know that it is
// another server's as well. The error is what lies behind [ProblemOther].
func problems(chain []*x509.Certificate, name string, roots *x509.CertPool, now time.Time) (list []Problem, other error) {
	leaf := chain[0]
	if leaf.VerifyHostname(name) != nil {
		list = append(list, ProblemName)
	}
	untimely := true
	switch {
	case now.After(leaf.NotAfter):
		list, now = append(list, ProblemExpired), leaf.NotAfter
	case now.Before(leaf.NotBefore):
		list, now = append(list, ProblemNotYet), leaf.NotBefore
	default:
		untimely = false
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: others(chain), CurrentTime: now})
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
	case untimely && errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		// Its issuers are of another time than it is.
	case !errors.As(err, &unknown):
		list, other = append(list, ProblemOther), err
	case bytes.Equal(leaf.RawIssuer, leaf.RawSubject) &&
		leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil:
		list = append(list, ProblemSelfSigned)
	default:
		list = append(list, ProblemIssuer)
	}
	return list, other
}

// verify checks a chain as crypto/tls does by itself: issuer, time, purpose
// and name.
func verify(chain []*x509.Certificate, name string, roots *x509.CertPool) error {
	if len(chain) == 0 {
		return errors.New("the server showed no certificate")
	}
	if name == "" {
		return errors.New("no name to look for in the certificate")
	}
	_, err := chain[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: others(chain)})
	return err
}

// others are the certificates that lead from the first to a root.
func others(chain []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, cert := range chain[1:] {
		pool.AddCert(cert)
	}
	return pool
}
