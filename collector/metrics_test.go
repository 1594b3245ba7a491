package collector_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"factory_exporter/collector"
	"factory_exporter/collector/census"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

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

// What becomes of long values is told in census/census_test.go.
func TestLabelValuesFromTheAPIDoNotFailAScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := map[string]bool{"id broken \ufffd\ufffd here": true}
		users := []fakeapi.User{{ID: "id broken BYTES here", Metadata: map[string]string{"team": "broken BYTES here"}}}
		for _, value := range []string{
			`say "hi"`, "two\nlines", `back\slash\n`, "control \x00\x1b[31m\u0085\ufeff", "{le=\"1\"} 5 # EOF", "日本語🙂", `lone \ud800 surrogate`, strings.Repeat("é", 60),
		} {
			users = append(users, fakeapi.User{ID: "id " + value, Metadata: map[string]string{"team": value}, CreatedAt: "1999-01-01T00:00:00Z"})
			want["id "+value] = true
		}
		users[0].CreatedAt = users[1].CreatedAt
		cfg := census.Config{GroupBy: harness.Attributes(t, "metadata.team"), GroupLimit: len(users), PerUser: true}
		f := newFixture(t, settings{members: users, collector: collector.Config{Census: cfg}})
		f.api.Inject(fakeapi.Fault{Serve: fakeapi.Replace("BYTES", "\xff\xfe")})

		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(exposition(t, f.Scrape(t.Context()))))
		if err != nil {
			t.Fatal(err)
		}
		got, teams := map[string]bool{}, families["factory_users_by_attribute"].GetMetric()
		for _, metric := range families["factory_user_created_timestamp_seconds"].GetMetric() {
			got[metric.GetLabel()[0].GetValue()] = true
		}
		if !maps.Equal(got, want) || len(teams) != len(users) {
			t.Errorf("ids %q, want %q; %d teams", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)), len(teams))
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
		members: []fakeapi.User{
			{ID: "user_01", Email: "daily@acme.example", CreatedAt: "1998-01-01T00:00:00.000Z", LastSignInAt: "1999-12-31T23:00:00.500Z", Metadata: team("platform")},
			{ID: "user_02", Email: "week@ACME.example", CreatedAt: "1998-06-01T00:00:00Z", LastSignInAt: "1999-12-25T00:00:00Z", Metadata: team("platform")},
			{ID: "user_03", Email: "idle@acme.example", CreatedAt: "1999-01-01T00:00:00Z", LastSignInAt: "1999-11-17T00:00:00Z", Metadata: team("payments")},
			{ID: "user_04", Email: "never@partner.example", CreatedAt: "1999-09-01T00:00:00+02:00", Metadata: team("Data \"& AI\"\n")},
			{ID: "user_01", Email: "daily@acme.example", CreatedAt: "1998-01-01T00:00:00.000Z", Metadata: team("platform")}, // once more
			{ID: "user_05", Email: "invited@partner.example", CreatedAt: "1999-12-31T22:00:00Z"},
			{ID: "user_06", Email: "future@acme.example", CreatedAt: "2000-01-02T00:00:00Z", LastSignInAt: "9999-12-31T23:59:59Z", Metadata: team("payments")},
			{ID: "user_07", Email: "badcreated@contractor.example", CreatedAt: "some time ago", LastSignInAt: "1999-12-31T12:00:00Z"},
			{ID: "user_08", Email: "badsignin@contractor.example", CreatedAt: "1998-01-01T00:00:00Z", LastSignInAt: "of late", Metadata: team("platform")},
			{ID: "user_09", Email: "no address", CreatedAt: "1999-12-01T00:00:00Z", LastSignInAt: "1999-12-15T00:00:00Z", Metadata: team("search")},
		},
	}
	s.collector.Census = windows("1d", "7d", "30d", "90d")
	s.collector.Census.GroupBy = harness.Attributes(t, "email_domain", "metadata.team")
	s.collector.Census.GroupLimit = 2
	s.collector.Census.PerUser = true
	s.collector.SeatLimit = 12
	return s
}
