package census_test

import (
	"testing"

	"factory_exporter/collector/census"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

func BenchmarkCensus(b *testing.B) {
	const n = 100_000
	users := harness.Users(b, fakeapi.Generate(n, 1, now)...)
	plain := windows("1d", "7d", "30d", "90d")
	grouped := plain
	grouped.GroupBy, grouped.GroupLimit = harness.Attributes(b, "email_domain", "metadata.team"), 50
	for _, bench := range []struct {
		name string
		cfg  census.Config
	}{{"4 windows", plain}, {"4 windows, 2 attributes", grouped}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := count(bench.cfg, users...); got.Users != n {
					b.Fatalf("%d users", got.Users)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/user")
		})
	}
}
