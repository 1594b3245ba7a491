package collector_test

import (
	"cmp"
	"context"
	"factory_exporter/collector"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// now is the instant of every census here.
var now = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// key is the API key of the fake API.
const key = "fk-0123456789abcdef"

// settings of a fixture. Their zero value will do.
type settings struct {
	members   []fakeapi.Member
	analytics *fakeapi.Analytics // nil: the analytics are not read
	client    factoryapi.Config
	collector collector.Config
}

// fixture is a collector of a fake organization.
type fixture struct {
	*collector.Collector
	requests *collector.RequestMetrics
	usage    *collector.RequestMetrics // of the analytics
	org      *fakeapi.Organization
	api      *fakeapi.Server
}

// newFixture returns a fixture that is closed when the test ends.
func newFixture(t testing.TB, s settings) *fixture {
	t.Helper()
	f := &fixture{org: fakeapi.NewOrganization(s.members...)}
	f.api = fakeapi.NewServer(f.org, key)
	f.requests = collector.NewRequestMetrics()
	s.client.Observe = f.requests.Observe
	s.collector.Schedule.ListingTimeout = cmp.Or(s.collector.Schedule.ListingTimeout, 10*time.Minute)
	client := dial(t, f.api, s.client)
	f.usage = collector.NewUsageRequestMetrics()
	if s.analytics != nil {
		f.api.SetAnalytics(s.analytics)
		s.client.Observe = f.usage.Observe
		s.collector.Analytics = dial(t, f.api, s.client)
	}
	f.Collector = collector.New(client, s.collector)
	t.Cleanup(f.Close)
	return f
}

// dial returns a client of an API that is served until the test ends.
func dial(t testing.TB, api http.Handler, cfg factoryapi.Config) *factoryapi.Client {
	t.Helper()
	pipe, stop := fakeapi.Serve(api)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})

	credentials, err := factoryapi.NewStaticKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cfg.URL, cfg.Credentials, cfg.Transport = "http://localhost", credentials, &http.Transport{DialContext: pipe.DialContext}
	client, err := factoryapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// list returns members as the client reads them.
func list(t testing.TB, members ...fakeapi.Member) []factoryapi.User {
	t.Helper()
	var users []factoryapi.User
	client := dial(t, fakeapi.NewServer(fakeapi.NewOrganization(members...), key), factoryapi.Config{})
	for user, err := range client.ListUsers(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		users = append(users, user)
	}
	return users
}

// members returns members with these ids who signed in long ago.
func members(ids ...string) []fakeapi.Member {
	var members []fakeapi.Member
	for _, id := range ids {
		members = append(members, fakeapi.Member{ID: id, Email: id + "@acme.example", CreatedAt: "1998-01-01T00:00:00Z", LastSignInAt: "1999-01-01T00:00:00Z"})
	}
	return members
}

// windows is a census with these windows.
func windows(labels ...string) collector.CensusConfig {
	var cfg collector.CensusConfig
	for _, label := range labels {
		length, err := model.ParseDuration(label)
		if err != nil {
			panic(err) // it stands in a test
		}
		cfg.Windows = append(cfg.Windows, collector.Window{Label: label, Length: time.Duration(length)})
	}
	return cfg
}

// scrape returns what a scrape with this context shows.
func (f *fixture) scrape(t testing.TB, ctx context.Context) samples {
	t.Helper()
	return read(t, f.Scrape(ctx), f.requests, f.usage)
}

// scrapeWithin is a scrape with a deadline.
func (f *fixture) scrapeWithin(t testing.TB, timeout time.Duration) samples {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return f.scrape(t, ctx)
}

// samples are values by series, such as `factory_users_active{window="7d"}`.
type samples map[string]float64

// absent in samples to check stands for no such series. None of those is negative.
const absent = -1

// check compares some of the samples.
func (s samples) check(t testing.TB, when string, want samples) {
	t.Helper()
	for series, value := range want {
		switch got, ok := s[series]; {
		case value == absent && ok:
			t.Errorf("%s: %s is %v, want none", when, series, got)
		case value != absent && !ok:
			t.Errorf("%s: no %s, want %v", when, series, value)
		case value != absent && got != value:
			t.Errorf("%s: %s is %v, want %v", when, series, got, value)
		}
	}
}

// sum adds the samples of one name up.
func (s samples) sum(name string) (sum float64) {
	for series, value := range s {
		if strings.HasPrefix(series, name+"{") {
			sum += value
		}
	}
	return sum
}

// count returns the number of series with labels of one name.
func (s samples) count(name string) (n int) {
	for series := range s {
		if strings.HasPrefix(series, name+"{") {
			n++
		}
	}
	return n
}

// read returns what a collector collects.
func read(t testing.TB, collectors ...prometheus.Collector) samples {
	t.Helper()
	got := samples{}
	for line := range strings.Lines(exposition(t, collectors...)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		line = strings.TrimSuffix(line, "\n")
		space := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil {
			t.Errorf("%q: %v", line, err)
		}
		got[line[:space]] = value
	}
	return got
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

// recorder is a slog.Handler that keeps all lines.
type recorder struct {
	mu    sync.Mutex
	lines []string // LEVEL message key=value...
}

func (r *recorder) logger() *slog.Logger                     { return slog.New(r) }
func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler       { panic("not used") }
func (r *recorder) WithGroup(string) slog.Handler            { panic("not used") }

func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	line := record.Level.String() + " " + record.Message
	record.Attrs(func(attr slog.Attr) bool {
		line += " " + attr.String()
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	return nil
}

// all returns the lines so far.
func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// told returns those that are not for debugging.
func (r *recorder) told() []string {
	return slices.DeleteFunc(r.all(), func(line string) bool { return strings.HasPrefix(line, "DEBUG") })
}

// lint fails if the conventions of Prometheus have something against a collector.
func lint(t *testing.T, c prometheus.Collector) {
	t.Helper()
	problems, err := testutil.CollectAndLint(c)
	if err != nil {
		t.Error(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

// attributes parses names.
func attributes(t testing.TB, names ...string) []collector.Attribute {
	t.Helper()
	var parsed []collector.Attribute
	for _, name := range names {
		attribute, err := collector.ParseAttribute(name)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, attribute)
	}
	return parsed
}
