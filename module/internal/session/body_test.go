// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

func convert(t *testing.T, r io.Reader) (string, lineEnds) {
	t.Helper()
	var out bytes.Buffer
	var l lineEnds
	read, written := l.pump(r, func(b []byte) error {
		if len(b) > writeBlock {
			t.Fatalf("a block of %d bytes", len(b))
		}
		out.Write(b)
		return nil
	})
	if read != nil || written != nil {
		t.Fatal(read, written)
	}
	return out.String(), l
}

func TestLineEnds(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for _, test := range []struct {
		name, in, want string
		dots           int64
	}{
		{"nothing", "", "", 0},
		{"CRLF", "a\r\nb\r\n", "a\r\nb\r\n", 0},
		{"LF", "a\nb\n", "a\r\nb\r\n", 0},
		{"CR", "a\rb\r", "a\r\nb\r\n", 0},
		{"mixed", "a\r\nb\nc\rd\n\re", "a\r\nb\r\nc\r\nd\r\n\r\ne\r\n", 0},
		{"CR CR LF", "a\r\r\nb", "a\r\n\r\nb\r\n", 0},
		{"LF LF", "a\n\nb\n", "a\r\n\r\nb\r\n", 0},
		{"no end", "a", "a\r\n", 0},
		{"ends in CR", "a\r", "a\r\n", 0},
		{"a line end alone", "\n", "\r\n", 0},
		{"dots", ".\n..\na.\n.b\n", "..\r\n...\r\na.\r\n..b\r\n", 3},
		{"a dot alone", ".", "..\r\n", 1},
		{"dot after CR", "a\r.\rb", "a\r\n..\r\nb\r\n", 1},
		{"smuggled end", "a\n.\nMAIL FROM:<x>\r\n.\r\n", "a\r\n..\r\nMAIL FROM:<x>\r\n..\r\n", 2},
		{"bare CR and dot", "a\r.\r\nb", "a\r\n..\r\nb\r\n", 1},
		{"NUL and controls", "a\x00b\x01\x1a\n", "a\x00b\x01\x1a\r\n", 0},
		{"8-bit", "\xff\xc3\xa4\n", "\xff\xc3\xa4\r\n", 0},
		{"overlong line", long + "\n" + long, long + "\r\n" + long + "\r\n", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			for how, wrap := range map[string]func(io.Reader) io.Reader{
				"whole":        func(r io.Reader) io.Reader { return r },
				"byte by byte": iotest.OneByteReader,
				"data and EOF": iotest.DataErrReader,
			} {
				got, l := convert(t, wrap(strings.NewReader(test.in)))
				if got != test.want {
					t.Errorf("%s: %q, want %q", how, got, test.want)
				}
				if want := int64(len(test.want)) - test.dots; l.size != want {
					t.Errorf("%s: size %d, want %d", how, l.size, want)
				}
				if l.eightBit != (test.name == "8-bit") {
					t.Errorf("%s: eightBit %v", how, l.eightBit)
				}
			}
		})
	}
}

// plainly does what lineEnds does, without pieces and state.
func plainly(in string) string {
	in = strings.ReplaceAll(strings.ReplaceAll(in, "\r\n", "\n"), "\r", "\n")
	if in != "" && !strings.HasSuffix(in, "\n") {
		in += "\n"
	}
	in = strings.ReplaceAll("\n"+in, "\n.", "\n..")[1:]
	return strings.ReplaceAll(in, "\n", "\r\n")
}

func FuzzLineEnds(f *testing.F) {
	for _, seed := range []string{"", ".", "\r", "a\r\n.\r\n", "\r\r\n.\n", "..\r.", "a\x00\xff\n"} {
		f.Add(seed, uint64(1))
	}
	f.Fuzz(func(t *testing.T, in string, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		var l lineEnds
		var out []byte
		for rest := in; rest != ""; {
			n := 1 + random.IntN(len(rest))
			before := len(out)
			out = l.add(out, []byte(rest[:n]))
			if len(out)-before > 2*n {
				t.Fatalf("%d bytes became %d", n, len(out)-before)
			}
			rest = rest[n:]
		}
		out = l.finish(out)
		if want := plainly(in); string(out) != want {
			t.Fatalf("%q became %q, want %q", in, out, want)
		}
		var env Envelope
		if err := env.Measure(strings.NewReader(in)); err != nil || env.Size != l.size || env.EightBit != l.eightBit || env.UTF8 != l.utf8 {
			t.Fatalf("measured %+v, %v; want %+v", env, err, l)
		}
	})
}

func TestMeasureError(t *testing.T) {
	var env Envelope
	err := env.Measure(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(os.ErrPermission)))
	if !errors.Is(err, os.ErrPermission) {
		t.Errorf("%v", err)
	}
}

func TestMeasure(t *testing.T) {
	for _, test := range []struct {
		name, in       string
		size           int64
		eightBit, utf8 bool
	}{
		{"nothing", "", 0, false, false},
		{"ASCII", "Subject: x\n\nbody\n", 20, false, false},
		{"no final line end", "Subject: x\n\nbody", 20, false, false},
		{"in the body", "Subject: x\n\nkörper\n", 23, true, false},
		{"in the header", "Subject: ü\n\nbody\n", 21, true, true},
		{"in the last header", "A: x\r\nB: ü\r\n\r\nbody\r\n", 21, true, true},
		{"in a header without a body", "Subject: ü", 13, true, true},
		{"no header at all", "\nü\n", 6, true, false},
		{"after CR CR", "A: x\r\rü", 12, true, false},
		{"a dot is no empty line", "A: x\n.\nB: ü\n", 16, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{"at once": strings.NewReader(test.in), "byte by byte": iotest.OneByteReader(strings.NewReader(test.in))} {
				var env Envelope
				if err := env.Measure(r); err != nil || env.Size != test.size || env.EightBit != test.eightBit || env.UTF8 != test.utf8 {
					t.Errorf("%s: %+v, %v", name, env, err)
				}
			}
		})
	}
}

// Memory must not grow with the size of a message.
func TestPumpMemory(t *testing.T) {
	in := bytes.Repeat([]byte(".line\n"), readBlock)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var l lineEnds
	_, _ = l.pump(bytes.NewReader(in), func([]byte) error { return nil })
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 4*writeBlock {
		t.Errorf("%d bytes allocated for a message of %d", got, len(in))
	}
}
