// SPDX-License-Identifier: GPL-3.0-or-later

package mailserver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Packages returns a directory with Debian packages, unpacked there under a
// name for all of them, without what they depend on. The first time it
// downloads them.
func Packages(name string, packages ...string) (string, error) {
	return unpacked(Kind(name), setup{packages: packages, alone: true})
}

// unpacked returns the directory with the packages of a setup and all that they
// need, unpacked. The first time it downloads them, which takes seconds; only
// one process does so at a time.
func unpacked(kind Kind, setup setup) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(cache, string(kind)+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	root := filepath.Join(cache, string(kind))
	if _, err := os.Stat(root); !errors.Is(err, os.ErrNotExist) {
		return root, err
	}
	apt := root + ".apt"
	defer os.RemoveAll(apt)
	debs, err := download(apt, setup)
	if err != nil {
		return "", fmt.Errorf("download the packages of %s: %w", kind, err)
	}
	if err := unpack(root, debs); err != nil {
		return "", fmt.Errorf("unpack the packages of %s: %w", kind, err)
	}
	return root, nil
}

// cacheDir returns test/.cache/mailserver of this checkout.
func cacheDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "test/.cache/mailserver"), nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}

// download fetches packages and what they depend on into dir, and returns the
// files. Lists and status are in dir, too; as the status is empty, nothing
// counts as installed already.
func download(dir string, setup setup) ([]string, error) {
	archives, sources, status := filepath.Join(dir, "archives"), filepath.Join(dir, "sources"), filepath.Join(dir, "status")
	for _, d := range []string{filepath.Join(archives, "partial"), filepath.Join(dir, "lists/partial"), sources} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return nil, err
	}
	if err := writeSources(sources, setup.release); err != nil {
		return nil, err
	}
	apt := func(args ...string) error {
		options := []string{"-qq", "-y"}
		for _, o := range []string{
			"Dir::State=" + dir, "Dir::State::status=" + status, "Dir::Cache=" + dir,
			"Dir::Etc::sourcelist=/dev/null", "Dir::Etc::sourceparts=" + sources,
			"APT::Sandbox::User=root", "Acquire::Languages=none", "Acquire::Retries=3",
		} {
			options = append(options, "-o", o)
		}
		cmd := exec.Command("apt-get", append(options, args...)...)
		cmd.Dir = archives // where download puts them
		return do(cmd)
	}
	// A list that can't be had may be one that isn't needed: the install decides.
	update := apt("update")
	install := append([]string{"install", "--download-only", "--no-install-recommends"}, tools()...)
	if setup.alone {
		install = []string{"download"}
	}
	if err := apt(append(install, setup.packages...)...); err != nil {
		return nil, errors.Join(update, err)
	}
	return filepath.Glob(filepath.Join(archives, "*.deb"))
}

// writeSources copies the machine's lists of package sources to dir. With a
// release (see setup) those of Debian 12 become those of another.
func writeSources(dir, release string) error {
	names, err := filepath.Glob("/etc/apt/sources.list.d/*")
	if err != nil {
		return err
	}
	for _, name := range append(names, "/etc/apt/sources.list") {
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if release != "" {
			text = bytes.ReplaceAll(text, []byte("bookworm"), []byte(release))
		}
		base := filepath.Base(name)
		if strings.HasSuffix(name, "/sources.list") {
			base = "sources.list.list" // in a directory only .list and .sources count
		}
		if err := os.WriteFile(filepath.Join(dir, base), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// unpack makes root of packages; it is there as a whole or not at all.
func unpack(root string, debs []string) error {
	if len(debs) == 0 {
		return errors.New("there are none")
	}
	half := root + ".new"
	if err := os.RemoveAll(half); err != nil {
		return err
	}
	if err := os.MkdirAll(half, 0o755); err != nil {
		return err
	}
	for _, deb := range debs {
		if err := do(exec.Command("dpkg", "-x", deb, half)); err != nil {
			return err
		}
	}
	for _, name := range []string{"doc", "man", "locale", "i18n"} {
		if err := os.RemoveAll(filepath.Join(half, "usr/share", name)); err != nil {
			return err
		}
	}
	return os.Rename(half, root)
}

// do runs a command; its error says what it printed.
func do(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, bytes.TrimSpace(out))
	}
	return nil
}
