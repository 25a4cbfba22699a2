// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// disk makes every change to the directory, one small step at a time. Names
// are relative to dir and have no slash in them.
type disk struct {
	dir string
	// before, unless nil, is called before each step; if it returns an error,
	// that is how the step ends. Here tests let a disk fail, and look at what
	// a crash would leave.
	before func(step) error
}

// step is one change to the disk.
type step struct {
	op   string // create, write, overwrite, sync, rename, remove or syncdir
	name string
	to   string // of a rename
}

func (d *disk) step(op, name, to string) error {
	if d.before == nil {
		return nil
	}
	return d.before(step{op, name, to})
}

func (d *disk) path(name string) string { return filepath.Join(d.dir, name) }

// exists reports whether there is a regular file of that name.
func (d *disk) exists(name string) bool {
	info, err := os.Lstat(d.path(name))
	return err == nil && info.Mode().IsRegular()
}

// rename puts a file in its place, over one that is there.
func (d *disk) rename(name, to string) error {
	if err := d.step("rename", name, to); err != nil {
		return err
	}
	return os.Rename(d.path(name), d.path(to))
}

// remove removes a file; one that is not there is as good as removed.
func (d *disk) remove(name string) error {
	if err := d.step("remove", name, ""); err != nil {
		return err
	}
	if err := os.Remove(d.path(name)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes all renames and removals so far durable.
func (d *disk) syncDir() error {
	if err := d.step("syncdir", "", ""); err != nil {
		return err
	}
	return syncDir(d.dir)
}

// create makes a file, or empties what a crash left under its name, lets fill
// write its content, and makes that durable, though not yet the name. If it
// fails there is no file.
func (d *disk) create(name string, fill func(*os.File) error) error {
	if err := d.step("create", name, ""); err != nil {
		return err
	}
	file, err := os.OpenFile(d.path(name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err = d.step("write", name, ""); err == nil {
		err = fill(file)
	}
	if err == nil {
		err = d.sync(name, file)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		d.remove(name)
	}
	return err
}

// sync makes the content and the mode of a file durable.
func (d *disk) sync(name string, file *os.File) error {
	if err := d.step("sync", name, ""); err != nil {
		return err
	}
	return file.Sync()
}

// replace puts a file with this content in the place of name by way of temp.
func (d *disk) replace(temp, name string, content []byte) error {
	err := d.create(temp, func(file *os.File) error {
		_, err := file.Write(content)
		return err
	})
	if err != nil {
		return err
	}
	if err := d.rename(temp, name); err != nil {
		d.remove(temp)
		return err
	}
	return nil
}

// overwrite puts a beginning of as many bytes in the place of that of a file, and
// reports whether it did: not where the file isn't the one that old is the
// content of, nor where the disk had something against it.
func (d *disk) overwrite(name string, old, beginning []byte, durable bool) (bool, error) {
	file, err := os.OpenFile(d.path(name), os.O_RDWR, 0)
	if err != nil {
		return false, nil
	}
	defer file.Close()
	info, err := file.Stat()
	have := make([]byte, len(beginning))
	if err != nil || info.Size() != int64(len(old)) {
		return false, nil
	}
	if _, err := io.ReadFull(file, have); err != nil || !bytes.HasPrefix(old, have) {
		return false, nil
	}
	if d.step("overwrite", name, "") != nil {
		return false, nil
	}
	if _, err := file.WriteAt(beginning, 0); err != nil {
		return false, nil
	}
	if !durable {
		return true, nil
	}
	return true, d.sync(name, file)
}

// touch lets those who watch the directory see that a file in it has changed.
func (d *disk) touch() { os.Chtimes(d.dir, time.Time{}, time.Now()) }

// copyWithout copies all of from but the cuts, which are in order.
func copyWithout(to, from *os.File, size int64, cuts []span) error {
	at := int64(0)
	for _, cut := range append(cuts[:len(cuts):len(cuts)], span{from: size, to: size}) {
		if _, err := from.Seek(at, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyN(to, from, cut.from-at); err != nil {
			return err
		}
		at = cut.to
	}
	return nil
}

// makeDir makes dir and what is missing above it, mode 0700, and durable.
func makeDir(dir string) error {
	parent := filepath.Dir(dir)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || parent == dir {
		return err
	}
	if err := makeDir(parent); err != nil {
		return err
	}
	// Another Emacs may make it at the same moment.
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// checkDir returns an error if dir can't be the outbox. What others may do in
// a directory of ours is taken from them.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case !owned(info):
		return fmt.Errorf("%s belongs to another user", dir)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		if err := os.Chmod(dir, perm&0o700); err != nil {
			return err
		}
	}
	return writable(dir)
}
