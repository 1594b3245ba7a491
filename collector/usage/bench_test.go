package usage_test

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"strconv"
	"testing"
	"time"

	"factory_exporter/collector/usage"
	"factory_exporter/factoryapi"
	"factory_exporter/internal/harness"
)

// BenchmarkLedger reads the days of an organization whose members all work every day:
// the 90 days of a first reading, which is also that after a restart, and the reading of
// the second day. It reports the requests for pages of users, and the memory that the
// ledger and its view keep.
func BenchmarkLedger(b *testing.B) {
	for _, members := range []int{150, 2_000, 20_000} {
		for _, second := range []bool{false, true} {
			name := "first"
			if second {
				name = "second-day"
			}
			b.Run(fmt.Sprintf("members=%d/%s", members, name), func(b *testing.B) {
				source := newOrganization(members)
				var ledger *usage.Ledger
				var view *usage.View
				read := func(now time.Time) {
					if err := ledger.Read(context.Background(), source, now, func(v *usage.View) { view = v }); err != nil {
						b.Fatal(err)
					}
				}
				before := heap()
				for b.Loop() {
					b.StopTimer()
					ledger = usage.NewLedger(usage.Config{Windows: []int{1, 7, 30, 90}})
					if second {
						read(may31)
					}
					source.requests = 0
					b.StartTimer()
					if second {
						read(may31.AddDate(0, 0, 1))
					} else {
						read(may31)
					}
				}
				b.ReportMetric(float64(source.requests), "requests/op")
				b.ReportMetric(float64(heap()-before)/(1<<20), "kept-MiB")
				runtime.KeepAlive(ledger)
				runtime.KeepAlive(view)
			})
		}
	}
}

// heap returns how many bytes are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// organization is a source without a network.
type organization struct {
	harness.Use
	pages    [][]factoryapi.Usage
	requests int
}

func newOrganization(members int) *organization {
	const perPage = 100
	one := factoryapi.Number{Value: 1, Valid: true}
	o := &organization{}
	for i := range members {
		if i%perPage == 0 {
			o.pages = append(o.pages, nil)
		}
		last := len(o.pages) - 1
		row := factoryapi.Usage{UserID: "user_" + strconv.Itoa(i), Sessions: one, Messages: one, ToolCalls: one, Credits: factoryapi.Number{Value: float64(1_000_000 + i), Valid: true}}
		o.pages[last] = append(o.pages[last], row)
	}
	return o
}

func (o *organization) Usage(context.Context, factoryapi.Day) iter.Seq2[[]factoryapi.Usage, error] {
	return func(yield func([]factoryapi.Usage, error) bool) {
		for _, page := range o.pages {
			o.requests++
			if !yield(page, nil) {
				return
			}
		}
	}
}
