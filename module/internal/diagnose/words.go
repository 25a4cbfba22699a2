// SPDX-License-Identifier: GPL-3.0-or-later

package diagnose

import (
	"fmt"
	"strings"

	"submission/fallback"
)

// A judgement answers whether a server offers submission as RFC 6409 asks: on
// port 587 (§3.1), with AUTH (§7), and not without (§4.3).
type judgement struct {
	answer string // "yes", "no" or "not known"
	why    string
	weight int // of several, the heaviest counts
}

// words returns the answer and its reason in words.
func words(row Row) string {
	j := judge(row)
	return j.answer + ", because " + j.why
}

func judge(row Row) judgement {
	switch {
	case row.State == Waiting || row.State == Trying:
		return judgement{answer: "not known yet", why: "the answers are still to come"}
	case len(row.Steps) == 0:
		return judgement{answer: "not known", why: row.Detail}
	}
	best := judgement{answer: "not known", why: "port 587 could not be tried", weight: -1}
	var skipped []string
	for _, s := range row.Steps {
		if s.Port != fallback.Submission {
			continue
		}
		if s.State == Skipped {
			skipped = append(skipped, s.Detail)
			continue
		}
		if j := s.judge(); j.weight > best.weight {
			best = j
		}
	}
	if best.weight < 0 && len(skipped) > 0 {
		best.why = strings.Join(skipped, " and ")
	}
	return best
}

// judge judges port 587 of one family. What was heard of a server weighs more
// than that it could not be reached.
func (s *Step) judge() judgement {
	over := "port 587 over " + title(s.Family)
	if s.State == Cancelled {
		return judgement{"not known", over + " was cancelled", 0}
	}
	switch s.Outcome {
	case fallback.Connected:
		return s.judgeServer(over)
	case fallback.Reset:
		return judgement{"no", over + " is closed: TCP RST (case 2)", 2}
	case fallback.Hard:
		return judgement{"no", fmt.Sprintf("%s is filtered: %s (case 3)", over, s.Detail), 2}
	case fallback.Timeout:
		return judgement{"no", over + " doesn't answer (case 5)", 2}
	case fallback.Soft:
		return judgement{"not known", fmt.Sprintf("%s can't be reached now: %s (case 4)", over, s.Detail), 1}
	case fallback.Closed:
		return judgement{"no", over + " closes the connection before a greeting", 2}
	case fallback.Greeting:
		return judgement{"no", fmt.Sprintf("%s greets with %q", over, s.Detail), 2}
	case fallback.Silent:
		return judgement{"no", over + " connects and says nothing", 2}
	}
	return judgement{"not known", fmt.Sprintf("of trouble on this machine with %s: %s", over, s.Detail), 0}
}

// judgeServer judges a server that has said 220.
func (s *Step) judgeServer(over string) judgement {
	auth := s.auth()
	switch {
	case s.Mail/100 == 2:
		return judgement{"no", fmt.Sprintf("%s takes mail without AUTH (%s), or this network is authorised", over, s.MailReply), 3}
	case s.Mail/100 == 5 && len(auth) > 0:
		return judgement{"yes", fmt.Sprintf("%s offers AUTH (%s) and refuses mail without it (%s)", over, strings.Join(auth, " "), s.MailReply), 4}
	case s.Mail/100 == 5:
		return judgement{"no", fmt.Sprintf("%s refuses mail (%s) and offers no AUTH", over, s.MailReply), 3}
	case s.Mail != 0:
		return judgement{"not known", fmt.Sprintf("%s puts mail without AUTH off: %s", over, s.MailReply), 3}
	}
	return judgement{"not known", fmt.Sprintf("%s was greeted and then lost: %s", over, s.Problem), 3}
}
