// SPDX-License-Identifier: GPL-3.0-or-later

//go:build !linux

package netlab_test

import "testing"

func TestOutcomes(t *testing.T) {
	t.Skip("skipped: the network laboratory is made of Linux's network namespaces")
}
