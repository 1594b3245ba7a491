package collector_test

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"factory_exporter/collector"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

func TestLogTellsOfAFailureOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &recorder{}
		f := newFixture(t, settings{
			members:   members("a"),
			client:    factoryapi.Config{RequestTimeout: 10 * time.Second},
			collector: collector.Config{Logger: log.logger()},
		})
		logged := 0
		for _, step := range []struct {
			name  string
			fault fakeapi.Behavior // nil: none
			level string           // of the one line; empty: none
			about string           // something in it
		}{
			{"works from the start", nil, "", ""},
			{"failures begin", fakeapi.Status(http.StatusUnauthorized), "ERROR", "401"},
			{"the same failure", fakeapi.Status(http.StatusUnauthorized), "", ""},
			{"the same failure in other words", fakeapi.Respond(http.StatusUnauthorized, "text/html", "<h1>Who are you?</h1>"), "", ""},
			{"another status", fakeapi.Status(http.StatusInternalServerError), "ERROR", "500"},
			{"a timeout", fakeapi.Hang(), "ERROR", "timeout"},
			{"the same timeout", fakeapi.HangInBody(), "", ""},
			{"an invalid response", fakeapi.CutJSON(), "ERROR", "invalid_response"},
			{"a broken connection", fakeapi.CutTransfer(), "ERROR", "connection"},
			{"the first failure again", fakeapi.Status(http.StatusUnauthorized), "", ""},
			{"a balancer in front of it: 502", fakeapi.Status(http.StatusBadGateway), "ERROR", "502"},
			{"503", fakeapi.Status(http.StatusServiceUnavailable), "ERROR", "503"},
			{"504", fakeapi.Status(http.StatusGatewayTimeout), "ERROR", "504"},
			{"502 again", fakeapi.Status(http.StatusBadGateway), "", ""},
			{"503 again", fakeapi.Status(http.StatusServiceUnavailable), "", ""},
			{"504 again", fakeapi.Status(http.StatusGatewayTimeout), "", ""},
			{"works again", nil, "INFO", ""},
			{"still works", nil, "", ""},
			{"failures begin anew", fakeapi.Status(http.StatusUnauthorized), "ERROR", "401"},
			{"works again, too", nil, "INFO", ""},
		} {
			f.api.ClearFaults()
			if step.fault != nil {
				f.api.Inject(fakeapi.Fault{Serve: step.fault})
			}
			time.Sleep(time.Minute)
			f.scrape(t, t.Context())
			lines := log.told()[logged:]
			logged += len(lines)
			switch {
			case step.level == "" && len(lines) > 0:
				t.Errorf("%s: logs %q", step.name, lines)
			case step.level != "" && (len(lines) != 1 || !strings.HasPrefix(lines[0], step.level+" ") || !strings.Contains(lines[0], step.about)):
				t.Errorf("%s: logs %q, want one line of level %s about %q", step.name, lines, step.level, step.about)
			}
		}
	})
}

func TestKeyIsNeverLoggedOrExposed(t *testing.T) {
	for name, fault := range map[string]fakeapi.Behavior{
		"in an error":           fakeapi.Respond(http.StatusUnauthorized, "application/json", `{"detail":"unknown key `+key+`","status":401,"title":"Unauthorized"}`),
		"in HTML":               fakeapi.Respond(http.StatusForbidden, "text/html", "<p>Bearer "+key+"</p>"),
		"in a redirect":         fakeapi.Redirect("http://elsewhere.example/?key=" + key),
		"in place of a listing": fakeapi.Respond(http.StatusOK, "text/plain", key),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &recorder{}
				f := newFixture(t, settings{members: members("a"), client: factoryapi.Config{MaxRetries: 1}, collector: collector.Config{Logger: log.logger()}})
				f.api.Inject(fakeapi.Fault{Serve: fault})
				text := exposition(t, f.Scrape(t.Context()))
				if strings.Contains(text, key) {
					t.Error("the key is exposed")
				}
				if len(log.told()) != 1 {
					t.Errorf("logs %q", log.told())
				}
				for _, line := range log.all() {
					if strings.Contains(line, key) {
						t.Errorf("the key is logged: %s", line)
					}
				}
			})
		})
	}
}

// update makes the golden files anew: go test ./collector -update
var update = flag.Bool("update", false, "write the files in testdata that exposed metrics are compared with")

func TestExpositionOfAnOrganization(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, everything(t))
		f.api.SetLatency(250 * time.Millisecond)
		golden(t, "testdata/scrape.prom", exposition(t, f.Scrape(t.Context()), f.requests))
	})
}

func TestExpositionOfFailuresFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, everything(t))
		f.api.SetLatency(250 * time.Millisecond)
		f.api.SetKey("rotated")
		golden(t, "testdata/scrape_failing.prom", exposition(t, f.Scrape(t.Context()), f.requests))
	})
}

func TestMetricsLint(t *testing.T) {
	for name, fault := range map[string]fakeapi.Behavior{
		"of an organization":       nil,
		"of failures":              fakeapi.Status(http.StatusInternalServerError),
		"of another kind of those": fakeapi.CutJSON(),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, everything(t))
				if fault != nil {
					f.api.Inject(fakeapi.Fault{Serve: fault})
				}
				lint(t, f.Collector)
			})
		})
	}
}

func TestDescribeAndCollectAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, everything(t))
		described, collected := map[string]bool{}, map[string]bool{}
		descs := make(chan *prometheus.Desc)
		go func() { f.Describe(descs); close(descs) }()
		for d := range descs {
			if described[d.String()] {
				t.Errorf("described twice: %s", d)
			}
			described[d.String()] = true
		}
		metrics := make(chan prometheus.Metric)
		go func() { f.Collect(metrics); close(metrics) }()
		for m := range metrics {
			collected[m.Desc().String()] = true
		}
		for d := range described {
			if !collected[d] {
				t.Errorf("described, not collected: %s", d)
			}
		}
		for d := range collected {
			if !described[d] {
				t.Errorf("collected, not described: %s", d)
			}
		}
	})
}

func TestOptionalSeriesAreAbsentByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, settings{members: everything(t).members, collector: collector.Config{Census: windows("1d")}})
		text := exposition(t, f.Scrape(t.Context()))
		for _, name := range []string{"factory_seat_limit", "by_attribute", "factory_user_"} {
			if strings.Contains(text, name) {
				t.Errorf("%s is exposed", name)
			}
		}
	})
}

func TestHistogramBucketsAreTheActiveMembersOfThatWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var census collector.CensusConfig
		for _, days := range bucketDays(t) {
			census.Windows = append(census.Windows, collector.Window{Label: fmt.Sprint(days, "d"), Length: time.Duration(days) * day})
		}
		f := newFixture(t, settings{members: fakeapi.Generate(500, 1, time.Now()), collector: collector.Config{Census: census}})
		families, err := registryOf(t, f.Scrape(t.Context())).Gather()
		if err != nil {
			t.Fatal(err)
		}
		active, buckets := map[string]float64{}, map[string]float64{}
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				switch family.GetName() {
				case "factory_users_active":
					active[metric.GetLabel()[0].GetValue()] = metric.GetGauge().GetValue()
				case "factory_users_last_sign_in_age_seconds":
					for _, bucket := range metric.GetHistogram().GetBucket() {
						buckets[fmt.Sprint(bucket.GetUpperBound()/day.Seconds(), "d")] = float64(bucket.GetCumulativeCount())
					}
				}
			}
		}
		if fmt.Sprint(active) != fmt.Sprint(buckets) || len(active) != len(census.Windows) {
			t.Errorf("active  %v\nbuckets %v", active, buckets)
		}
	})
}

func TestPerUserTimestamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, settings{
			members: []fakeapi.Member{
				{ID: "known", CreatedAt: "1999-12-31T22:00:00Z", LastSignInAt: "2000-01-01T01:00:00.125+01:00"},
				{ID: "never", CreatedAt: "1999-12-31T22:00:00.5Z"},
				{ID: "null", CreatedAt: "1999-12-31T22:00:00Z", Raw: map[string]json.RawMessage{"lastSignInAt": []byte("null")}},
				{ID: "unreadable", CreatedAt: "yesterday", LastSignInAt: "today"},
				{ID: "empty", CreatedAt: "", LastSignInAt: ""},
				{ID: "numbers", Raw: map[string]json.RawMessage{"createdAt": []byte("0"), "lastSignInAt": []byte("0")}},
				{ID: "future", CreatedAt: "9999-12-31T23:59:59Z", LastSignInAt: "2300-01-01T00:00:00Z"},
			},
			collector: collector.Config{Census: collector.CensusConfig{PerUser: true}},
		})
		created := func(id string) string { return fmt.Sprintf("factory_user_created_timestamp_seconds{id=%q}", id) }
		signedIn := func(id string) string {
			return fmt.Sprintf("factory_user_last_sign_in_timestamp_seconds{id=%q}", id)
		}
		f.scrape(t, t.Context()).check(t, "per user", samples{
			"factory_users":  7,
			created("known"): 946677600, signedIn("known"): 946684800.125,
			created("never"): 946677600.5, signedIn("never"): absent,
			created("null"): 946677600, signedIn("null"): absent,
			created("unreadable"): absent, signedIn("unreadable"): absent,
			created("empty"): absent, signedIn("empty"): absent,
			created("numbers"): absent, signedIn("numbers"): absent,
			created("future"): 253402300799, signedIn("future"): 10413792000,
		})
	})
}

func TestPerUserLeavesWithTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, settings{members: members("a", "b"), collector: collector.Config{Census: collector.CensusConfig{PerUser: true}}})
		f.scrape(t, t.Context())
		f.org.Remove("a")
		got := f.scrape(t, t.Context())
		if n := got.count("factory_user_created_timestamp_seconds"); n != 1 || got.count("factory_user_last_sign_in_timestamp_seconds") != 1 {
			t.Errorf("%d series of created, %v", n, got)
		}
	})
}

func TestLabelValuesFromTheAPIDoNotFailAScrape(t *testing.T) {
	const large = 100_000
	values := map[string]string{ // as sent, and what a label must have, empty if that is not given
		`say "hi"`:                         `say "hi"`,
		"two\nlines":                       "two\nlines",
		`back\slash\n`:                     `back\slash\n`,
		"control \x00\x1b[31m\u0085\ufeff": "control \x00\x1b[31m\u0085\ufeff",
		"{le=\"1\"} 5 # EOF":               "{le=\"1\"} 5 # EOF",
		"日本語🙂":                             "日本語🙂",
		"broken BYTES here":                "",
		strings.Repeat("x", large) + "1":   "",
		strings.Repeat("x", large) + "2":   "",
		strings.Repeat("é", large):         "",
		strings.Repeat("BYTES ", 50_000):   "",
		`lone \ud800 surrogate`:            `lone \ud800 surrogate`,
	}
	synctest.Test(t, func(t *testing.T) {
		var users []fakeapi.Member
		for value := range values {
			users = append(users, fakeapi.Member{ID: "id " + value, Email: "a@" + value, CreatedAt: "1999-01-01T00:00:00Z", Metadata: map[string]string{"team": value}})
		}
		f := newFixture(t, settings{
			members: users,
			collector: collector.Config{Census: collector.CensusConfig{
				GroupBy: attributes(t, "email_domain", "metadata.team"), GroupLimit: len(values), PerUser: true,
			}},
		})
		f.api.Inject(fakeapi.Fault{Serve: fakeapi.Replace("BYTES", "\xff\xfe")})

		text := exposition(t, f.Scrape(t.Context()))
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		teams, domains, ids := map[string]bool{}, map[string]bool{}, map[string]bool{}
		for _, metric := range families["factory_users_by_attribute"].GetMetric() {
			switch labels := metric.GetLabel(); labels[0].GetValue() {
			case "metadata.team":
				teams[labels[1].GetValue()] = true
			case "email_domain":
				domains[labels[1].GetValue()] = true
			}
		}
		for _, metric := range families["factory_user_created_timestamp_seconds"].GetMetric() {
			ids[metric.GetLabel()[0].GetValue()] = true
		}
		if len(teams) != len(values) || len(ids) != len(values) {
			t.Errorf("%d teams, %d ids; want %d each", len(teams), len(ids), len(values))
		}
		for _, want := range values {
			if want != "" && (!teams[want] || !ids["id "+want]) {
				t.Errorf("%q: team %t, id %t", want, teams[want], ids["id "+want])
			}
		}
		if len(domains) != 4 { // of many x, ending in 1 and in 2; of many é; and (none)
			t.Errorf("domains %q", slices.Collect(maps.Keys(domains)))
		}
		for _, line := range strings.Split(text, "\n") {
			if len(line) > 2000 {
				t.Errorf("a line of %d bytes: %s...", len(line), line[:100])
			}
		}
	})
}

func TestSeriesDoNotGrowWithTheOrganization(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		count := func(n int) int {
			f := newFixture(t, settings{members: fakeapi.Generate(n, 1, time.Now()), collector: collector.Config{Census: windows("1d", "7d", "30d", "90d")}})
			got := f.scrape(t, t.Context())
			got.check(t, "generated", samples{"factory_users": float64(n)})
			return len(got)
		}
		small := count(1)
		if large := count(10_000); small != large {
			t.Errorf("%d series for one member, %d for 10,000", small, large)
		}
	})
}

// everything is an organization that has an example of all there is, with all options.
// Its time is that at which a synctest bubble begins: 2000-01-01 00:00 UTC.
func everything(t testing.TB) settings {
	t.Helper()
	team := func(name string) map[string]string { return map[string]string{"team": name} }
	s := settings{
		client: factoryapi.Config{PageSize: 4},
		members: []fakeapi.Member{
			{ID: "user_01", Email: "daily@acme.example", CreatedAt: "1998-01-01T00:00:00.000Z", LastSignInAt: "1999-12-31T23:00:00.500Z", Metadata: team("platform")},
			{ID: "user_02", Email: "week@ACME.example", CreatedAt: "1998-06-01T00:00:00Z", LastSignInAt: "1999-12-25T00:00:00Z", Metadata: team("platform")},
			{ID: "user_03", Email: "idle@acme.example", CreatedAt: "1999-01-01T00:00:00Z", LastSignInAt: "1999-11-17T00:00:00Z", Metadata: team("payments")},
			{ID: "user_04", Email: "never@partner.example", CreatedAt: "1999-09-01T00:00:00+02:00", Metadata: team("Data \"& AI\"\n")},
			{ID: "user_01", Email: "daily@acme.example", CreatedAt: "1998-01-01T00:00:00.000Z", Metadata: team("platform")}, // once more
			{ID: "user_05", Email: "invited@partner.example", CreatedAt: "1999-12-31T22:00:00Z"},
			{ID: "user_06", Email: "future@acme.example", CreatedAt: "2000-01-02T00:00:00Z", LastSignInAt: "2000-01-02T00:00:00Z", Metadata: team("payments")},
			{ID: "user_07", Email: "badcreated@contractor.example", CreatedAt: "some time ago", LastSignInAt: "1999-12-31T12:00:00Z"},
			{ID: "user_08", Email: "badsignin@contractor.example", CreatedAt: "1998-01-01T00:00:00Z", LastSignInAt: "of late", Metadata: team("platform")},
			{ID: "user_09", Email: "no address", CreatedAt: "1999-12-01T00:00:00Z", LastSignInAt: "1999-12-15T00:00:00Z", Metadata: team("search")},
		},
	}
	s.collector.Census = windows("1d", "7d", "30d", "90d")
	s.collector.Census.GroupBy = attributes(t, "email_domain", "metadata.team")
	s.collector.Census.GroupLimit = 2
	s.collector.Census.PerUser = true
	s.collector.SeatLimit = 12
	return s
}

// golden compares text with a file, or makes the file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		if i >= len(gotLines) || i >= len(wantLines) || gotLines[i] != wantLines[i] {
			t.Fatalf("%s, line %d and on:\ngot\n%s\nwant\n%s", path, i+1, lines(gotLines, i), lines(wantLines, i))
		}
	}
}

// lines returns a few of the lines from the i-th on.
func lines(all []string, i int) string {
	return strings.Join(all[min(i, len(all)):min(i+3, len(all))], "\n")
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

// key is the API key of the fake API.
const key = "fk-0123456789abcdef"

// settings of a fixture. Their zero value will do.
type settings struct {
	members   []fakeapi.Member
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
	f.requests = collector.NewRequestMetrics()
	s.client.Observe = f.requests.Observe
	s.collector.Schedule.ListingTimeout = cmp.Or(s.collector.Schedule.ListingTimeout, 10*time.Minute)
	f.Collector = collector.New(dial(t, f.api, s.client), s.collector)
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
	return read(t, f.Scrape(ctx), f.requests)
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
