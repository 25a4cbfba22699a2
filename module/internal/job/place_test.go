// SPDX-License-Identifier: GPL-3.0-or-later

package job

import "testing"

func TestPlaceDiffers(t *testing.T) {
	const home, cafe = "198.18.0.0/24 via 02:00:00:00:00:01", "198.18.0.0/24 via 02:00:00:00:00:02"
	for name, test := range map[string]struct {
		before, now place
		want        bool
	}{
		"the same":                         {place{home, "198.18.0.2"}, place{home, "198.18.0.2"}, false},
		"another address, the same way":    {place{home, "198.18.0.2"}, place{home, "198.18.0.3"}, false},
		"the same address, another way":    {place{home, "198.18.0.2"}, place{cafe, "198.18.0.2"}, true},
		"the same address, no name yet":    {place{home, "198.18.0.2"}, place{"", "198.18.0.2"}, true},
		"then its name":                    {place{"", "198.18.0.2"}, place{cafe, "198.18.0.2"}, false},
		"no name on both, another address": {place{"", "198.18.0.2"}, place{"", "198.18.0.3"}, true},
		"off the net":                      {place{home, "198.18.0.2"}, place{}, true},
		"on the net, no name yet":          {place{}, place{"", "198.18.0.2"}, true},
		"on the net":                       {place{}, place{home, "198.18.0.2"}, true},
		"still off the net":                {place{}, place{}, false},
	} {
		if got := test.now.differs(test.before); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
