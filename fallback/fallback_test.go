// SPDX-License-Identifier: GPL-3.0-or-later

package fallback

import (
	"context"
	"slices"
	"testing"
)

var (
	v4sub  = Step{IPv4, 587}
	v4smtp = Step{IPv4, 25}
	v6sub  = Step{IPv6, 587}
	v6smtp = Step{IPv6, 25}
)

func TestNamed(t *testing.T) {
	for name, want := range map[string][]Step{
		"mew":        {v4sub, v4smtp},
		"ipv6-first": {v6sub, v4sub, v4smtp},
		"symmetric":  {v6sub, v4sub, v6smtp, v4smtp},
	} {
		got, ok := Named(name)
		if !ok || !slices.Equal(got, want) {
			t.Errorf("Named(%q) = %v, %v; want %v", name, got, ok, want)
		}
	}
	if got, ok := Named("Mew"); ok {
		t.Errorf("Named of an unknown name = %v", got)
	}
	if got := Explicit(465); !slices.Equal(got, []Step{{Any, 465}}) {
		t.Errorf("Explicit(465) = %v", got)
	}
}

func TestAvailable(t *testing.T) {
	mew, _ := Named("mew")
	first, _ := Named("ipv6-first")
	symmetric, _ := Named("symmetric")
	tests := []struct {
		name   string
		seq    []Step
		named  bool
		v4, v6 bool
		want   []Step
	}{
		{"both families", first, true, true, true, first},
		{"IPv4 only", first, true, true, false, []Step{v4sub, v4smtp}},
		{"IPv6 only, ipv6-first", first, true, false, true, []Step{v6sub}},
		{"IPv6 only, symmetric", symmetric, true, false, true, []Step{v6sub, v6smtp}},
		{"IPv6 only, mew: same ports over the other family", mew, true, false, true, []Step{v6sub, v6smtp}},
		{"neither", mew, true, false, false, nil},
		{"a written list is not turned round", []Step{v4sub}, false, false, true, nil},
		{"other family, a port once", []Step{v4sub, v4sub}, true, false, true, []Step{v6sub}},
		{"any, one family there", Explicit(465), false, false, true, Explicit(465)},
		{"any, none there", Explicit(465), false, false, false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Available(tt.seq, tt.named, func(f Family) bool {
				return f == IPv4 && tt.v4 || f == IPv6 && tt.v6
			})
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestRun(t *testing.T) {
	all := []Outcome{Reset, Hard, Soft, Timeout, Local, Closed, Greeting, Silent}
	for _, first := range all {
		t.Run(string(first)+" is followed by the next step", func(t *testing.T) {
			var tried []Step
			got := Run(t.Context(), []Step{v4sub, v4smtp}, func(_ context.Context, s Step) Outcome {
				tried = append(tried, s)
				if s == v4sub {
					return first
				}
				return Connected
			})
			if !slices.Equal(got, []Outcome{first, Connected}) || !slices.Equal(tried, []Step{v4sub, v4smtp}) {
				t.Errorf("got %v over %v", got, tried)
			}
		})
	}
	for _, last := range []Outcome{Connected, ""} {
		t.Run("'"+string(last)+"' ends the sequence", func(t *testing.T) {
			got := Run(t.Context(), []Step{v4sub, v4smtp}, func(context.Context, Step) Outcome { return last })
			if !slices.Equal(got, []Outcome{last}) {
				t.Errorf("got %v", got)
			}
		})
	}
	t.Run("a cancelled run tries nothing more", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		got := Run(ctx, []Step{v4sub, v4smtp}, func(context.Context, Step) Outcome { cancel(); return Timeout })
		if !slices.Equal(got, []Outcome{Timeout}) {
			t.Errorf("got %v", got)
		}
	})
}

func TestOrder(t *testing.T) {
	mew, _ := Named("mew")
	if got := Order(mew, nil); !slices.Equal(got, mew) {
		t.Errorf("nothing remembered: %v", got)
	}
	if got := Order(mew, &v4smtp); !slices.Equal(got, []Step{v4smtp, v4sub, v4smtp}) {
		t.Errorf("25 remembered: %v", got)
	}
	if !slices.Equal(mew, []Step{v4sub, v4smtp}) {
		t.Errorf("the sequence was changed: %v", mew)
	}
}

func TestLearn(t *testing.T) {
	symmetric, _ := Named("symmetric")
	tests := []struct {
		name     string
		outcomes []Outcome
		want     Lesson
	}{
		{"first step", []Outcome{Connected}, Lesson{Forget: true}},
		{"all resets", []Outcome{Reset, Reset, Connected}, Lesson{Step: v6smtp, Scope: Server}},
		{"hard", []Outcome{Hard, Connected}, Lesson{Step: v4sub, Scope: OnNetwork}},
		{"timeout", []Outcome{Timeout, Connected}, Lesson{Step: v4sub, Scope: OnNetwork}},
		{"reset and timeout", []Outcome{Reset, Timeout, Reset, Connected}, Lesson{Step: v4smtp, Scope: OnNetwork}},
		{"soft", []Outcome{Soft, Connected}, Lesson{}},
		{"local among resets", []Outcome{Reset, Local, Connected}, Lesson{}},
		{"closed", []Outcome{Closed, Connected}, Lesson{}},
		{"greeting", []Outcome{Greeting, Connected}, Lesson{}},
		{"silent", []Outcome{Silent, Connected}, Lesson{}},
		{"nobody answered", []Outcome{Reset, Reset, Reset, Reset}, Lesson{}},
		{"nothing tried", nil, Lesson{}},
		{"unknown", []Outcome{Reset, ""}, Lesson{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Learn(symmetric, tt.outcomes); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestCase(t *testing.T) {
	for o, want := range map[Outcome]int{
		Connected: 1, Reset: 2, Hard: 3, Soft: 4, Timeout: 5,
		Local: 0, Closed: 0, Greeting: 0, Silent: 0, "": 0,
	} {
		if got := o.Case(); got != want {
			t.Errorf("%q is case %d, want %d", o, got, want)
		}
	}
}
