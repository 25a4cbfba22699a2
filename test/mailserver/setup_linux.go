// SPDX-License-Identifier: GPL-3.0-or-later

package mailserver

import "fmt"

// A setup is what makes a server of its packages.
type setup struct {
	packages []string // and tools
	alone    bool     // without what they need, which the machine has
	release  string   // of Debian, instead of 12; "" is the machine's own
	// accounts are the system users that the packages' scripts would make.
	// Each has a group of the same name and number.
	accounts map[string]int
	files    map[string]string // by path from the root; etc/start starts it
	hosts    []string          // of Host, OldHost, WalledHost and SmallHost
}

// tools lists the packages that every root needs, for its shell scripts and for
// the links between its directories.
func tools() []string { return []string{"base-files", "coreutils", "dash"} }

func setupOf(kind Kind) (setup, error) {
	switch kind {
	case Postfix:
		return postfix(), nil
	case OpenSMTPD:
		return opensmtpd(), nil
	case Exim:
		return exim(), nil
	}
	return setup{}, fmt.Errorf("there is no server %q", kind)
}
