// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// cutText gives text without what scan would cut out.
func cutText(text string, cuts []span) string {
	var kept strings.Builder
	at := int64(0)
	for _, cut := range cuts {
		kept.WriteString(text[at:cut.from])
		at = cut.to
	}
	kept.WriteString(text[at:])
	return kept.String()
}

func TestScan(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, test := range map[string]struct {
		in, out     string // out: "" as in
		subject, id string
		eightBit    bool
	}{
		"empty":               {in: ""},
		"only a body":         {in: "\nBcc: x@example.org\n"},
		"only a body, CRLF":   {in: "\r\nBcc: x@example.org\r\n"},
		"only a body, CR":     {in: "\rBcc: x@example.org\r"},
		"no body":             {in: "Subject: s\nMessage-ID: <1@x>\n", subject: "s", id: "<1@x>"},
		"no final line end":   {in: "Subject: s", subject: "s"},
		"LF":                  {in: "Bcc: a\nSubject: s\n\nb", out: "Subject: s\n\nb", subject: "s"},
		"CRLF":                {in: "Bcc: a\r\nSubject: s\r\n\r\nb", out: "Subject: s\r\n\r\nb", subject: "s"},
		"CR":                  {in: "Bcc: a\rSubject: s\r\rb", out: "Subject: s\r\rb", subject: "s"},
		"mixed":               {in: "Subject: s\rBcc: a\nTo: b\r\nBcc: c\r\n\nBcc: d", out: "Subject: s\rTo: b\r\n\nBcc: d", subject: "s"},
		"Bcc last, LF":        {in: "To: a\nBcc: b\n\nBcc: c\n", out: "To: a\n\nBcc: c\n"},
		"Bcc last, CRLF":      {in: "To: a\r\nBcc: b\r\n\r\nBcc: c\r\n", out: "To: a\r\n\r\nBcc: c\r\n"},
		"Bcc last, CR CRLF":   {in: "To: a\nBcc: b\r\r\nBcc: c\n", out: "To: a\n\r\nBcc: c\n"},
		"CR, Bcc, LF":         {in: "To: a\rBcc: b\n\nc", out: "To: a\r\n\nc"},
		"CR, two Bcc, LF":     {in: "To: a\rBcc: b\rBcc: b\r\n\nc", out: "To: a\r\n\nc"},
		"CR, Bcc, CRLF":       {in: "To: a\rBcc: b\n\r\nc", out: "To: a\r\r\nc"},
		"CRLF, Bcc, LF":       {in: "To: a\r\nBcc: b\n\nc", out: "To: a\r\n\nc"},
		"Bcc at the end":      {in: "To: a\nBcc: b", out: "To: a\n"},
		"Bcc alone":           {in: "Bcc: b\n", out: "\x00"},
		"Resent-Bcc":          {in: "RESENT-bcc: b\nBCC: c\nResent-To: d\n\n", out: "Resent-To: d\n\n"},
		"empty Bcc":           {in: "Bcc:\nTo: a\n\n", out: "To: a\n\n"},
		"folded Bcc":          {in: "Bcc: a,\n b,\n\tc\nTo: d\n\n", out: "To: d\n\n"},
		"folded blank":        {in: "Bcc: a,\n \n b\nTo: d\n\n", out: "To: d\n\n"},
		"folded name":         {in: "Bcc\n : a\nTo: d\n\n", out: "To: d\n\n"},
		"blank before colon":  {in: "Bcc \t" + strings.Repeat(" ", 99) + ": a\nTo: d\n\n", out: "To: d\n\n"},
		"blank before name":   {in: " Bcc: a\nTo: d\n\n", out: "To: d\n\n"},
		"not quite Bcc":       {in: "X-Bcc: a\nBccs: b\nBcc-Not: c\nB cc: d\nBcc\nTo: e\n\n"},
		"Bcc in a field":      {in: "To: a,\n Bcc: b\nSubject: Bcc: c\n\n", subject: "Bcc: c"},
		"Bcc as a value":      {in: "Subject:\n Bcc: b\n\n", subject: "Bcc: b"},
		"after no field":      {in: "From a Mon\nBcc: b\n: \nBcc: c\nTo: d\n\n", out: "From a Mon\n: \nTo: d\n\n"},
		"long line":           {in: "X: " + long + "\nBcc: " + long + "\nTo: a\n\n", out: "X: " + long + "\nTo: a\n\n"},
		"long name":           {in: long + "Bcc: a\nSubject: s\n\n", subject: "s"},
		"long subject":        {in: "Subject: " + long + "\n\n", subject: strings.Repeat("x", valueLimit-1)},
		"folded subject":      {in: "Subject: a\r\n b\r\n\tc\r\n\r\n", subject: "a b c"},
		"encoded subject":     {in: "Subject: =?utf-8?q?gr=C3=BC?=\n\n", subject: "=?utf-8?q?gr=C3=BC?="},
		"8-bit subject":       {in: "Subject: gr\xfc\xc3\xbc\x00.\n\n", subject: "gr\ufffdü .", eightBit: true},
		"first of two":        {in: "Subject: a\nSubject: b\nMESSAGE-id : <1@x>\nMessage-ID: <2@x>\n\n", subject: "a", id: "<1@x>"},
		"subject in the body": {in: "To: a\n\nSubject: s\n"},
		"8-bit far below":     {in: "\n" + long + "\xff", eightBit: true},
		"8-bit at once":       {in: "\n\x80" + long, eightBit: true},
		"127 is not 8-bit":    {in: "\n\x7f" + strings.Repeat("\x7f", 5000)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := scan(strings.NewReader(test.in))
			if err != nil {
				t.Fatal(err)
			}
			want := test.out
			if want == "" {
				want = test.in
			} else if want == "\x00" {
				want = ""
			}
			if text := cutText(test.in, got.cuts); text != want {
				t.Errorf("left: %.200q", text)
			}
			if got.subject != test.subject || got.messageID != test.id {
				t.Errorf("subject %.200q, id %q", got.subject, got.messageID)
			}
			if got.eightBit != test.eightBit || got.size != int64(len(test.in)) {
				t.Errorf("8-bit %v, size %d of %d", got.eightBit, got.size, len(test.in))
			}
		})
	}
}

// TestScanEveryBlock: what falls on the border of two reads makes no difference.
func TestScanEveryBlock(t *testing.T) {
	const tail = "Bcc: a,\r\n b\r\nSubject: s\r\n\r\nBcc: body\r\n\x80"
	for shift := range len(tail) + 2 {
		text := "X: " + strings.Repeat("x", blockSize-len(tail)+shift) + "\r\n" + tail
		got, err := scan(strings.NewReader(text))
		if err != nil || got.subject != "s" || !got.eightBit || len(got.cuts) != 1 ||
			text[got.cuts[0].from:got.cuts[0].to] != "Bcc: a,\r\n b\r\n" {
			t.Fatalf("shift %d: %+v, %v", shift, got, err)
		}
	}
}

func TestScanErrors(t *testing.T) {
	broken := errors.New("broken")
	for name, text := range map[string]string{"header": "To: a\n", "body": "To: a\n\nb"} {
		if _, err := scan(io.MultiReader(strings.NewReader(text), failing{broken})); !errors.Is(err, broken) {
			t.Errorf("in the %s: %v", name, err)
		}
	}
	many := strings.Repeat("Bcc: a\nX: b\n", cutLimit)
	if got, err := scan(strings.NewReader(many)); err != nil || len(got.cuts) != cutLimit {
		t.Errorf("at the limit: %d, %v", len(got.cuts), err)
	}
	if _, err := scan(strings.NewReader(many + "Bcc: a\n\n")); !errors.Is(err, ErrInvalid) {
		t.Errorf("over the limit: %v", err)
	}
	if got, err := scan(strings.NewReader(strings.Repeat("Bcc: a\n", 5*cutLimit))); err != nil || len(got.cuts) != 1 {
		t.Errorf("neighbours: %d, %v", len(got.cuts), err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestScanMemory: neither a large body, nor a long header, nor a long line is
// kept in memory.
func TestScanMemory(t *testing.T) {
	const size = 4 << 20
	for name, piece := range map[string]string{
		"a line":    "x",
		"a subject": "Subject: ",
		"fields":    "X: y\n",
		"a body":    "\n",
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := scan(io.LimitReader(&repeat{piece: piece}, size)); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<19 {
				t.Errorf("%d bytes for %d", used, size)
			}
		})
	}
}

// repeat gives a piece for ever.
type repeat struct {
	piece string
	at    int
}

func (r *repeat) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = r.piece[r.at]
		r.at = (r.at + 1) % len(r.piece)
	}
	return len(b), nil
}

// FuzzScan: the body stays, nothing is left to cut, and copyWithout does what
// the cuts say.
func FuzzScan(f *testing.F) {
	f.Add([]byte("To: a\nBcc: b,\r\n c\r\rBcc: d\n\n"))
	f.Add([]byte(" Bcc: a\n\n\n"))
	f.Add([]byte("Resent-Bcc : a\r\n\t\r\nSubject: \xff\x00\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := scan(bytes.NewReader(text))
		if errors.Is(err, ErrInvalid) {
			return
		}
		if err != nil || got.size != int64(len(text)) {
			t.Fatalf("%+v, %v", got, err)
		}
		at := int64(0)
		for _, cut := range got.cuts {
			if cut.from < at || cut.to <= cut.from || cut.to > got.size {
				t.Fatalf("cuts %v", got.cuts)
			}
			at = cut.to
		}
		// Apart from scan: with one kind of line end, the header stops at
		// the first two in a row, and all from there on stays.
		plain := strings.NewReplacer("\r\n", "\n", "\r", "\n")
		whole, left := plain.Replace(string(text)), plain.Replace(cutText(string(text), got.cuts))
		body := func(s string) string { _, after, _ := strings.Cut("\n"+s, "\n\n"); return after }
		if body(whole) != body(left) {
			t.Errorf("the body %q became %q", body(whole), body(left))
		}
		for _, line := range strings.Split(strings.TrimSuffix("\n"+left, "\n\n"+body(left)), "\n") {
			name, _, found := strings.Cut(line, ":")
			if name = strings.ToLower(strings.TrimRight(name, " \t")); found && (name == "bcc" || name == "resent-bcc") {
				t.Errorf("%q is left", line)
			}
		}
		again, err := scan(strings.NewReader(cutText(string(text), got.cuts)))
		if err != nil || again.subject != got.subject || again.messageID != got.messageID {
			t.Errorf("again: %+v, %v", again, err)
		}
	})
}

func TestCopyWithout(t *testing.T) {
	const text = "0123456789"
	for _, cuts := range [][]span{nil, {{0, 3, false}}, {{7, 10, false}}, {{0, 10, false}}, {{1, 2, false}, {4, 6, false}, {9, 10, false}}} {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "from"), []byte(text), 0o600))
		from, err := os.Open(filepath.Join(dir, "from"))
		must(t, err)
		to, err := os.Create(filepath.Join(dir, "to"))
		must(t, err)
		must(t, copyWithout(to, from, int64(len(text)), cuts))
		must(t, to.Close())
		must(t, from.Close())
		got, err := os.ReadFile(filepath.Join(dir, "to"))
		if want := cutText(text, cuts); err != nil || string(got) != want {
			t.Errorf("%v: %q, %v", cuts, got, err)
		}
	}
}
