// SPDX-License-Identifier: GPL-3.0-or-later

package fallback

// Outcome is how a step ended. The zero value is unknown and never success.
type Outcome string

// The outcomes of a step.
const (
	Connected Outcome = "connected" // the server said 220, or a TLS handshake was reached (case 1)
	Reset     Outcome = "reset"     // a TCP RST came back (case 2)
	Hard      Outcome = "hard"      // an ICMP hard error came back (case 3)
	Soft      Outcome = "soft"      // an ICMP soft error came back (case 4)
	Timeout   Outcome = "timeout"   // nothing came back before the alarm (case 5)
	Local     Outcome = "local"     // this machine could not: no route, no descriptor, own firewall
	Closed    Outcome = "closed"    // closed or reset after the connection was open, before the greeting
	Greeting  Outcome = "greeting"  // the server greeted with something other than 220
	Silent    Outcome = "silent"    // connected, then no greeting within its limit; not case 5
)

// Case returns the number of the outcome in the paper, 1 to 5, and 0 for the
// outcomes that the paper does not have.
func (o Outcome) Case() int {
	switch o {
	case Connected:
		return 1
	case Reset:
		return 2
	case Hard:
		return 3
	case Soft:
		return 4
	case Timeout:
		return 5
	}
	return 0
}

// next reports whether a step that ended in o is followed by the next one.
// Everything short of a 220 is, but an unknown outcome: that is a bug, and
// nothing should be built upon it.
func (o Outcome) next() bool { return o != Connected && o != "" }
