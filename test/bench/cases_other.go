// SPDX-License-Identifier: GPL-3.0-or-later

//go:build !linux

package main

import "fmt"

func cases() error {
	fmt.Println("\nThe paper's cases are not measured: the network laboratory needs Linux.")
	return nil
}
