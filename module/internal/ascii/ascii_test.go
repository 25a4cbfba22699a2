// SPDX-License-Identifier: GPL-3.0-or-later

package ascii

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzJSON(f *testing.F) {
	for _, s := range []string{"", `\`, "\x00", "é😀", "\xff\\", `"\u0000`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		in, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		out := JSON(in)
		for _, c := range out {
			if c >= utf8.RuneSelf {
				t.Fatalf("not ASCII: %q", out)
			}
		}
		var back string
		if err := json.Unmarshal(out, &back); err != nil {
			t.Fatalf("%q became %q: %v", in, out, err)
		}
		want := strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "�")
		// ToValidUTF8 merges runs that Marshal replaces one by one.
		if strings.ReplaceAll(back, "�", "") != strings.ReplaceAll(want, "�", "") {
			t.Errorf("%q came back as %q", s, back)
		}
	})
}
