package main

import "testing"

func TestProcessors(t *testing.T) {
	for _, test := range []struct {
		name      string
		is, cores int
		chosen    string
		want      int
	}{
		{"one core", 1, 1, "", 4},
		{"two cores", 2, 2, "", 4},
		{"two cores, chosen", 2, 2, "2", 2},
		{"one of two cores, chosen", 1, 2, "1", 1},
		{"as many as there should be", 4, 4, "", 4},
		{"many cores", 16, 16, "", 16},
		{"a quota on four cores", 2, 4, "", 2},
		{"a quota on a large machine", 3, 16, "", 3},
	} {
		if got := processors(test.is, test.cores, test.chosen); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}
