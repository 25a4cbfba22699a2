// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"bytes"
	"fmt"
)

// headSize is how many bytes the head of a state file has: the keys that change
// while a message is being sent, and spaces up to here. A change of the head
// alone is made in place, which costs one sync at most, where a new file costs
// one for itself and one for its name. The head lies within the first sector of
// the file, and disks write a sector as a whole or not at all.
const headSize = 200

// pad brings the head of a state file, which ends before its id, to its size.
// The error is ErrInvalid: there are numbers in it that nobody counts to.
func pad(text []byte) ([]byte, error) {
	end := bytes.Index(text, []byte("\n  \"id\": "))
	if end < 0 || end > headSize {
		return nil, fmt.Errorf("%w: a head of %d bytes", ErrInvalid, end)
	}
	padded := make([]byte, 0, len(text)+headSize-end)
	padded = append(padded, text[:end]...)
	padded = append(padded, bytes.Repeat([]byte{' '}, headSize-end)...)
	return append(padded, text[end:]...), nil
}

// sameTail reports whether two state files differ in their heads at most.
func sameTail(a, b []byte) bool { return bytes.Equal(a[headSize:], b[headSize:]) }
