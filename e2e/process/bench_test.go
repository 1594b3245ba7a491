package process_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"factory_exporter/e2e/internal/process"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

// BenchmarkProcess measures a scrape's time, and the CPU time and the peak memory of the
// process.
func BenchmarkProcess(b *testing.B) {
	for _, members := range []int{1_000, 10_000, 100_000, 500_000} {
		org := fakeapi.NewOrganization(fakeapi.Generate(members, 1, time.Now())...)
		api := serve(b, fakeapi.NewServer(org, harness.Key))
		for _, options := range []struct {
			name string
			args []string
		}{
			{name: "plain"},
			{name: "attributes", args: []string{"--collector.group-by=email_domain", "--collector.group-by=metadata.team"}},
			{name: "per-user", args: []string{"--collector.per-user"}},
		} {
			b.Run(fmt.Sprintf("members=%d/%s", members, options.name), func(b *testing.B) {
				p := start(b, api, nil, options.args...)
				before := p.Usage(b)
				n := 0
				for b.Loop() {
					if _, body := process.Get(b, http.DefaultClient, p.URL()+"/metrics"); !strings.Contains(body, "\nfactory_up 1\n") {
						b.Fatal("the scrape failed")
					}
					n++
				}
				after := p.Usage(b)
				b.ReportMetric((after.CPU-before.CPU).Seconds()*1e3/float64(n), "cpu-ms/op")
				b.ReportMetric(float64(after.PeakResident)/(1<<20), "peak-MiB")
			})
		}
	}
}
