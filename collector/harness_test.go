package collector_test

import (
	"cmp"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"factory_exporter/collector"
	"factory_exporter/collector/census"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const (
	day    = 24 * time.Hour
	key    = harness.Key
	absent = harness.Absent
)

type samples = harness.Samples

var golden = harness.Golden

// settings of a fixture. Their zero value will do.
type settings struct {
	members   []fakeapi.User
	analytics *fakeapi.Analytics // nil: the analytics are not read
	client    factoryapi.Config
	collector collector.Config
}

// fixture is a collector of a fake organization.
type fixture struct {
	*collector.Collector
	requests *collector.RequestMetrics
	org      *fakeapi.Organization
	api      *fakeapi.Server
}

// newFixture returns a fixture that is closed when the test ends.
func newFixture(t testing.TB, s settings) *fixture {
	t.Helper()
	f := &fixture{org: fakeapi.NewOrganization(s.members...)}
	f.api = fakeapi.NewServer(f.org, key)
	f.requests = collector.NewRequestMetrics(s.analytics != nil)
	s.client.Observe = f.requests.Observe
	s.collector.Schedule.ListingTimeout = cmp.Or(s.collector.Schedule.ListingTimeout, 10*time.Minute)
	client := harness.Client(t, f.api, s.client)
	if s.analytics != nil {
		f.api.SetAnalytics(s.analytics)
		s.collector.Analytics = client
	}
	f.Collector = collector.New(client, s.collector)
	t.Cleanup(f.Close)
	return f
}

// members returns members with these ids who signed in long ago.
func members(ids ...string) []fakeapi.User {
	var members []fakeapi.User
	for _, id := range ids {
		members = append(members, fakeapi.User{ID: id, Email: id + "@acme.example", CreatedAt: "1998-01-01T00:00:00Z", LastSignInAt: "1999-01-01T00:00:00Z"})
	}
	return members
}

// windows is a census with these windows.
func windows(labels ...string) census.Config {
	return census.Config{Windows: harness.Windows(labels...)}
}

// scrape returns what a scrape with this context shows.
func (f *fixture) scrape(t testing.TB, ctx context.Context) samples {
	t.Helper()
	return read(t, f.Scrape(ctx), f.requests)
}

// scrapeWithin is a scrape with a deadline.
func (f *fixture) scrapeWithin(t testing.TB, timeout time.Duration) samples {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return f.scrape(t, ctx)
}

// read returns what a collector collects.
func read(t testing.TB, collectors ...prometheus.Collector) samples {
	t.Helper()
	return harness.Parse(t, exposition(t, collectors...))
}

// exposition is what a collector collects in the text format, families by name.
func exposition(t testing.TB, collectors ...prometheus.Collector) string {
	t.Helper()
	families, err := registryOf(t, collectors...).Gather()
	if err != nil {
		t.Error(err)
	}
	var text strings.Builder
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			t.Error(err)
		}
	}
	return text.String()
}

// registryOf returns a registry that lets no inconsistency through.
func registryOf(t testing.TB, collectors ...prometheus.Collector) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for _, c := range collectors {
		if err := registry.Register(c); err != nil {
			t.Error(err)
		}
	}
	return registry
}
