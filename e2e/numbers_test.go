package e2e_test

import (
	"regexp"
	"testing"
	"time"

	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

// uncounted are the series that do not follow from the members.
var uncounted = regexp.MustCompile(`^factory_(listing_timestamp_seconds|listing_duration_seconds|api_requests_total|` +
	`api_request_duration_seconds.*|exporter_build_info.*|users_last_sign_in_age_seconds_sum)$`)

// Who counts as what is told in collector/census. Here are all numbers of an organization
// in Prometheus, with every option that asks for some, and no other series.
func TestNumbersAreTheTruth(t *testing.T) {
	t.Parallel()
	now := time.Now()
	at := func(days int) (text string, seconds float64) {
		at := now.AddDate(0, 0, -days).Truncate(time.Second)
		return at.UTC().Format(time.RFC3339), float64(at.Unix())
	}
	old, oldSeconds := at(400)
	recently, recentlySeconds := at(2)
	before, beforeSeconds := at(40)
	team := func(name string) map[string]string { return map[string]string{"team": name} }
	active := fakeapi.User{ID: "active", Email: "a@acme.example", CreatedAt: old, LastSignInAt: recently, Metadata: team("web")}

	org := newOrganization(t, 0)
	org.Add(
		active,
		fakeapi.User{ID: "idle", Email: "b@ACME.example", CreatedAt: old, LastSignInAt: before, Metadata: team("web")},
		fakeapi.User{ID: "never", Email: "c@partner.example", CreatedAt: before, Metadata: team("data")},
		fakeapi.User{ID: "new", Email: "d@acme.example", CreatedAt: recently},
		fakeapi.User{ID: "unreadable", Email: "nobody", CreatedAt: "last year", LastSignInAt: "yesterday"},
		fakeapi.User{ID: "future", Email: "e@c.example", CreatedAt: "2099-01-01T00:00:00Z", LastSignInAt: "2099-01-01T00:00:00.5Z"},
		active, // listed twice
	)
	exporter := startExporter(t, org, "--factory.seat-limit=300", "--collector.window=7d", "--collector.window=52w",
		"--collector.group-by=email_domain", "--collector.group-by=metadata.team", "--collector.group-limit=1", "--collector.per-user")
	prometheus := startPrometheus(t, prometheusOptions{exporters: exporters{"a": exporter}})
	prometheus.becomes(t, "factory_users == 6")
	want := harness.Samples{
		"factory_up": 1, "factory_users": 6, "factory_users_never_signed_in": 2, "factory_seat_limit": 300,
		"factory_users_joined_total": 0, "factory_users_left_total": 0,
		"factory_listing_in_progress": 0, "factory_listing_pages": 1, "factory_listing_duplicate_users": 1,
		`factory_listing_invalid_timestamps{field="createdAt"}`: 1, `factory_listing_invalid_timestamps{field="lastSignInAt"}`: 1,
		`factory_users_active{window="7d"}`: 2, `factory_users_idle{window="7d"}`: 2, `factory_users_new{window="7d"}`: 2,
		`factory_users_active{window="52w"}`: 3, `factory_users_idle{window="52w"}`: 0, `factory_users_new{window="52w"}`: 3,
		"factory_users_last_sign_in_age_seconds_count": 3,

		`factory_user_created_timestamp_seconds{id="active"}`: oldSeconds, `factory_user_last_sign_in_timestamp_seconds{id="active"}`: recentlySeconds,
		`factory_user_created_timestamp_seconds{id="idle"}`: oldSeconds, `factory_user_last_sign_in_timestamp_seconds{id="idle"}`: beforeSeconds,
		`factory_user_created_timestamp_seconds{id="never"}`: beforeSeconds, `factory_user_created_timestamp_seconds{id="new"}`: recentlySeconds,
		`factory_user_created_timestamp_seconds{id="future"}`: 4070908800, `factory_user_last_sign_in_timestamp_seconds{id="future"}`: 4070908800.5,
	}
	for le, n := range map[string]float64{
		"86400.0": 1, "259200.0": 2, "604800.0": 2, "1.2096e+06": 2, "2.592e+06": 2,
		"5.184e+06": 3, "7.776e+06": 3, "1.5552e+07": 3, "3.1536e+07": 3, "+Inf": 3,
	} {
		want[`factory_users_last_sign_in_age_seconds_bucket{le="`+le+`"}`] = n
	}
	for _, status := range []string{"401", "403", "429", "500", "timeout", "connection", "invalid_response"} {
		want[`factory_api_errors_total{status="`+status+`"}`] = 0
	}
	for value, n := range map[string]struct{ users, active, idle, activeInYear float64 }{
		`attribute="email_domain", value="acme.example"`: {3, 1, 1, 2},
		`attribute="email_domain", value="(none)"`:       {1, 0, 0, 0},
		`attribute="email_domain", value="(other)"`:      {2, 1, 1, 1},
		`attribute="metadata.team", value="web"`:         {2, 1, 1, 2},
		`attribute="metadata.team", value="(none)"`:      {3, 1, 0, 1},
		`attribute="metadata.team", value="(other)"`:     {1, 0, 1, 0},
	} {
		want["factory_users_by_attribute{"+value+"}"] = n.users
		want["factory_users_active_by_attribute{"+value+`, window="7d"}`] = n.active
		want["factory_users_idle_by_attribute{"+value+`, window="7d"}`] = n.idle
		want["factory_users_active_by_attribute{"+value+`, window="52w"}`] = n.activeInYear
		want["factory_users_idle_by_attribute{"+value+`, window="52w"}`] = 0
	}
	got := harness.Samples{}
	for _, sample := range prometheus.query(t, `{__name__=~"factory_.+", job="factory", instance="a"}`) {
		delete(sample.Metric, "job")
		delete(sample.Metric, "instance")
		got[sample.Metric.String()] = float64(sample.Value)
	}
	got.Check(t, "in Prometheus", want)
	for series := range got {
		if _, ok := want[series]; !ok && !uncounted.MatchString(series) {
			t.Errorf("%s should not be there", series)
		}
	}

	org.Remove("active")
	prometheus.becomes(t, `factory_users == 5 unless on () factory_user_created_timestamp_seconds{id="active"}`)
}
