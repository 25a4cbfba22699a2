// SPDX-License-Identifier: GPL-3.0-or-later

//go:build !linux

package family

import (
	"context"
	"net/netip"
)

// Network returns "": this system isn't asked which network it is on.
func Network(server netip.Addr) string { return "" }

// Watch only waits until ctx ends: this system isn't asked for changes.
func Watch(ctx context.Context, changed func()) { <-ctx.Done() }
