// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Kind is a kind of certificate.
type Kind string

// The kinds of certificate. All but SelfSigned and UnknownIssuer are issued by
// the CA that tests trust.
const (
	Good          Kind = "good"
	OtherName     Kind = "other-name"     // carries only "other.example"
	Expired       Kind = "expired"        // ended yesterday
	NotYet        Kind = "not-yet"        // begins tomorrow
	SelfSigned    Kind = "self-signed"    // the right names, signed by itself
	UnknownIssuer Kind = "unknown-issuer" // the right names, a CA nobody trusts
)

// Kinds lists every kind, the good one first.
func Kinds() []Kind { return []Kind{Good, OtherName, Expired, NotYet, SelfSigned, UnknownIssuer} }

func (k Kind) known() bool { return slices.Contains(Kinds(), k) }

// A CA issues certificates for one run of the tests.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes a CA that lasts ten days.
func NewCA() (*CA, error) { return newCA("Test CA") }

func newCA(name string) (*CA, error) {
	t := template(name)
	t.IsCA = true
	t.BasicConstraintsValid = true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	return &CA{cert: cert, key: key}, nil
}

// template is valid from five days ago to five days from now.
func template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		serial = big.NewInt(time.Now().UnixNano())
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.AddDate(0, 0, -5),
		NotAfter:     now.AddDate(0, 0, 5),
	}
}

// Issue makes a certificate of the kind for the names, which may be host
// names (IDN as A-labels) and IP addresses. It serves servers and clients.
func (ca *CA) Issue(kind Kind, names ...string) (tls.Certificate, error) {
	if !kind.known() {
		return tls.Certificate{}, fmt.Errorf("no such kind of certificate: %q", kind)
	}
	if kind == OtherName {
		names = []string{"other.example"}
	}
	if len(names) == 0 {
		return tls.Certificate{}, errors.New("a certificate needs a name")
	}
	t := template(names[0])
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	switch kind {
	case Expired:
		t.NotAfter = time.Now().AddDate(0, 0, -1)
	case NotYet:
		t.NotBefore = time.Now().AddDate(0, 0, 1)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	issuer, issuerKey := ca.cert, ca.key
	switch kind {
	case SelfSigned:
		issuer, issuerKey = t, key
	case UnknownIssuer:
		other, err := newCA("Unknown CA")
		if err != nil {
			return tls.Certificate{}, err
		}
		issuer, issuerKey = other.cert, other.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, issuer, &key.PublicKey, issuerKey)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// Pool returns a pool that trusts this CA and no other.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Write stores the CA in dir, which it makes, as ca.pem (for whoever is to
// trust it) and ca-key.pem, and returns the path of ca.pem.
func (ca *CA) Write(dir string) (string, error) {
	return writePair(dir, "ca", tls.Certificate{Certificate: [][]byte{ca.cert.Raw}, PrivateKey: ca.key})
}

// WriteAll stores, besides the CA, a certificate of each kind for the names,
// as KIND.pem and KIND-key.pem.
func (ca *CA) WriteAll(dir string, names ...string) error {
	if _, err := ca.Write(dir); err != nil {
		return err
	}
	for _, kind := range Kinds() {
		cert, err := ca.Issue(kind, names...)
		if err != nil {
			return err
		}
		if _, err := writePair(dir, string(kind), cert); err != nil {
			return err
		}
	}
	return nil
}

// LoadCA reads back what Write stored. A directory without one is
// os.ErrNotExist.
func LoadCA(dir string) (*CA, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem"))
	if err != nil {
		return nil, fmt.Errorf("load the CA: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("load the CA: not one of ours")
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("load the CA: %w", err)
	}
	return &CA{cert: cert, key: key}, nil
}

func writePair(dir, name string, cert tls.Certificate) (string, error) {
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name+".pem")
	err = os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o644)
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(filepath.Join(dir, name+"-key.pem"),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600)
}
