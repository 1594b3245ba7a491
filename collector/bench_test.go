package collector_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"factory_exporter/collector"
	"factory_exporter/collector/census"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

// BenchmarkCachedScrape is what a scrape costs beside its listing.
func BenchmarkCachedScrape(b *testing.B) {
	for _, bench := range []struct {
		name   string
		option func(*census.Config)
	}{
		{"plain", func(*census.Config) {}},
		{"2 attributes", func(cfg *census.Config) { cfg.GroupBy = harness.Attributes(b, "email_domain", "metadata.team") }},
		{"per user", func(cfg *census.Config) { cfg.PerUser = true }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			f := cachedFixture(b, bench.option)
			b.ReportAllocs()
			for b.Loop() {
				gather(b, f)
			}
		})
	}
}

// cachedFixture has listed 10,000 members and will not do so again.
func cachedFixture(b *testing.B, option func(*census.Config)) *fixture {
	b.Helper()
	cfg := windows("1d", "7d", "30d", "90d")
	cfg.GroupLimit = 50
	option(&cfg)
	f := newFixture(b, settings{
		members:   fakeapi.Generate(10_000, 1, time.Now()),
		client:    factoryapi.Config{PageSize: factoryapi.MaxPageSize},
		collector: collector.Config{Census: cfg, Schedule: collector.Schedule{CacheTTL: time.Hour}},
	})
	f.scrape(b, b.Context()).Check(b, "listing", samples{"factory_users": 10_000})
	return f
}

// gather is a scrape as the exporter makes it, short of its text.
func gather(b *testing.B, f *fixture) {
	registry := prometheus.NewRegistry()
	if err := registry.Register(f.Scrape(b.Context())); err != nil {
		b.Error(err)
	}
	if families, err := registry.Gather(); err != nil || len(families) == 0 {
		b.Errorf("%d families, error %v", len(families), err)
	}
}
