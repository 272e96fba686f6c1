package main

import (
	"runtime"
	"testing"
)

func TestProcessors(t *testing.T) {
	for _, test := range []struct {
		name            string
		is, cores, want int
	}{
		{"one core", 1, 1, 4},
		{"two cores", 2, 2, 4},
		{"as many as there should be", 4, 4, 4},
		{"many cores", 16, 16, 16},
		{"a quota of one of two cores", 1, 2, 1},
		{"a quota on a large machine", 2, 16, 2},
	} {
		if got := processors(test.is, test.cores); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

func TestSettingGOMAXPROCSDecides(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	settleProcessors(func(string) string { return "1" })
	if got := runtime.GOMAXPROCS(0); got != before {
		t.Errorf("the operator's %d became %d", before, got)
	}
	settleProcessors(func(string) string { return "" })
	if got, want := runtime.GOMAXPROCS(0), processors(before, runtime.NumCPU()); got != want {
		t.Errorf("%d, want %d", got, want)
	}
}
