// SPDX-License-Identifier: GPL-3.0-or-later

package crash

import (
	"encoding/binary"
	"os"
	"syscall"
)

// watch calls tick for each change to a name in dir, until stop is called.
func watch(dir string, tick func()) (stop func(), err error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	events := os.NewFile(uintptr(fd), "inotify")
	if _, err := syscall.InotifyAddWatch(fd, dir, syscall.IN_CREATE|syscall.IN_MOVED_TO|syscall.IN_DELETE); err != nil {
		events.Close()
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buffer := make([]byte, 64<<10); ; {
			n, err := events.Read(buffer)
			if err != nil {
				return
			}
			for at := 0; at+syscall.SizeofInotifyEvent <= n; {
				tick()
				at += syscall.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buffer[at+12:]))
			}
		}
	}()
	return func() { events.Close(); <-done }, nil
}
