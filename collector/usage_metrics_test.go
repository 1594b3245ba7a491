package collector_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

// may31 is noon of the day on which these tests begin. The day before is 2026-05-30.
var may31 = time.Date(2026, 5, 31, 12, 0, 0, 0, time.UTC)

// sleepUntil lets a synctest bubble begin at another time than 2000-01-01.
func sleepUntil(t time.Time) { time.Sleep(time.Until(t)) }

// working is an organization with an example of each way to use the product, or not to.
func working() settings {
	work := fakeapi.Work{Clients: []string{"web", "terminal-ui"}, Sessions: 2, UserMessages: 3, AssistantMessages: 6, ToolCalls: 5,
		Model: "plain", BillableTokens: 20_000, InputTokens: 400, OutputTokens: 100, CacheRead: 900, CacheWrite: 50}
	var s settings
	var workers []fakeapi.UserWork
	add := func(id, created string, on func(time.Time) (fakeapi.Work, bool)) {
		s.members = append(s.members, fakeapi.User{ID: id, Email: id + "@acme.example", CreatedAt: created})
		if on != nil {
			workers = append(workers, fakeapi.UserWork{ID: id, Email: id + "@acme.example", On: on})
		}
	}
	const old = "2025-01-01T00:00:00Z"
	add("every", old, fakeapi.OnDays(work, "2026-05-28", "2026-05-29", "2026-05-30"))
	add("week", old, fakeapi.OnDays(work, "2026-05-26"))
	add("month", old, fakeapi.OnDays(work, "2026-05-05"))
	add("quarter", old, fakeapi.OnDays(work, "2026-03-05"))
	add("never", old, nil)
	add("zero", old, fakeapi.OnDays(fakeapi.Work{}, "2026-05-30"))
	add("young", "2026-05-28T12:00:00Z", nil)
	add("young-worker", "2026-05-29T00:00:00Z", fakeapi.OnDays(work, "2026-05-30"))
	add("today", "2026-05-31T08:00:00Z", nil)
	add("unreadable", "some time ago", nil)
	workers = append(workers, fakeapi.UserWork{ID: "left", On: fakeapi.OnDays(work, "2026-05-30")})
	s.analytics = fakeapi.NewAnalytics(workers...)
	s.analytics.SetLimits(fakeapi.Limits{Global: 2_000_000, OfUsers: map[string]int{"every@acme.example": 5_000_000}})
	s.collector.Census = windows("1d", "7d", "30d", "90d", "36h")
	s.client = factoryapi.Config{PageSize: 2}
	return s
}

// afterReading scrapes, lets the reading end, and scrapes again.
func (f *fixture) afterReading(t *testing.T) samples {
	t.Helper()
	f.scrape(t, t.Context())
	synctest.Wait()
	return f.scrape(t, t.Context())
}

func usedOf(window string) string   { return `factory_users_used{window="` + window + `"}` }
func unusedOf(window string) string { return `factory_users_unused{window="` + window + `"}` }

// all are the numbers of working in each window.
var all = samples{
	"factory_usage_up": 1, "factory_usage_day_timestamp_seconds": startOf("2026-05-30"), "factory_usage_known_days": 90, "factory_usage_unknown_users": 1,
	`factory_usage_active_days{window="1d"}`: 1, `factory_usage_active_days{window="7d"}`: 4, `factory_usage_active_days{window="30d"}`: 5, `factory_usage_active_days{window="90d"}`: 6,
	usedOf("1d"): 2, usedOf("7d"): 3, usedOf("30d"): 4, usedOf("90d"): 5, usedOf("36h"): absent,
	unusedOf("1d"): 6, unusedOf("7d"): 4, unusedOf("30d"): 3, unusedOf("90d"): 2, unusedOf("36h"): absent,
	creditsOf("1d"): 40_000, creditsOf("7d"): 100_000, creditsOf("30d"): 120_000, creditsOf("90d"): 140_000, creditsOf("36h"): absent,
	`factory_users_credits_per_user_count{window="7d"}`: 3, `factory_users_credits_per_user_sum{window="7d"}`: 100_000,
	`factory_users_credits_per_user_bucket{window="7d",le="10000"}`: 0, `factory_users_credits_per_user_bucket{window="7d",le="20000"}`: 2, `factory_users_credits_per_user_bucket{window="7d",le="100000"}`: 3,
	`factory_usage_active_users{window="1d"}`: 3, "factory_usage_sessions": 6, "factory_usage_credits": 60_000, `factory_usage_credits_by_model{model="plain"}`: 60_000,
	"factory_usage_credit_limit": 2_000_000, "factory_usage_credit_limits_of_users": 1,
}

// none are the numbers of working where the analytics cannot be read.
func none() samples {
	missing := samples{}
	for series := range all {
		missing[series] = absent
	}
	missing["factory_usage_up"] = 0
	return missing
}

// but returns samples with others in the place of some.
func but(s, others samples) samples {
	s = maps.Clone(s)
	maps.Copy(s, others)
	return s
}

func creditsOf(window string) string { return `factory_users_credits{window="` + window + `"}` }

func startOf(day string) float64 {
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err) // it stands in a test
	}
	return float64(at.Unix())
}

func TestUsedByAttribute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		s := working()
		for i := range s.members {
			s.members[i].Metadata = map[string]string{"half": fmt.Sprint(i % 2)}
		}
		s.collector.Census.GroupBy = harness.Attributes(t, "metadata.half")
		s.collector.Census.GroupLimit = 1
		newFixture(t, s).afterReading(t).Check(t, "after the reading", samples{
			`factory_users_used_by_attribute{attribute="metadata.half",value="0",window="7d"}`:          1, // every
			`factory_users_used_by_attribute{attribute="metadata.half",value="(other)",window="7d"}`:    2, // week, young-worker
			`factory_users_unused_by_attribute{attribute="metadata.half",value="0",window="7d"}`:        2, // month, never
			`factory_users_unused_by_attribute{attribute="metadata.half",value="(other)",window="7d"}`:  2, // quarter, zero
			`factory_users_used_by_attribute{attribute="metadata.half",value="0",window="36h"}`:         absent,
			`factory_users_credits_by_attribute{attribute="metadata.half",value="0",window="7d"}`:       60_000,
			`factory_users_credits_by_attribute{attribute="metadata.half",value="(other)",window="7d"}`: 40_000,
			`factory_users_credits_by_attribute{attribute="metadata.half",value="0",window="36h"}`:      absent,
		})
	})
}

func TestExpositionOfUsage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		s := working()
		s.collector.Census.GroupBy = harness.Attributes(t, "email_domain")
		s.collector.Census.GroupLimit = 1
		f := newFixture(t, s)
		f.api.SetLatency(250 * time.Millisecond)
		f.scrape(t, t.Context())
		time.Sleep(time.Minute)
		golden(t, "testdata/scrape_usage.prom", exposition(t, f.Scrape(t.Context()), f.requests))
	})
}

// A number that the analytics do not tell has no series, and is not taken for zero.
func TestNumbersThatAreNullAreAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		s := working()
		f := newFixture(t, s)
		f.api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath, Serve: fakeapi.EditRows(func(row map[string]any) {
			for _, name := range []string{"weekly_active_users", "messages", "billable_tokens", "cache_read_tokens"} {
				row[name] = nil
			}
		})})
		f.afterReading(t).Check(t, "after the reading", samples{
			`factory_usage_active_users{window="1d"}`:            3,
			`factory_usage_active_users{window="7d"}`:            absent,
			`factory_usage_active_users{window="30d"}`:           5,
			`factory_usage_active_users_by_client{client="web"}`: 3,
			`factory_usage_sessions`:                             6,
			`factory_usage_messages`:                             absent,
			`factory_usage_user_messages`:                        9,
			`factory_usage_credits`:                              absent,
			`factory_usage_tokens{kind="input"}`:                 1200,
			`factory_usage_tokens{kind="output"}`:                300,
			`factory_usage_tokens{kind="cache_read"}`:            absent,
			`factory_usage_tokens{kind="cache_write"}`:           150,
		})
	})
}

// wrong is a way in which the analytics can be wrong, and what comes of it.
type wrong struct {
	name     string
	fault    fakeapi.Fault
	unknowns fakeapi.Unknowns
	want     samples
	errors   string // the status that is counted, empty for none
	lines    []string
}

// at strikes an endpoint of the analytics, all of them if it is empty.
func at(endpoint string, serve fakeapi.Behavior) fakeapi.Fault {
	return fakeapi.Fault{Path: fakeapi.AnalyticsPath + endpoint, Serve: serve}
}

// row changes each row.
func row(change func(row map[string]any)) fakeapi.Behavior { return fakeapi.EditRows(change) }

// set sets a field of each row.
func set(field string, value any) fakeapi.Behavior {
	return row(func(row map[string]any) { row[field] = value })
}

// wrongs are the ways. What can be wrong with a row is told in factoryapi/analytics_test.go,
// and with a day in usage/usage_test.go. Here is what comes of it.
func wrongs() []wrong {
	without := func(prefixes ...string) samples {
		some := maps.Clone(all)
		for series := range some {
			if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(series, prefix) }) {
				some[series] = absent
			}
		}
		return some
	}
	membersAbsent := without("factory_users_")
	membersAbsent["factory_usage_unknown_users"] = 6
	// The window of 7 days is known, and those that are longer are not.
	week := but(all, samples{"factory_usage_unknown_users": 1, "factory_usage_known_days": 28})
	for series := range week {
		if strings.Contains(series, `"30d"`) || strings.Contains(series, `"90d"`) {
			week[series] = absent
		}
	}
	late := func(endpoint string) wrong {
		return wrong{name: endpoint + " is late", want: dayBefore, fault: at(endpoint, fakeapi.Edit(func(page map[string]any) {
			page["data"] = slices.DeleteFunc(page["data"].([]any), func(row any) bool { return row.(map[string]any)["date"] == "2026-05-30" })
		}))}
	}
	limits := func(serve fakeapi.Behavior) fakeapi.Fault {
		return fakeapi.Fault{Path: fakeapi.LimitsPath, Serve: serve}
	}
	const needed = "an Enterprise plan, and a personal API key of a Manager or Owner"
	return []wrong{
		{name: "nothing", want: all},
		{name: "the plan does not have them", fault: at("", fakeapi.Refuse(403, "enterprise_required "+key)), want: none(), errors: "403",
			lines: []string{"enterprise_required [redacted] (the analytics need " + needed}},
		{name: "too many requests for a day", fault: at("", fakeapi.Status(429, "Retry-After", "86400")), want: none(), errors: "429", lines: []string{"HTTP 429"}},
		{name: "they hang", fault: at("", fakeapi.Hang()), want: none(), errors: "timeout", lines: []string{"timeout"}},
		{name: "no JSON", fault: at("", fakeapi.Respond(200, "text/html", "<p>Sign in")), want: none(), errors: "invalid_response", lines: []string{"not JSON"}},
		{name: "all is late", unknowns: fakeapi.Unknowns{Late: true}, want: dayBefore},
		late("activity"), late("tokens"),
		{name: "other ids", fault: at("users", row(func(row map[string]any) { row["user_id"] = strings.ToUpper(row["user_id"].(string)) })),
			want: membersAbsent, lines: []string{"The ids of the analytics do not match"}},
		// Nothing is claimed of "zero", who has zeros and a null.
		{name: "sessions are null", fault: at("users", set("sessions", nil)),
			want: but(all, samples{unusedOf("1d"): 5, unusedOf("7d"): 3, unusedOf("30d"): 2, unusedOf("90d"): 1})},
		{name: "dates are null", fault: at("users", set("date", nil)), want: all},
		{name: "activity and users count different things", fault: at("activity", set("daily_active_users", 1000)), // as the third day is taken as it is
			want:  samples{"factory_usage_up": 1, "factory_usage_day_timestamp_seconds": startOf("2026-05-28"), "factory_usage_known_days": 90, usedOf("7d"): 2},
			lines: []string{"activity counts 1000 active users on 2026-05-29, but users has 1", `taken as it is" day=2026-05-28 rows=1 active_users=1000`}},
		{name: "the history is short", unknowns: fakeapi.Unknowns{Reach: 28}, want: week, errors: "400"},
		{name: "the activity of an old day fails", fault: at("activity", fakeapi.OnDay("2026-05-05", fakeapi.Status(500))),
			want: but(week, samples{"factory_usage_up": 0, "factory_usage_known_days": 25}), errors: "500", lines: []string{"HTTP 500"}},
		{name: "credits are null", fault: at("users", set("billable_tokens", nil)), want: without("factory_users_credits")},
		{name: "limits are refused", fault: limits(fakeapi.Status(403)), want: without("factory_usage_credit_limit"), errors: "403"},
		{name: "no limits are set", fault: limits(fakeapi.Respond(200, "application/json", `{"globalLimit":null,"userLimits":[]}`)),
			want: but(all, samples{"factory_usage_credit_limit": absent, "factory_usage_credit_limits_of_users": 0})},
	}
}

// dayBefore are the numbers of working if the day before is the newest one. One worked on
// it, who is 20,000 credits short of what all has.
var dayBefore = but(none(), samples{
	"factory_usage_up": 1, "factory_usage_day_timestamp_seconds": startOf("2026-05-29"), "factory_usage_known_days": 90, "factory_usage_unknown_users": 0,
	usedOf("1d"): 1, usedOf("7d"): 2, usedOf("30d"): 3, usedOf("90d"): 4, unusedOf("1d"): 6, unusedOf("7d"): 4, unusedOf("30d"): 3, unusedOf("90d"): 2,
	creditsOf("1d"): 20_000, creditsOf("7d"): 60_000, creditsOf("30d"): 80_000, creditsOf("90d"): 100_000,
	`factory_usage_active_days{window="1d"}`: 1, `factory_usage_active_days{window="7d"}`: 3, `factory_usage_active_days{window="30d"}`: 4, `factory_usage_active_days{window="90d"}`: 5,
	`factory_users_credits_per_user_count{window="7d"}`: 2, `factory_users_credits_per_user_sum{window="7d"}`: 60_000,
	`factory_users_credits_per_user_bucket{window="7d",le="10000"}`: 0, `factory_users_credits_per_user_bucket{window="7d",le="20000"}`: 1, `factory_users_credits_per_user_bucket{window="7d",le="100000"}`: 2,
	`factory_usage_active_users{window="1d"}`: 1, "factory_usage_sessions": 2, "factory_usage_credits": 20_000, `factory_usage_credits_by_model{model="plain"}`: 20_000,
	"factory_usage_credit_limit": 2_000_000, "factory_usage_credit_limits_of_users": 1,
})

// Whatever the analytics do, the members are counted as if nobody asked for them, at the
// same time. What is believed is shown, what fails is counted, and the log says it once.
func TestWrongsOfTheAnalytics(t *testing.T) {
	for _, tt := range wrongs() {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sleepUntil(may31)
				log := new(harness.Log)
				s := working()
				s.collector.Logger = log.Logger()
				s.client.RequestTimeout, s.client.MaxRetries = 10*time.Second, 1
				s.analytics.Choose(tt.unknowns)
				f := newFixture(t, s)
				if tt.fault.Serve != nil {
					f.api.Inject(tt.fault)
				}
				plain := settings{members: s.members, client: s.client, collector: s.collector}
				plain.collector.Analytics, plain.collector.Logger = nil, nil
				want := newFixture(t, plain).scrape(t, t.Context())

				var got samples
				for range 5 { // two hours and a half, in which there are three readings
					start := time.Now()
					got = f.scrape(t, t.Context())
					if took := time.Since(start); took > 0 {
						t.Fatalf("the scrape took %s", took)
					}
					for series, value := range want {
						if strings.HasPrefix(series, "factory_users") && got[series] != value {
							t.Fatalf("%s is %v, want %v", series, got[series], value)
						}
					}
					time.Sleep(30 * time.Minute)
				}
				got.Check(t, "in the end", but(tt.want, samples{"factory_up": 1}))
				for series, value := range got {
					status, isErrors := strings.CutPrefix(series, `factory_usage_api_errors_total{status="`)
					if isErrors && (value > 0) != (strings.TrimSuffix(status, `"}`) == tt.errors) {
						t.Errorf("%s is %v, want errors %q alone", series, value, tt.errors)
					}
				}
				log.Check(t, tt.lines...)
				harness.CheckNoKey(t, "the log", log.String(), key)
				log.Reset()

				f.api.ClearFaults()
				s.analytics.Choose(fakeapi.Unknowns{})
				time.Sleep(24 * time.Hour)
				f.afterReading(t).Check(t, "when nothing is wrong", samples{"factory_usage_up": 1, usedOf("1d"): 2, "factory_usage_day_timestamp_seconds": startOf("2026-05-30")})
				if tt.want["factory_usage_up"] == 0 {
					log.Check(t, `level=INFO msg="Reading the analytics works again"`)
				}
			})
		})
	}
}

// The numbers of the organization and of its members are of one day, in the first scrape of
// a new one as well.
func TestOneDayIsShown(t *testing.T) {
	for _, ttl := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			sleepUntil(may31)
			s := working()
			s.collector.Schedule.CacheTTL = ttl
			s.client.PageSize = 1 // a listing takes longer than the first day of a reading
			s.analytics.Choose(fakeapi.Unknowns{IdleDays: true})
			f := newFixture(t, s)
			f.api.SetLatency(100 * time.Millisecond)
			f.scrape(t, t.Context())
			sleepUntil(time.Date(2026, 5, 31, 23, 30, 0, 0, time.UTC))
			may30 := samples{"factory_usage_day_timestamp_seconds": startOf("2026-05-30"), usedOf("1d"): 2, `factory_usage_active_users{window="1d"}`: 3}
			may31 := samples{"factory_usage_day_timestamp_seconds": startOf("2026-05-31"), usedOf("1d"): 0, `factory_usage_active_users{window="1d"}`: 0}
			f.scrape(t, t.Context()).Check(t, "before midnight", may30)
			sleepUntil(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))
			f.scrape(t, t.Context()).Check(t, "at midnight", may30)
			time.Sleep(time.Hour)
			f.scrape(t, t.Context()).Check(t, "an hour later", may31)
		})
	}
}

// Until all days are read, nobody knows whether the ids match: the newest day may be one on
// which no member worked.
func TestNoMemberWorkedOnTheNewestDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		log := new(harness.Log)
		s := working()
		s.collector.Logger = log.Logger()
		work := fakeapi.Work{Sessions: 1, Model: "plain"}
		s.analytics = fakeapi.NewAnalytics(
			fakeapi.UserWork{ID: "service", On: func(time.Time) (fakeapi.Work, bool) { return work, true }},
			fakeapi.UserWork{ID: "every", On: fakeapi.OnDays(work, "2026-05-20")},
		)
		f := newFixture(t, s)
		f.api.SetLatency(100 * time.Millisecond)
		f.scrape(t, t.Context())
		time.Sleep(200 * time.Millisecond) // in which the newest day is read
		f.scrape(t, t.Context()).Check(t, "during the reading", samples{usedOf("1d"): absent, unusedOf("1d"): absent})
		time.Sleep(time.Minute)
		f.scrape(t, t.Context()).Check(t, "after it", samples{usedOf("1d"): 0, unusedOf("1d"): 8, usedOf("30d"): 1})
		log.Check(t)
	})
}

// Days that were read under other ids are not added to days under the right ones.
func TestIdsThatMatchAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		f := newFixture(t, working())
		f.api.Inject(at("users", row(func(row map[string]any) { row["user_id"] = "left-" + row["user_id"].(string) })))
		f.afterReading(t).Check(t, "with other ids", samples{"factory_usage_up": 1, usedOf("7d"): absent, unusedOf("7d"): absent, "factory_usage_unknown_users": 6})
		f.api.ClearFaults()
		time.Sleep(24 * time.Hour)
		f.afterReading(t).Check(t, "with the right ones", all)
	})
}

// Nor is the newest day, which was late, added to days under other ids.
func TestIdsThatMatchInTheCourseOfADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		s := working()
		s.analytics.Choose(fakeapi.Unknowns{IdleDays: true, Late: true})
		f := newFixture(t, s)
		f.api.Inject(at("users", row(func(row map[string]any) { row["user_id"] = "left-" + row["user_id"].(string) })))
		f.afterReading(t)
		f.api.ClearFaults()
		s.analytics.Choose(fakeapi.Unknowns{})
		time.Sleep(time.Hour)
		f.afterReading(t).Check(t, "an hour later", samples{"factory_usage_day_timestamp_seconds": startOf("2026-05-30"), usedOf("1d"): absent, unusedOf("7d"): absent})
		time.Sleep(12 * time.Hour)
		f.afterReading(t).Check(t, "the next day", all)
	})
}
