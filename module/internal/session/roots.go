// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"crypto/x509"
	"os"
)

// Roots returns the system's trusted roots and those in files, in PEM. A file
// that isn't there is passed over, as gnutls-trustfiles lists the places of
// many systems; so is what isn't a file, which reading might wait for.
func Roots(files []string) *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if pem, err := os.ReadFile(f); err == nil {
			pool.AppendCertsFromPEM(pem)
		}
	}
	return pool
}
