// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"errors"
	"os"
	"regexp"
	"testing"

	"submission/module/internal/outbox"
	"submission/module/internal/session"
)

// TestVerdictsAreDocumented holds doc/verdicts.md against the table here.
func TestVerdictsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../doc/verdicts.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[session.Kind]verdict)
	line := regexp.MustCompile("(?m)^\\| `([a-z0-9]+)` \\|.*\\| (deferred|held|refused|uncertain) \\| ?([a-z0-9]*) ?\\|$")
	for _, m := range line.FindAllStringSubmatch(string(text), -1) {
		documented[session.Kind(m[1])] = verdict{outbox.Status(m[2]), outbox.Reason(m[3])}
	}
	for kind, v := range verdicts {
		if documented[kind] != v {
			t.Errorf("%s: the document says %v, the code %v", kind, documented[kind], v)
		}
	}
	for kind := range documented {
		if _, ok := verdicts[kind]; !ok {
			t.Errorf("%s is documented and not in the code", kind)
		}
	}
}

func TestJudge(t *testing.T) {
	recipients := func(codes ...int) (r session.Result) {
		for _, c := range codes {
			r.Recipients = append(r.Recipients, session.Recipient{Reply: session.Reply{Code: c}})
		}
		return r
	}
	all := &session.Error{Kind: session.KindRecipients}
	tests := []struct {
		name   string
		err    error
		result session.Result
		want   verdict
	}{
		{"all refused for good", all, recipients(550, 553), verdict{outbox.Refused, outbox.ReasonRecipients}},
		{"one refused for now", all, recipients(550, 450), verdict{outbox.Deferred, ""}},
		{"not from the dialogue", errors.New("disk"), recipients(), verdict{outbox.Deferred, ""}},
		{"a kind that is not known", &session.Error{Kind: "new"}, recipients(), verdict{outbox.Held, outbox.ReasonProtocol}},
		{"4xx to a recipient does not soften a refused message", &session.Error{Kind: session.KindPermanent},
			recipients(250, 450), verdict{outbox.Refused, outbox.ReasonMessage}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge(tt.err, tt.result); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestLeft(t *testing.T) {
	result := session.Result{Recipients: []session.Recipient{
		{Address: "yes", Reply: session.Reply{Code: 250}, Accepted: true},
		{Address: "later", Reply: session.Reply{Code: 450}},
		{Address: "never", Reply: session.Reply{Code: 550}},
	}}
	to := []string{"yes", "later", "never", "unasked"}
	tests := []struct {
		status outbox.Status
		want   string
	}{
		{outbox.Accepted, "later unasked"},
		{outbox.Deferred, "yes later unasked"}, // nobody has it: the message was not taken
		{outbox.Uncertain, "yes later unasked"},
	}
	for _, tt := range tests {
		t.Run(string(tt.status), func(t *testing.T) {
			e := ending{verdict: verdict{status: tt.status}, result: result}
			got := ""
			for _, address := range e.left(to) {
				got += " " + address
			}
			if got != " "+tt.want {
				t.Errorf("left%s, want %s", got, tt.want)
			}
		})
	}
}
