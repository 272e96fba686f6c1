package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestCollectionsLeaveHeadroom(t *testing.T) {
	for _, test := range []struct {
		name string
		live uint64
		want int
	}{
		{"nothing is known", 0, 900},
		{"a server that idles", 4 << 20, 900},
		{"as much as the headroom", 36 << 20, 100},
		{"a great deal", 1 << 30, 100},
	} {
		if got := gcPercent(test.live); got != test.want {
			t.Errorf("%s: %d %%, want %d %%", test.name, got, test.want)
		}
	}
}

// What is live decides anew after each collection, whatever was made beside it.
func TestCollectionsFollowWhatIsLive(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	settleMemory(func(string) string { return "" })
	small := new(int64)
	for _, live := range []int{64 << 20, 1 << 20, 64 << 20} {
		kept := make([]byte, live)
		// A finalizer runs some time after its collection.
		deadline := time.Now().Add(30 * time.Second)
		for {
			runtime.GC()
			now := []metrics.Sample{{Name: "/gc/gogc:percent"}}
			metrics.Read(now)
			if percent := now[0].Value.Uint64(); (percent == 100) == (live > headroom) {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("%d %% with %d bytes live", percent, live)
			}
			time.Sleep(time.Millisecond)
		}
		runtime.KeepAlive(kept)
	}
	runtime.KeepAlive(small)
}
