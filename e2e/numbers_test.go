package e2e_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"factory_exporter/e2e/internal/process"
	"factory_exporter/factoryapi/fakeapi"
)

func TestNumbersAreTheTruth(t *testing.T) {
	for _, test := range []struct {
		name  string
		flags []string
		count count
	}{
		{
			name:  "default flags",
			count: count{windows: []string{"1d", "7d", "30d", "90d"}},
		},
		{
			name: "groups and seat limit",
			flags: []string{"--factory.seat-limit=300", "--collector.window=7d", "--collector.window=52w",
				"--collector.group-by=email_domain", "--collector.group-by=metadata.team", "--collector.group-limit=4"},
			count: count{windows: []string{"7d", "52w"}, groupBy: []string{"email_domain", "metadata.team"}, groupLimit: 4, seatLimit: 300},
		},
		{
			name:  "each user",
			flags: []string{"--collector.per-user", "--collector.window=30d"},
			count: count{windows: []string{"30d"}, perUser: true},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			org := newOrganization(t, 250)
			org.Add(
				fakeapi.User{ID: "never", Email: "No.Metadata@ACME.example", CreatedAt: "2024-01-02T03:04:05+02:00"},
				fakeapi.User{ID: "unreadable", Email: "nobody", CreatedAt: "last year", LastSignInAt: "yesterday"},
				fakeapi.User{ID: "null", Email: "a@b.example", CreatedAt: "2020-01-01T00:00:00Z", Raw: map[string]json.RawMessage{"lastSignInAt": json.RawMessage("null")}},
				fakeapi.User{ID: "future", Email: "a@c.example", CreatedAt: "2099-01-01T00:00:00Z", LastSignInAt: "2099-01-01T00:00:00.123456789Z"},
				org.Users()[0], // listed twice
			)
			prometheus := startPrometheus(t, prometheusOptions{exporters: exporters{"a": startExporter(t, org, test.flags...)}})

			prometheus.becomes(t, `up{job="factory", instance="a"} == 1`)
			compare := func() error { return diff(prometheus.numbers(t), test.count, org.Users()) }
			process.Eventually(t, compare)

			// A listing with duplicates does not tell who joined or left.
			org.Remove(org.Users()[0].ID)
			process.Eventually(t, compare)
			before := prometheus.numbers(t)["factory_users"]
			listed := org.Users()
			org.Remove(listed[len(listed)-1].ID)
			org.join(7)
			org.Update("never", func(m *fakeapi.User) { m.LastSignInAt = m.CreatedAt })
			test.count.joined, test.count.left = 7, 1
			process.Eventually(t, compare)
			if after := prometheus.numbers(t)["factory_users"]; after != before+6 {
				t.Errorf("%v members, before %v", after, before)
			}
		})
	}
}

// numbers are the exporter's series as Prometheus has them now, with their values.
func (p *prometheus) numbers(t *testing.T) map[string]float64 {
	t.Helper()
	numbers := map[string]float64{}
	for _, sample := range p.query(t, `{__name__=~"factory_.+", job="factory"}`) {
		delete(sample.Metric, "job")
		delete(sample.Metric, "instance")
		if le, ok := sample.Metric["le"]; ok {
			sample.Metric["le"] = model.LabelValue(strings.TrimSuffix(string(le), ".0"))
		}
		numbers[sample.Metric.String()] = float64(sample.Value)
	}
	return numbers
}

// diff says how numbers differ from the members counted at the instant of the listing.
func diff(numbers map[string]float64, c count, members []fakeapi.User) error {
	start := numbers["factory_listing_timestamp_seconds"] - numbers["factory_listing_duration_seconds"]
	if start == 0 {
		return errors.New("no listing")
	}
	c.truth = map[string]float64{}
	c.members(members, time.UnixMilli(int64(start*1000)))

	var differences []error
	for series, want := range c.truth {
		if got, ok := numbers[series]; !ok || math.Abs(got-want) > 1e-9*math.Abs(want) {
			differences = append(differences, fmt.Errorf("%s is %v (%t), want %v", series, got, ok, want))
		}
	}
	for series, got := range numbers {
		if _, ok := c.truth[series]; !ok && !slices.ContainsFunc(uncounted, func(prefix string) bool { return strings.HasPrefix(series, prefix) }) {
			differences = append(differences, fmt.Errorf("%s is %v, and should not be there", series, got))
		}
	}
	return errors.Join(differences...)
}

// uncounted are the series that do not follow from the members.
var uncounted = []string{
	"factory_listing_timestamp_seconds", "factory_listing_duration_seconds",
	"factory_api_requests_total", "factory_api_request_duration_seconds",
	"factory_exporter_build_info",
	"factory_users_last_sign_in_age_seconds_sum", // known to the millisecond only
}

// count counts members as the documentation of the metrics has it. It shares no code with
// the exporter.
type count struct {
	windows      []string
	groupBy      []string
	groupLimit   int
	perUser      bool
	seatLimit    float64
	joined, left float64

	truth map[string]float64 // by series
}

func (c *count) set(value float64, name string, labels ...string) {
	metric := model.Metric{model.MetricNameLabel: model.LabelValue(name)}
	for i := 0; i < len(labels); i += 2 {
		metric[model.LabelName(labels[i])] = model.LabelValue(labels[i+1])
	}
	c.truth[metric.String()] += value
}

func (c *count) members(listed []fakeapi.User, now time.Time) {
	var members []fakeapi.User
	duplicates := 0.0
	for _, m := range listed {
		if slices.ContainsFunc(members, func(other fakeapi.User) bool { return other.ID == m.ID }) {
			duplicates++
			continue
		}
		members = append(members, m)
	}
	c.set(1, "factory_up")
	c.set(0, "factory_listing_in_progress")
	c.set(math.Ceil(float64(len(listed))/100), "factory_listing_pages")
	c.set(duplicates, "factory_listing_duplicate_users")
	c.set(c.joined, "factory_users_joined_total")
	c.set(c.left, "factory_users_left_total")
	for _, status := range []string{"401", "403", "429", "500", "timeout", "connection", "invalid_response"} {
		c.set(0, "factory_api_errors_total", "status", status)
	}
	if c.seatLimit > 0 {
		c.set(c.seatLimit, "factory_seat_limit")
	}
	for _, window := range c.windows { // there also if nobody is counted
		for _, name := range []string{"factory_users_active", "factory_users_idle", "factory_users_new"} {
			c.set(0, name, "window", window)
		}
	}
	for _, field := range []string{"createdAt", "lastSignInAt"} {
		c.set(0, "factory_listing_invalid_timestamps", "field", field)
	}
	c.set(0, "factory_users_never_signed_in")

	values := map[string]map[string]int{} // members by value, of each attribute
	for _, attribute := range c.groupBy {
		values[attribute] = map[string]int{}
		for _, m := range members {
			values[attribute][valueOf(m, attribute)]++
		}
	}
	for _, m := range members {
		c.member(m, now, values)
	}
}

func (c *count) member(m fakeapi.User, now time.Time, values map[string]map[string]int) {
	created, createdErr := time.Parse(time.RFC3339, m.CreatedAt)
	signedIn, signedInErr := time.Parse(time.RFC3339, m.LastSignInAt)
	never := m.LastSignInAt == ""
	unreadable := !never && signedInErr != nil

	c.set(1, "factory_users")
	if createdErr != nil {
		c.set(1, "factory_listing_invalid_timestamps", "field", "createdAt")
	}
	switch {
	case never:
		c.set(1, "factory_users_never_signed_in")
	case unreadable:
		c.set(1, "factory_listing_invalid_timestamps", "field", "lastSignInAt")
	default:
		age := now.Sub(signedIn)
		c.set(1, "factory_users_last_sign_in_age_seconds_count")
		for _, days := range []int{1, 3, 7, 14, 30, 60, 90, 180, 365} {
			within := 0.0
			if age <= time.Duration(days)*24*time.Hour {
				within = 1
			}
			c.set(within, "factory_users_last_sign_in_age_seconds_bucket", "le", fmt.Sprint(float64(days)*86400))
		}
		c.set(1, "factory_users_last_sign_in_age_seconds_bucket", "le", "+Inf")
	}
	if c.perUser && createdErr == nil {
		c.set(float64(created.UnixNano())/1e9, "factory_user_created_timestamp_seconds", "id", m.ID)
	}
	if c.perUser && !never && !unreadable {
		c.set(float64(signedIn.UnixNano())/1e9, "factory_user_last_sign_in_timestamp_seconds", "id", m.ID)
	}

	for _, attribute := range c.groupBy {
		c.set(1, "factory_users_by_attribute", "attribute", attribute, "value", c.kept(values[attribute], valueOf(m, attribute)))
	}
	for _, window := range c.windows {
		length, err := model.ParseDuration(window)
		if err != nil {
			panic(err)
		}
		begin := now.Add(-time.Duration(length))
		isNew := createdErr == nil && !created.Before(begin)
		isActive := !never && !unreadable && !signedIn.Before(begin)
		isIdle := createdErr == nil && !isNew && (never || !unreadable && !isActive)
		numbers := map[string]bool{"factory_users_active": isActive, "factory_users_idle": isIdle}
		for name, counts := range numbers {
			value := 0.0
			if counts {
				value = 1
			}
			c.set(value, name, "window", window)
			for _, attribute := range c.groupBy {
				c.set(value, name+"_by_attribute", "window", window,
					"attribute", attribute, "value", c.kept(values[attribute], valueOf(m, attribute)))
			}
		}
		if isNew {
			c.set(1, "factory_users_new", "window", window)
		}
	}
}

func valueOf(m fakeapi.User, attribute string) string {
	value := ""
	if attribute == "email_domain" {
		_, value, _ = strings.Cut(strings.ToLower(m.Email), "@")
	} else {
		value = m.Metadata[strings.TrimPrefix(attribute, "metadata.")]
	}
	return cmp.Or(value, "(none)")
}

// kept is the value itself if enough members have it to be one of those shown, or else
// "(other)".
func (c *count) kept(members map[string]int, value string) string {
	larger := 0
	for other, n := range members {
		if other != "(none)" && (n > members[value] || n == members[value] && other < value) {
			larger++
		}
	}
	if value != "(none)" && larger >= c.groupLimit {
		return "(other)"
	}
	return value
}
