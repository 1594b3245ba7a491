package collector_test

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"factory_exporter/collector"
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
		BillableTokens: 700, InputTokens: 400, OutputTokens: 100, CacheRead: 900, CacheWrite: 50}
	var s settings
	var workers []fakeapi.Worker
	add := func(id, created string, on func(time.Time) (fakeapi.Work, bool)) {
		s.members = append(s.members, fakeapi.Member{ID: id, Email: id + "@acme.example", CreatedAt: created})
		if on != nil {
			workers = append(workers, fakeapi.Worker{ID: id, Email: id + "@acme.example", On: on})
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
	workers = append(workers, fakeapi.Worker{ID: "left", On: fakeapi.OnDays(work, "2026-05-30")})
	s.analytics = fakeapi.NewAnalytics(workers...)
	s.collector.Census = windows("1d", "7d", "30d", "90d", "36h", "200d")
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

func TestUsedAndUnusedWhateverTheReferenceLeavesOpen(t *testing.T) {
	asItIs := map[string][2]float64{"1d": {2, 6}, "7d": {3, 4}, "30d": {4, 3}, "90d": {5, 2}}
	for _, tt := range []struct {
		name     string
		unknowns fakeapi.Unknowns
		day      string
		want     map[string][2]float64 // used and unused
	}{
		{"as it is", fakeapi.Unknowns{}, "2026-05-30", asItIs},
		{"idle days have rows", fakeapi.Unknowns{IdleDays: true}, "2026-05-30", asItIs},
		{"the last cursor is null", fakeapi.Unknowns{LastCursor: `null`}, "2026-05-30", asItIs},
		{"the last cursor is empty", fakeapi.Unknowns{LastCursor: `""`}, "2026-05-30", asItIs},
		{"long ranges are refused", fakeapi.Unknowns{MaxDays: 7}, "2026-05-30", asItIs},
		{"yesterday is late", fakeapi.Unknowns{Late: true}, "2026-05-29",
			map[string][2]float64{"1d": {1, 6}, "7d": {2, 4}, "30d": {3, 3}, "90d": {4, 2}}},
		{"days are missing", fakeapi.Unknowns{Without: []string{"2026-05-05", "2026-05-26"}}, "2026-05-30",
			map[string][2]float64{"1d": {2, 6}, "7d": {2, 5}, "30d": {2, 5}, "90d": {3, 4}}},
		// Nothing is claimed of who has a row of zeros and of nulls.
		{"sessions are null", fakeapi.Unknowns{Null: []string{"sessions"}}, "2026-05-30",
			map[string][2]float64{"1d": {2, 5}, "7d": {3, 3}, "30d": {4, 2}, "90d": {5, 1}}},
		{"all that tells of use is null", fakeapi.Unknowns{Null: []string{"sessions", "messages", "tool_calls"}}, "2026-05-30",
			map[string][2]float64{"1d": {0, 5}, "7d": {0, 3}, "30d": {0, 2}, "90d": {0, 1}}},
	} {
		for form := fakeapi.RowPerUser; form <= fakeapi.UserWithRowPerDay; form++ {
			t.Run(fmt.Sprintf("%s, form %d", tt.name, form), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sleepUntil(may31)
					s := working()
					tt.unknowns.Rows = form
					s.analytics.Choose(tt.unknowns)
					f := newFixture(t, s)
					got := f.afterReading(t)
					want := samples{
						"factory_usage_up":                    1,
						"factory_users":                       10,
						"factory_usage_day_timestamp_seconds": float64(parseDay(tt.day).Start().Unix()),
						usedOf("36h"):                         absent,
						unusedOf("36h"):                       absent,
						usedOf("200d"):                        absent,
						unusedOf("200d"):                      absent,
					}
					for window, counts := range tt.want {
						want[usedOf(window)], want[unusedOf(window)] = counts[0], counts[1]
					}
					got.Check(t, "after the reading", want)
				})
			})
		}
	}
}

func TestUsedByAttribute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		s := working()
		for i := range s.members {
			s.members[i].Metadata = map[string]string{"half": fmt.Sprint(i % 2), "all": "same"}
		}
		s.collector.Census.GroupBy = harness.Attributes(t, "metadata.half", "metadata.all")
		s.collector.Census.GroupLimit = 1
		newFixture(t, s).afterReading(t).Check(t, "after the reading", samples{
			`factory_users_used_by_attribute{attribute="metadata.half",value="0",window="7d"}`:         1, // every
			`factory_users_used_by_attribute{attribute="metadata.half",value="(other)",window="7d"}`:   2, // week, young-worker
			`factory_users_unused_by_attribute{attribute="metadata.half",value="0",window="7d"}`:       2, // month, never
			`factory_users_unused_by_attribute{attribute="metadata.half",value="(other)",window="7d"}`: 2, // quarter, zero
			`factory_users_used_by_attribute{attribute="metadata.all",value="same",window="7d"}`:       3,
			`factory_users_unused_by_attribute{attribute="metadata.all",value="same",window="7d"}`:     4,
			`factory_users_used_by_attribute{attribute="metadata.all",value="same",window="36h"}`:      absent,
		})
	})
}

// A member who works and never signs in is idle and used.
func TestUsageIsNotSigningIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		s := working()
		s.members = s.members[:1] // every, who never signed in
		newFixture(t, s).afterReading(t).Check(t, "after the reading", samples{
			`factory_users_idle{window="7d"}`: 1, usedOf("7d"): 1, unusedOf("7d"): 0, "factory_users_never_signed_in": 1,
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
		lint(t, f.Collector)

		described, collected := map[string]bool{}, map[string]bool{}
		descs := make(chan *prometheus.Desc)
		go func() { f.Describe(descs); close(descs) }()
		for d := range descs {
			described[d.String()] = strings.Contains(d.String(), "_usage_") || strings.Contains(d.String(), "used")
		}
		metrics := make(chan prometheus.Metric)
		go func() { f.Collect(metrics); close(metrics) }()
		for m := range metrics {
			collected[m.Desc().String()] = true
			if _, ok := described[m.Desc().String()]; !ok {
				t.Errorf("collected, not described: %s", m.Desc())
			}
		}
		for d, isUsage := range described {
			if isUsage && !collected[d] {
				t.Errorf("described, not collected: %s", d)
			}
		}
	})
}

func TestWithoutAnalyticsThereIsNoUsage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		s := working()
		s.analytics = nil
		f := newFixture(t, s)
		f.Scrape(t.Context())
		synctest.Wait()
		text := exposition(t, f.Scrape(t.Context()))
		if strings.Contains(text, "usage") || strings.Contains(text, "used") {
			t.Errorf("usage is exposed:\n%s", text)
		}
		if n := f.api.Stats().Requests; n != 10 {
			t.Errorf("%d requests, want those of two listings", n)
		}
	})
}

// A number that the analytics do not tell has no series, and is not taken for zero.
func TestNumbersThatAreNullAreAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		s := working()
		s.analytics.Choose(fakeapi.Unknowns{Null: []string{"weekly_active_users", "messages", "billable_tokens", "cache_read_tokens"}})
		newFixture(t, s).afterReading(t).Check(t, "after the reading", samples{
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

// Whatever the analytics do, the members are counted as if nobody asked for them, at the
// same time, and the log says so once.
func TestFailingAnalyticsDoNotTouchTheMembers(t *testing.T) {
	type outcome struct {
		name  string
		serve fakeapi.Behavior
		about []string // in the line of the log
	}
	needed := []string{"Enterprise plan", "Manager or Owner"}
	for _, tt := range []outcome{
		{"refused for the plan", fakeapi.Refuse(403, "enterprise_required"), append(needed, "enterprise_required")},
		{"refused for the role", fakeapi.Refuse(403, "insufficient_role"), append(needed, "insufficient_role")},
		{"not enabled", fakeapi.Refuse(403, "Analytics are not enabled for this organization"), append(needed, "not enabled")},
		{"another key is needed", fakeapi.Status(401), []string{"401"}},
		{"failing", fakeapi.Status(500), []string{"500"}},
		{"rate limited", fakeapi.Status(429, "Retry-After", "7"), []string{"429"}},
		{"rate limited for a day", fakeapi.Status(429, "Retry-After", "86400"), []string{"429"}},
		{"hanging", fakeapi.Hang(), []string{"timeout"}},
		{"hanging in a body", fakeapi.HangInBody(), []string{"timeout"}},
		{"slow", fakeapi.Trickle(time.Second), []string{"timeout"}},
		{"cut", fakeapi.CutTransfer(), []string{"connection"}},
		{"reset", fakeapi.Reset(), []string{"connection"}},
		{"HTML", fakeapi.Respond(200, "text/html", "<p>Sign in"), []string{"not JSON"}},
		{"redirected", fakeapi.Redirect("https://elsewhere.example/"), []string{"302"}},
		{"endless", fakeapi.Endless(), []string{"larger than"}},
		{"without data", fakeapi.Edit(func(page map[string]any) { delete(page, "data") }), []string{`array \"data\"`}},
		{"for other days", fakeapi.Replace("2026-05-30", "2026-05-28"), []string{"but"}},
		{"with other names", fakeapi.Replace(`"date"`, `"day"`), []string{`no \"date\"`}},
		{"with text for numbers", fakeapi.Replace(`_tokens":`, `_tokens":"x","y":`), []string{"not a number"}},
	} {
		for _, endpoint := range []string{"", "activity", "tokens", "users"} {
			if endpoint != "" && !strings.Contains("refused for the role hanging cut", tt.name) {
				continue
			}
			t.Run(strings.TrimSpace(tt.name+" "+endpoint), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sleepUntil(may31)
					log := &recorder{}
					s := working()
					s.collector.Logger = log.logger()
					s.client.RequestTimeout, s.client.MaxRetries = 10*time.Second, 1
					f := newFixture(t, s)
					f.api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath + endpoint, Serve: tt.serve})
					plain := settings{members: s.members, client: s.client, collector: s.collector}
					plain.collector.Analytics, plain.collector.Logger = nil, nil
					want := newFixture(t, plain).scrape(t, t.Context())

					for range 3 * 12 {
						start := time.Now()
						got := f.scrape(t, t.Context())
						if took := time.Since(start); took > 0 {
							t.Fatalf("the scrape took %s", took)
						}
						for series, value := range want {
							if strings.HasPrefix(series, "factory_users") && got[series] != value {
								t.Fatalf("%s is %v, want %v", series, got[series], value)
							}
						}
						got.Check(t, "while the analytics fail", samples{
							"factory_up": 1, "factory_usage_up": 0, "factory_usage_sessions": absent, usedOf("7d"): absent, unusedOf("7d"): absent,
							`factory_api_errors_total{status="403"}`: 0,
						})
						time.Sleep(5 * time.Minute)
					}
					lines := log.told()
					if len(lines) != 1 || !strings.HasPrefix(lines[0], "ERROR ") {
						t.Fatalf("logs %q, want one error", lines)
					}
					for _, about := range tt.about {
						if !strings.Contains(lines[0], strings.ReplaceAll(about, `\"`, `"`)) && !strings.Contains(lines[0], about) {
							t.Errorf("logs %q, want something about %q", lines[0], about)
						}
					}
					f.api.ClearFaults()
					time.Sleep(25 * time.Hour)
					f.afterReading(t).Check(t, "later", samples{"factory_usage_up": 1})
					if lines := log.told(); len(lines) != 2 || !strings.HasPrefix(lines[1], "INFO ") {
						t.Errorf("logs %q, want that it works again", lines)
					}
				})
			})
		}
	}
}

// readingTimes scrapes every ten minutes and returns when requests for activity arrived.
func readingTimes(t *testing.T, s settings, change func(f *fixture, at time.Duration), length time.Duration) (times []time.Duration, last samples) {
	t.Helper()
	f := newFixture(t, s)
	start := time.Now()
	asked := 0.0
	for at := time.Duration(0); at < length; at = time.Since(start) {
		if change != nil {
			change(f, at)
		}
		f.scrape(t, t.Context())
		synctest.Wait()
		last = f.scrape(t, t.Context())
		if n := last["factory_usage_api_requests_total"]; n > asked {
			times = append(times, at)
			asked = n
		}
		time.Sleep(10 * time.Minute)
	}
	return times, last
}

func TestWhenTheAnalyticsAreRead(t *testing.T) {
	days := func(n int) (days []time.Duration) {
		days = []time.Duration{0}
		for i := range n {
			days = append(days, 12*time.Hour+time.Duration(i)*24*time.Hour)
		}
		return days
	}
	hours := func(from, n int) (hours []time.Duration) {
		for i := range n {
			hours = append(hours, time.Duration(from+i)*time.Hour)
		}
		return hours
	}
	fails := func(from, to time.Duration, serve fakeapi.Behavior) func(*fixture, time.Duration) {
		return func(f *fixture, at time.Duration) {
			switch at {
			case from:
				f.api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath, Serve: serve})
			case to:
				f.api.ClearFaults()
			}
		}
	}
	for _, tt := range []struct {
		name   string
		change func(*fixture, time.Duration)
		length time.Duration
		want   []time.Duration // after noon of May 31
	}{
		{"once a day, when it ends", nil, 72 * time.Hour, days(3)},
		{"an hour after a failure", fails(0, 150*time.Minute, fakeapi.Status(500)), 8 * time.Hour, hours(0, 4)},
		{"when Retry-After says so", fails(0, 30*time.Minute, fakeapi.Status(429, "Retry-After", "18000")), 8 * time.Hour, []time.Duration{0, 5 * time.Hour}},
		{"in an hour, if Retry-After is shorter", fails(0, 30*time.Minute, fakeapi.Status(429, "Retry-After", "60")), 3 * time.Hour, []time.Duration{0, time.Hour}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sleepUntil(may31)
				s := working()
				s.analytics.Choose(fakeapi.Unknowns{IdleDays: true})
				got, last := readingTimes(t, s, tt.change, tt.length)
				if !slices.Equal(got, tt.want) {
					t.Errorf("read at %v, want %v", got, tt.want)
				}
				last.Check(t, "at the end", samples{"factory_usage_up": 1})
			})
		})
	}
}

// While yesterday's row is late, the exporter looks for it every hour, and asks for the
// users only when it is there.
func TestLateDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		s := working()
		s.client.PageSize = 100
		s.analytics.Choose(fakeapi.Unknowns{IdleDays: true, Late: true})
		perReading := 0.0
		times, last := readingTimes(t, s, func(f *fixture, at time.Duration) {
			switch at {
			case 30 * time.Minute:
				perReading = f.scrape(t, t.Context())["factory_usage_api_requests_total"]
			case 150 * time.Minute:
				s.analytics.Choose(fakeapi.Unknowns{IdleDays: true})
			}
		}, 6*time.Hour)
		if want := []time.Duration{0, time.Hour, 2 * time.Hour, 3 * time.Hour}; !slices.Equal(times, want) {
			t.Errorf("read at %v, want %v", times, want)
		}
		if perReading != 6 { // activity, tokens, and a page for each of four windows
			t.Errorf("%v requests for a whole reading, want 6", perReading)
		}
		last.Check(t, "at the end", samples{
			"factory_usage_api_requests_total":    6 + 2 + 2 + 6,
			"factory_usage_day_timestamp_seconds": float64(parseDay("2026-05-30").Start().Unix()),
		})
	})
}

func TestHowLongAReadingIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		f := newFixture(t, working())
		f.afterReading(t).Check(t, "May 31", samples{"factory_usage_up": 1, usedOf("1d"): 2, "factory_usage_sessions": 6})
		f.api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath, Serve: fakeapi.Status(500)})
		sleepUntil(time.Date(2026, 6, 2, 23, 59, 0, 0, time.UTC))
		f.afterReading(t).Check(t, "June 2", samples{"factory_usage_up": 0, usedOf("1d"): 2, "factory_usage_sessions": 6})
		sleepUntil(time.Date(2026, 6, 3, 0, 0, 0, 0, time.UTC))
		f.afterReading(t).Check(t, "June 3", samples{
			"factory_usage_up": 0, usedOf("1d"): absent, unusedOf("1d"): absent, "factory_usage_sessions": absent, "factory_usage_day_timestamp_seconds": absent,
			"factory_up": 1, "factory_users": 10,
		})
	})
}

func TestNoDayThatIsInBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(time.Date(2026, 6, 20, 12, 0, 0, 0, time.UTC)) // nobody worked for weeks
		log := &recorder{}
		s := working()
		s.collector.Logger = log.logger()
		newFixture(t, s).afterReading(t).Check(t, "without a row", samples{"factory_usage_up": 0, "factory_usage_sessions": absent})
		if lines := log.told(); len(lines) != 1 || !strings.Contains(lines[0], "2026-06-13 to 2026-06-19") {
			t.Errorf("logs %q", lines)
		}
	})
}

func TestBeforeTheAnalyticsBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(time.Date(2026, 1, 14, 12, 0, 0, 0, time.UTC))
		f := newFixture(t, working())
		f.afterReading(t).Check(t, "on the first day", samples{"factory_usage_up": 0, "factory_usage_api_requests_total": 0, "factory_up": 1})
	})
}

// The range of the first days begins where the analytics begin, and a window that would
// begin before has no numbers.
func TestFirstDaysOfTheAnalytics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC))
		s := working()
		s.analytics.Choose(fakeapi.Unknowns{IdleDays: true})
		newFixture(t, s).afterReading(t).Check(t, "a week later", samples{
			"factory_usage_up": 1, usedOf("1d"): 0, usedOf("7d"): 0, usedOf("30d"): absent, usedOf("90d"): absent,
			`factory_usage_api_errors_total{status="400"}`: absent,
		})
	})
}

func TestReadingGoesOnWithoutAScrapeAndEndsWithTheCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		s := working()
		f := newFixture(t, s)
		f.api.SetLatency(time.Second)
		f.scrapeWithin(t, 10*time.Millisecond).Check(t, "at once", samples{"factory_usage_up": 0})
		time.Sleep(time.Minute)
		f.scrapeWithin(t, 10*time.Millisecond).Check(t, "later", samples{"factory_usage_up": 1, "factory_usage_sessions": 6})

		f.api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath, Serve: fakeapi.Hang()})
		sleepUntil(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))
		f.scrape(t, t.Context())
		start := time.Now()
		f.Close()
		if took := time.Since(start); took > 0 {
			t.Errorf("Close took %s", took)
		}
		f.scrape(t, t.Context()).Check(t, "after Close", samples{"factory_usage_up": 1, "factory_usage_sessions": 6})
	})
}

func TestNeverMoreThanOneReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		f := newFixture(t, working())
		f.api.SetLatency(time.Second)
		for range 60 {
			f.scrapeWithin(t, 100*time.Millisecond)
			time.Sleep(100 * time.Millisecond)
		}
		if n := f.api.Stats().MaxConcurrent; n != 2 { // a listing's and a reading's
			t.Errorf("%d requests at once, want 2", n)
		}
	})
}

func TestKeyOfAnAnalyticsErrorIsNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		log := &recorder{}
		s := working()
		s.collector.Logger = log.logger()
		f := newFixture(t, s)
		f.api.Inject(fakeapi.Fault{Path: fakeapi.AnalyticsPath, Serve: fakeapi.Respond(http.StatusForbidden, "text/html", "<p>Bearer "+key+"</p>")})
		f.afterReading(t)
		if lines := strings.Join(log.all(), "\n"); strings.Contains(lines, key) || !strings.Contains(lines, "redacted") {
			t.Errorf("logs %s", lines)
		}
	})
}

// A month of scrapes leaves no more behind than two days.
func TestUsageDoesNotGrowInAMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		const members, extra = 100, 3
		s := settings{members: fakeapi.Generate(members, 1, may31), collector: collector.Config{Census: windows("1d", "7d", "30d", "90d")}}
		var workers []fakeapi.Worker
		for i := range members * extra { // most of them no members any more
			id := fmt.Sprint("left-", i)
			if i < members {
				id = s.members[i].ID
			}
			workers = append(workers, fakeapi.Worker{ID: id, On: func(d time.Time) (fakeapi.Work, bool) {
				return fakeapi.Work{Sessions: 1}, (d.YearDay()+i)%5 != 0
			}})
		}
		s.analytics = fakeapi.NewAnalytics(workers...)
		f := newFixture(t, s)
		live := func() int64 {
			runtime.GC()
			runtime.GC()
			var stats runtime.MemStats
			runtime.ReadMemStats(&stats)
			return int64(stats.HeapAlloc)
		}
		var early int64
		for day := range 31 {
			for range 24 {
				f.scrape(t, t.Context())
				synctest.Wait()
				time.Sleep(time.Hour)
			}
			if day == 1 {
				early = live()
			}
		}
		f.scrape(t, t.Context()).Check(t, "a month later", samples{"factory_usage_up": 1, usedOf("7d"): members})
		if grown := live() - early; grown > 512<<10 {
			t.Errorf("%d KiB more after a month than after two days", grown>>10)
		}
	})
}

func parseDay(text string) factoryapi.Day {
	start, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err) // it stands in a test
	}
	return factoryapi.DayOf(start)
}
