// SPDX-License-Identifier: GPL-3.0-or-later

package family

// Outcome says how the attempt to connect ended. The zero value means nothing
// and is never returned.
type Outcome string

// The outcomes of a step as far as TCP goes. The numbers are the cases of the
// paper 'Fallback from the Submission port to the SMTP port'.
const (
	Connected Outcome = "connected" // case 1: the connection is open
	Reset     Outcome = "reset"     // case 2: the server answered with RST
	Hard      Outcome = "hard"      // case 3: an ICMP hard error
	Soft      Outcome = "soft"      // case 4: an ICMP soft error
	Timeout   Outcome = "timeout"   // case 5: no answer before the alarm
	Local     Outcome = "local"     // trouble on this machine, or the caller gave up
	Closed    Outcome = "closed"    // opened, and reset before connect could return
)

// rank lists the outcomes in the order in which they decide a step with
// several addresses: the first of these that occurred is the step's. Closed
// stands before hard and reset because it must not be remembered, and they are.
func rank() []Outcome {
	return []Outcome{Connected, Timeout, Local, Soft, Closed, Hard, Reset}
}
