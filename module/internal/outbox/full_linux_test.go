// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk runs the test that calls it once more, in a mount namespace of its
// own, with 64 KB of disk there, and calls test in it.
func smallDisk(t *testing.T, test func(t *testing.T, disk string)) {
	const inside = "OUTBOX_TEST_SMALL_DISK"
	if disk := os.Getenv(inside); disk != "" {
		must(t, unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		must(t, unix.Mount("tmpfs", disk, "tmpfs", 0, "size=64k,mode=0700"))
		test(t, disk)
		return
	}
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	command.Env = append(os.Environ(), inside+"="+t.TempDir())
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if os.Geteuid() == 0 {
		command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	}
	out, err := command.CombinedOutput()
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) {
		t.Skip("no mount namespace to be had here:", err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestFullDisk: a full disk is told in plain words, whatever it hits, harms no
// message, and is no trouble any more once there is room.
func TestFullDisk(t *testing.T) {
	smallDisk(t, func(t *testing.T, disk string) {
		b := openIn(t, filepath.Join(disk, "outbox"))
		e := add(t, b, sample)
		advance(t, e, Sending)
		elsewhere := filepath.Join(disk, "draft")
		must(t, os.WriteFile(elsewhere, []byte("Bcc: x@example.org\n"+sample), 0o600))
		inside := draftOf(t, b, "Bcc: x@example.org\n"+sample)
		before := names(t, b)

		room := fill(t, disk)
		full := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "the disk is full") {
				t.Errorf("%s: %v", what, err)
			}
			if after := names(t, b); strings.Join(after, " ") != strings.Join(before, " ") {
				t.Errorf("%s: files %q, before %q", what, after, before)
			}
			sameOnDisk(t, b, e)
		}
		reply := func(s *State) { s.Receipt.Reply = strings.Repeat("250 ok ", 10000) }
		_, err := b.Add(Draft{File: elsewhere})
		full("add a copy", err)
		_, err = b.Add(inside)
		full("add a draft", err)
		full("move", e.Move(Deferred, reply))
		full("update", e.Update(reply))
		if states, problems := openIn(t, b.disk.dir).List(); len(states) != 1 || len(problems) != 0 {
			t.Errorf("list: %+v, %v", states, problems)
		}

		// What a server has taken needs no room, lest it be sent again.
		must(t, e.MarkDot())
		must(t, e.Move(Accepted, reply))
		here, there := e.State(), onDisk(t, b, e.ID())
		if here.Status != Accepted || here.Receipt.Reply == "" || there.Status != Accepted || there.Dot || there.Rev != here.Rev {
			t.Errorf("here %+v\non disk %+v", here, there)
		}
		must(t, b.Sync())
		must(t, e.Remove())
		must(t, os.Remove(room))
		if text := bytesOf(t, add(t, b, sample)); text != sample {
			t.Errorf("%q", text)
		}
	})
}

// fill fills the disk to the last byte, in a file whose name it returns.
func fill(t *testing.T, disk string) string {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(disk, "fill"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer file.Close()
	for block := make([]byte, 1024); ; {
		if _, err := file.Write(block); errors.Is(err, syscall.ENOSPC) {
			return file.Name()
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestReadOnly: nobody, and root neither, can write a read-only file system.
func TestReadOnly(t *testing.T) {
	smallDisk(t, func(t *testing.T, disk string) {
		dir := filepath.Join(disk, "outbox")
		b := openIn(t, dir)
		e := add(t, b, sample)
		e.Release() // a file open for writing keeps a file system from becoming read-only
		must(t, unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		for what, err := range map[string]error{
			"open": failed(Open(dir)),
			"make": failed(Open(filepath.Join(disk, "other"))),
			"take": failed(b.Claim(e.ID())),
		} {
			if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "the file system is read-only") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if states, problems := b.List(); len(states) != 1 || len(problems) != 0 {
			t.Errorf("list: %+v, %v", states, problems)
		}
	})
}

func failed[T any](_ T, err error) error { return err }
