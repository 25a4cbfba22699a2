// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestAdd(t *testing.T) {
	b := open(t)
	b.now = func() time.Time { return time.Date(2026, 11, 21, 23, 15, 0, 5, time.FixedZone("", 3600)) }
	d := draftOf(t, b, sample)
	must(t, os.Chmod(d.File, 0o644))
	e, err := b.Add(d)
	must(t, err)
	defer e.Release()
	want := State{
		Version: 1, ID: e.ID(), Rev: 1, Status: Queued, MessageID: "<1@example.org>", Subject: "hello",
		Size: int64(len(sample)), Queued: time.Date(2026, 11, 21, 22, 15, 0, 0, time.UTC),
		Envelope: d.Envelope, Settings: d.Settings,
		Receipt: Receipt{Accepted: []string{}, Refused: []Refusal{}, Attempts: []Attempt{}},
	}
	if !strings.HasPrefix(e.ID(), "20261121T221500-") {
		t.Errorf("id %s", e.ID())
	}
	if got := e.State(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	disk := onDisk(t, b, e.ID())
	disk.Settings = json.RawMessage(compact(t, disk.Settings))
	if !reflect.DeepEqual(disk, want) {
		t.Errorf("on disk %+v\nwant %+v", disk, want)
	}
	if got := bytesOf(t, e); got != sample {
		t.Errorf("bytes: %q", got)
	}
	if got, want := names(t, b), []string{"." + e.ID() + ".lock", e.ID() + ".eml", e.ID() + ".json"}; !reflect.DeepEqual(got, want) {
		t.Errorf("files %q", got)
	}
	if runtime.GOOS != "windows" {
		for _, name := range names(t, b) {
			info, err := os.Stat(b.disk.path(name))
			must(t, err)
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", name, info.Mode())
			}
		}
	}
	if _, err := b.Claim(e.ID()); !errors.Is(err, ErrBusy) {
		t.Errorf("claim of an owned message: %v", err)
	}
}

// TestAddFile: which files are taken over, and which are copied.
func TestAddFile(t *testing.T) {
	for name, test := range map[string]struct {
		file  func(b *Box) string
		taken bool
	}{
		"draft":                {func(b *Box) string { return b.disk.path(".draft-1") }, true},
		"other temporary file": {func(b *Box) string { return b.disk.path(".x") }, true},
		"by another way":       {func(b *Box) string { return b.disk.dir + "/../outbox/.draft-1" }, true},
		"not temporary":        {func(b *Box) string { return b.disk.path("draft") }, false},
		"another's message":    {func(b *Box) string { return b.disk.path(messageName(sampleID)) }, false},
		"another's new one":    {func(b *Box) string { return b.disk.path(newMessageName(sampleID)) }, false},
		"elsewhere":            {func(b *Box) string { return filepath.Join(filepath.Dir(b.disk.dir), ".draft-1") }, false},
	} {
		for what, text := range map[string]string{"": sample, ", with Bcc": "Bcc: x@example.org\r\n" + sample} {
			t.Run(name+what, func(t *testing.T) {
				b := open(t)
				file := test.file(b)
				must(t, os.WriteFile(file, []byte(text), 0o600))
				e, err := b.Add(Draft{File: file})
				must(t, err)
				defer e.Release()
				if got := bytesOf(t, e); got != sample || e.State().Size != int64(len(sample)) {
					t.Errorf("%q, size %d", got, e.State().Size)
				}
				left, err := os.ReadFile(file)
				if test.taken && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("the file: %v", err)
				}
				if !test.taken && string(left) != text {
					t.Errorf("the file: %q, %v", left, err)
				}
			})
		}
	}
}

// TestAddBytes: all bytes but the Bcc fields arrive as they are.
func TestAddBytes(t *testing.T) {
	var all strings.Builder
	for c := range 256 {
		all.WriteByte(byte(c))
	}
	long := strings.Repeat("x", 3*blockSize)
	for name, text := range map[string]string{
		"empty":         "",
		"all bytes":     "To: a\n\n" + all.String(),
		"bare CR":       "To: a\r\rb\rc",
		"dots":          "To: a\n\n.\n..\n.\r\n",
		"no line end":   "To: a\n\nb",
		"long line":     "To: a\n\n" + long + "\n",
		"long header":   "X: " + long + "\n\n" + long,
		"Bcc in a body": "To: a\n\nBcc: b\n",
	} {
		for what, bcc := range map[string]string{"": "", ", with Bcc": "Bcc: b,\n c\nResent-Bcc: \xe9\n"} {
			t.Run(name+what, func(t *testing.T) {
				b := open(t)
				e := add(t, b, bcc+text)
				if got := bytesOf(t, e); got != text {
					t.Errorf("%d bytes of %d: %.200q", len(got), len(text), got)
				}
				if s := e.State(); s.Size != int64(len(text)) || s.EightBit != (name == "all bytes") {
					t.Errorf("size %d, 8-bit %v", s.Size, s.EightBit)
				}
			})
		}
	}
}

// TestAddErrors: after an error the draft is where it was and nothing else is there.
func TestAddErrors(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, b *Box, d *Draft)
		want  error
	}{
		"no such file":        {func(t *testing.T, b *Box, d *Draft) { d.File += "x" }, fs.ErrNotExist},
		"no file":             {func(t *testing.T, b *Box, d *Draft) { d.File = "" }, fs.ErrNotExist},
		"a directory":         {func(t *testing.T, b *Box, d *Draft) { d.File = t.TempDir() }, ErrInvalid},
		"the outbox":          {func(t *testing.T, b *Box, d *Draft) { d.File = b.disk.dir }, ErrInvalid},
		"id a path":           {func(t *testing.T, b *Box, d *Draft) { d.ID = "../" + sampleID[:21] }, ErrInvalid},
		"settings not JSON":   {func(t *testing.T, b *Box, d *Draft) { d.Settings = json.RawMessage("{") }, ErrInvalid},
		"settings a list":     {func(t *testing.T, b *Box, d *Draft) { d.Settings = json.RawMessage("[]") }, ErrInvalid},
		"recipient with LF":   {func(t *testing.T, b *Box, d *Draft) { d.Envelope.To[0] += "\nDATA" }, ErrInvalid},
		"sender with NUL":     {func(t *testing.T, b *Box, d *Draft) { d.Envelope.From += "\x00" }, ErrInvalid},
		"recipient not UTF-8": {func(t *testing.T, b *Box, d *Draft) { d.Envelope.To[0] = "\xff" }, ErrInvalid},
		"too many Bcc": {func(t *testing.T, b *Box, d *Draft) {
			must(t, os.WriteFile(d.File, []byte(strings.Repeat("Bcc: a\nX: b\n", cutLimit+1)), 0o600))
		}, ErrInvalid},
	} {
		for what, text := range map[string]string{"": sample, ", with Bcc": "Bcc: x@example.org\n" + sample} {
			t.Run(name+what, func(t *testing.T) {
				b := open(t)
				d := draftOf(t, b, text)
				file := d.File
				test.spoil(t, b, &d)
				before, err := os.ReadFile(file)
				must(t, err)
				e, err := b.Add(d)
				if !errors.Is(err, test.want) || e != nil {
					t.Errorf("%v, want %v", err, test.want)
				}
				var typed *Error
				if !errors.As(err, &typed) {
					t.Errorf("no *Error: %v", err)
				}
				after, err := os.ReadFile(file)
				if err != nil || string(after) != string(before) {
					t.Errorf("the draft: %q, %v", after, err)
				}
				if got := names(t, b); len(got) != 1 {
					t.Errorf("left behind: %q", got)
				}
			})
		}
	}
}

// TestKeep: a draft stays with its message, and goes with it.
func TestKeep(t *testing.T) {
	b := open(t)
	d := draftOf(t, b, sample)
	d.Keep = draftOf(t, b, "as it was typed").File
	e, err := b.Add(d)
	must(t, err)
	defer e.Release()
	text, err := os.ReadFile(b.disk.path(keptName(e.ID())))
	if err != nil || string(text) != "as it was typed" {
		t.Errorf("kept %q, %v", text, err)
	}
	if states, problems := b.List(); len(states) != 1 || len(problems) != 0 {
		t.Errorf("%d messages, %v", len(states), problems)
	}
	advance(t, e, Cancelled)
	must(t, e.Remove())
	if got := names(t, b); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
	for name, file := range map[string]string{"not there": b.disk.path(".draft-0"), "elsewhere": filepath.Join(t.TempDir(), ".draft-1")} {
		d := draftOf(t, b, sample)
		d.Keep = file
		if _, err := b.Add(d); err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := names(t, b); len(got) != 1 {
			t.Errorf("%s: left behind: %q", name, got)
		}
		must(t, os.Remove(d.File))
	}
}

// TestAddID: a caller may choose the ID, but never that of another message.
func TestAddID(t *testing.T) {
	b := open(t)
	d := draftOf(t, b, sample)
	d.ID = NewID(time.Now())
	first, err := b.Add(d)
	must(t, err)
	if first.ID() != d.ID {
		t.Errorf("%s instead of %s", first.ID(), d.ID)
	}
	again := draftOf(t, b, "To: else\n\n")
	again.ID = d.ID
	if _, err := b.Add(again); !errors.Is(err, ErrBusy) {
		t.Errorf("owned: %v", err)
	}
	first.Release()
	if _, err := b.Add(again); !errors.Is(err, ErrInvalid) {
		t.Errorf("not owned: %v", err)
	}
	if got := bytesOf(t, claim(t, b, d.ID)); got != sample {
		t.Errorf("the first message: %q", got)
	}
}
