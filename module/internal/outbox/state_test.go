// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

const sampleID = "20261121T221500-3f9a2c1b"

func sampleState() State {
	next := time.Date(2026, 11, 21, 22, 16, 0, 0, time.UTC)
	return State{
		Version: 1, ID: sampleID, Rev: 3, Status: Deferred,
		MessageID: "<1@example.org>", Subject: "grüße \U0001F600", Size: 1234, EightBit: true,
		Queued: time.Date(2026, 11, 21, 22, 15, 0, 0, time.UTC), Tries: 1, NextTry: &next,
		Envelope: Envelope{From: "a@example.org", To: []string{"left@example.org"}},
		Settings: json.RawMessage(`{"host":"mail.example.org"}`),
		Receipt: Receipt{
			Host: "mail.example.org", Address: "198.18.0.1", Family: "ipv4", Port: 25, TLS: "verified",
			Reply:    "451 4.3.0 later <soon> & again",
			Accepted: []string{"ok@example.org"},
			Refused:  []Refusal{{"no@example.org", "550 5.1.1 no"}},
			Attempts: []Attempt{
				{Family: "ipv4", Port: 587, Address: "198.18.0.1", Outcome: "reset", Case: 2, Detail: "refused", Elapsed: 0.25},
				{Family: "ipv4", Port: 25, Address: "198.18.0.1", Outcome: "closed", Elapsed: 0.5},
			},
			Elapsed: 0.75,
		},
	}
}

// sampleText is sampleState on disk, byte for byte: what people and Lisp read.
const sampleText = `{
  "version": 1,
  "rev": 3,
  "status": "deferred",
  "tries": 1,
  "next-try": "2026-11-21T22:16:00Z",
  "data": false,
  "dot": false,` + "                                                              " + `
  "id": "20261121T221500-3f9a2c1b",
  "reason": null,
  "detail": "",
  "message-id": "<1@example.org>",
  "subject": "gr\u00fc\u00dfe \ud83d\ude00",
  "size": 1234,
  "8bit": true,
  "queued": "2026-11-21T22:15:00Z",
  "envelope": {
    "from": "a@example.org",
    "to": [
      "left@example.org"
    ]
  },
  "settings": {
    "host": "mail.example.org"
  },
  "receipt": {
    "host": "mail.example.org",
    "address": "198.18.0.1",
    "family": "ipv4",
    "port": 25,
    "tls": "verified",
    "reply": "451 4.3.0 later <soon> & again",
    "accepted": [
      "ok@example.org"
    ],
    "refused": [
      [
        "no@example.org",
        "550 5.1.1 no"
      ]
    ],
    "attempts": [
      {
        "family": "ipv4",
        "port": 587,
        "address": "198.18.0.1",
        "outcome": "reset",
        "case": 2,
        "detail": "refused",
        "elapsed": 0.25
      },
      {
        "family": "ipv4",
        "port": 25,
        "address": "198.18.0.1",
        "outcome": "closed",
        "case": null,
        "detail": "",
        "elapsed": 0.5
      }
    ],
    "elapsed": 0.75
  }
}
`

func TestStateText(t *testing.T) {
	text, err := sampleState().encode()
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != sampleText {
		t.Errorf("written:\n%s", text)
	}
	s, err := decode([]byte(sampleText), sampleID)
	if err != nil {
		t.Fatal(err)
	}
	// Settings are kept as they are laid out in the file.
	s.Settings = json.RawMessage(compact(t, s.Settings))
	if want := sampleState(); !reflect.DeepEqual(s, want) {
		t.Errorf("read:\n%+v\nwant:\n%+v", s, want)
	}
}

func compact(t *testing.T, text []byte) string {
	t.Helper()
	var b bytes.Buffer
	must(t, json.Compact(&b, text))
	return b.String()
}

// TestStateSparse: no list is ever null, and no settings are an empty object.
func TestStateSparse(t *testing.T) {
	text, err := State{Version: 1, ID: sampleID, Rev: 1, Status: Queued}.encode()
	if err != nil {
		t.Fatal(err)
	}
	flat := compact(t, text)
	for _, want := range []string{
		`"reason":null`, `"next-try":null`, `"to":[]`, `"settings":{}`,
		`"accepted":[],"refused":[],"attempts":[]`,
	} {
		if !strings.Contains(flat, want) {
			t.Errorf("no %s in %s", want, flat)
		}
	}
}

func TestStateASCII(t *testing.T) {
	for name, test := range map[string]struct{ in, out, json string }{
		"plain":            {"a", "a", `"a"`},
		"nul":              {"a\x00b", "a\ufffdb", `"a\ufffdb"`},
		"two nul":          {"\x00\x00", "\ufffd\ufffd", `"\ufffd\ufffd"`},
		"written-out nul":  {`a\u0000b`, `a\u0000b`, `"a\\u0000b"`},
		"backslash, nul":   {"\\\x00", "\\\ufffd", `"\\\ufffd"`},
		"quote":            {`"`, `"`, `"\""`},
		"controls":         {"\x01\t\n\x7f", "\x01\t\n\x7f", "\"\\u0001\\t\\n\x7f\""},
		"latin-1":          {"\xe9t\xe9", "\ufffdt\ufffd", `"\ufffdt\ufffd"`},
		"beyond the plane": {"\U0001F600", "\U0001F600", `"\ud83d\ude00"`},
		"line separator":   {"\u2028", "\u2028", `"\u2028"`},
		"html":             {"<&>", "<&>", `"<&>"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := sampleState()
			s.Subject = test.in
			text, err := s.encode()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(text, []byte(`"subject": `+test.json+",\n")) {
				t.Errorf("no %s in %s", test.json, text)
			}
			back, err := decode(text, sampleID)
			if err != nil || back.Subject != test.out {
				t.Errorf("read %q, %v", back.Subject, err)
			}
		})
	}
}

func TestDecodeErrors(t *testing.T) {
	with := func(old, new string) string {
		if !strings.Contains(sampleText, old) {
			t.Fatalf("no %s", old)
		}
		return strings.Replace(sampleText, old, new, 1)
	}
	for name, test := range map[string]struct {
		text string
		want error
	}{
		"whole":            {sampleText, nil},
		"unknown key":      {with(`"tries"`, `"mood": "good", "tries"`), nil},
		"empty":            {"", ErrDamaged},
		"nul bytes":        {strings.Repeat("\x00", 4096), ErrDamaged},
		"cut short":        {sampleText[:len(sampleText)/2], ErrDamaged},
		"two objects":      {sampleText + sampleText, ErrDamaged},
		"an array":         {"[]", ErrDamaged},
		"null":             {"null", ErrDamaged},
		"no version":       {with(`"version": 1`, `"edition": 1`), ErrDamaged},
		"version 0":        {with(`"version": 1`, `"version": 0`), ErrDamaged},
		"version -1":       {with(`"version": 1`, `"version": -1`), ErrDamaged},
		"version a string": {with(`"version": 1`, `"version": "1"`), ErrDamaged},
		"version 2":        {with(`"version": 1`, `"version": 2`), ErrNewer},
		"version 2, else":  {`{"version": 2, "status": ["split", 2], "id": 7}`, ErrNewer},
		"other id":         {with(`3f9a2c1b`, `3f9a2c1c`), ErrDamaged},
		"id a path":        {with(sampleID, `../../x`), ErrDamaged},
		"rev 0":            {with(`"rev": 3`, `"rev": 0`), ErrDamaged},
		"rev too large":    {with(`"rev": 3`, `"rev": 99999999999999999999`), ErrDamaged},
		"status unknown":   {with(`"deferred"`, `"sent"`), ErrDamaged},
		"status null":      {with(`"deferred"`, `null`), ErrDamaged},
		"reason unknown":   {with(`"reason": null`, `"reason": "weather"`), ErrDamaged},
		"reason a number":  {with(`"reason": null`, `"reason": 5`), ErrDamaged},
		"dot":              {with(`"dot": false`, `"dot": true`), ErrDamaged},
		"dot while sending": {
			strings.Replace(with(`"dot": false`, `"dot": true`), `"deferred"`, `"sending"`, 1), nil},
		"settings null":      {with("{\n    \"host\": \"mail.example.org\"\n  }", "null"), ErrDamaged},
		"settings a list":    {with("{\n    \"host\": \"mail.example.org\"\n  }", "[]"), ErrDamaged},
		"refused one string": {with("\"no@example.org\",\n        \"550 5.1.1 no\"", `"no@example.org"`), ErrDamaged},
		"refused an object":  {with("[\n        \"no@example.org\",\n        \"550 5.1.1 no\"\n      ]", `{"a":"b"}`), ErrDamaged},
		"address with CR":    {with(`left@example.org`, `left@example.org\r\nDATA`), ErrDamaged},
		"address with NUL":   {with(`left@example.org`, `left\u0000@example.org`), ErrDamaged},
		"time not a time":    {with(`2026-11-21T22:15:00Z`, `yesterday`), ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := decode([]byte(test.text), sampleID)
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if test.want != nil && !reflect.DeepEqual(s, State{}) {
				t.Errorf("a state despite the error: %+v", s)
			}
		})
	}
}

func TestEncodeErrors(t *testing.T) {
	for name, spoil := range map[string]func(*State){
		"address not UTF-8":    func(s *State) { s.Envelope.To = []string{"\xe9@example.org"} },
		"address with LF":      func(s *State) { s.Envelope.From = "a@example.org\nRCPT" },
		"address with DEL":     func(s *State) { s.Envelope.From = "a\x7f@example.org" },
		"settings not JSON":    func(s *State) { s.Settings = json.RawMessage("{") },
		"settings not object":  func(s *State) { s.Settings = json.RawMessage("[]") },
		"settings blank":       func(s *State) { s.Settings = json.RawMessage("  ") },
		"settings two objects": func(s *State) { s.Settings = json.RawMessage("{}{}") },
		"elapsed no number":    func(s *State) { s.Receipt.Elapsed = math.NaN() },
		"reason unknown":       func(s *State) { s.Reason = "weather" },
		"too large":            func(s *State) { s.Receipt.Reply = strings.Repeat("x", stateLimit) },
	} {
		t.Run(name, func(t *testing.T) {
			s := sampleState()
			spoil(&s)
			if text, err := s.encode(); !errors.Is(err, ErrInvalid) || text != nil {
				t.Errorf("%d bytes, %v", len(text), err)
			}
		})
	}
}

// FuzzState: whatever is in the file, it is read or refused with one of two
// errors; what is read can be written, in ASCII, and reads as the same again.
func FuzzState(f *testing.F) {
	f.Add([]byte(sampleText))
	f.Add([]byte(`{"version":1,"id":"` + sampleID + `","rev":1,"status":"sending","dot":true}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"settings":{"\u0000":"\\u0000","` + "\xff" + `":[]}}`))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := decode(text, sampleID)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Errorf("%v", err)
			}
			return
		}
		once, err := s.encode()
		if err != nil {
			t.Fatalf("read and not to be written: %v", err)
		}
		for _, c := range once {
			if c >= utf8.RuneSelf {
				t.Fatalf("not ASCII: %q", once)
			}
		}
		again, err := decode(once, sampleID)
		if err != nil {
			t.Fatalf("written and not to be read: %v\n%s", err, once)
		}
		twice, err := again.encode()
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%v\n%s\n%s", err, once, twice)
		}
	})
}
