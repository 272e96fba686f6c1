package main

import "testing"

func TestCollectionsLeaveHeadroom(t *testing.T) {
	for _, test := range []struct {
		name string
		live uint64
		want int
	}{
		{"nothing is known", 0, 3600},
		{"a server that idles", 4 << 20, 900},
		{"as much as the headroom", 36 << 20, 100},
		{"a great deal", 1 << 30, 100},
	} {
		if got := gcPercent(test.live); got != test.want {
			t.Errorf("%s: %d %%, want %d %%", test.name, got, test.want)
		}
	}
}
