// SPDX-License-Identifier: GPL-3.0-or-later

package event

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestEncode(t *testing.T) {
	tests := []struct {
		name string
		in   Event
		want string
	}{
		{"ascii", Reply{"1", `250 "ok" \o/`}, `{"event":"reply","id":"1","line":"250 \"ok\" \\o/"}`},
		{"latin", Reply{"1", "é"}, `{"event":"reply","id":"1","line":"\u00e9"}`},
		{"beyond the BMP", Reply{"1", "😀"}, `{"event":"reply","id":"1","line":"\ud83d\ude00"}`},
		{"invalid UTF-8", Reply{"1", "a\xffb"}, `{"event":"reply","id":"1","line":"a\ufffdb"}`},
		{"NUL", Reply{"1", "a\x00b"}, `{"event":"reply","id":"1","line":"a\ufffdb"}`},
		{"a backslash before u0000", Reply{"1", `\u0000`}, `{"event":"reply","id":"1","line":"\\u0000"}`},
		{"line end", Reply{"1", "a\nb"}, `{"event":"reply","id":"1","line":"a\nb"}`},
		{"no members", Closed{}, `{"event":"closed"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := encode(tt.in)
			if err != nil || string(got) != tt.want+"\n" {
				t.Errorf("got %s, %v; want %s", got, err, tt.want)
			}
		})
	}
}

// nobody reads the other end of a stuck pipe until told to.
type stuck struct{ *io.PipeWriter }

func TestStreamDoesNotWait(t *testing.T) {
	r, w := io.Pipe()
	s := NewStream(stuck{w})
	for i := range 5 * maxChatter { // nobody reads, and this returns all the same
		s.Send(Progress{"a", int64(i), 1 << 20})
		s.Send(Reply{"a", "chatter"})
	}
	s.Send(State{"a", map[string]string{"status": "accepted"}})
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()

	counts := map[string]int{}
	var last string
	for sc := bufio.NewScanner(r); sc.Scan(); {
		var e struct {
			Event string
			Sent  int64
		}
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		counts[e.Event]++
		last = e.Event
	}
	<-closed
	// One batch may have been taken by the writer before the rest piled up.
	if counts["progress"] > 5*maxChatter/2 || counts["reply"] > 2*maxChatter {
		t.Errorf("not merged: %v", counts)
	}
	if counts["state"] != 1 || last != "closed" {
		t.Errorf("a final event is missing: %v, last %q", counts, last)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("EPIPE") }
func (broken) Close() error              { return nil }

func TestStreamSurvivesABrokenPipe(t *testing.T) {
	s := NewStream(broken{})
	for range 100 {
		s.Send(Reply{"a", "x"})
	}
	s.Close()
	s.Send(Reply{"a", "after the end"})
}

func TestGuard(t *testing.T) {
	r, w := io.Pipe()
	s := NewStream(w)
	go func() {
		defer s.Close()
		defer s.Guard("a test", "")
		panic("on purpose")
	}()
	text, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(text), "a test: on purpose") {
		t.Errorf("got %q, %v", text, err)
	}
}
