package collector_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/collector"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

// readingTimes scrapes every half an hour and returns when requests for activity arrived.
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
		time.Sleep(30 * time.Minute)
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
		{"after a day, if Retry-After is longer", fails(0, 30*time.Minute, fakeapi.Status(429, "Retry-After", "200000")), 26 * time.Hour, []time.Duration{0, 24 * time.Hour}},
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
		const totals, first = 4, 90 + 84 // the users of each day, and the activity of those before a week
		times, last := readingTimes(t, s, func(f *fixture, at time.Duration) {
			if at == 150*time.Minute {
				s.analytics.Choose(fakeapi.Unknowns{IdleDays: true})
			}
		}, 6*time.Hour)
		if want := []time.Duration{0, time.Hour, 2 * time.Hour, 3 * time.Hour}; !slices.Equal(times, want) {
			t.Errorf("read at %v, want %v", times, want)
		}
		last.Check(t, "at the end", samples{
			"factory_usage_api_requests_total":    totals + first + 2*totals + totals + 1,
			"factory_usage_day_timestamp_seconds": startOf("2026-05-30"),
		})
	})
}

// Where no id matches, all days are read again once a day, as the ids may be others by
// then.
func TestIdsThatNeverMatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		s := working()
		f := newFixture(t, s)
		f.api.Inject(at("users", row(func(row map[string]any) { row["user_id"] = "left-" + row["user_id"].(string) })))
		s.analytics.Choose(fakeapi.Unknowns{Late: true, IdleDays: true})
		whole := 0 // readings of all days
		last := 0.0
		for range 3 * 24 {
			n := f.afterReading(t)["factory_usage_api_requests_total"]
			if n-last > 90 {
				whole++
			}
			last = n
			time.Sleep(time.Hour)
		}
		if whole != 4 {
			t.Errorf("all days were read %d times from noon of May 31 to noon of June 3, want 4", whole)
		}
	})
}

// A reading that midnight interrupts has brought the newest day of its time. The one of
// the new day begins at once.
func TestReadingAcrossMidnight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(time.Date(2026, 5, 31, 23, 59, 0, 0, time.UTC))
		s := working()
		s.analytics.Choose(fakeapi.Unknowns{IdleDays: true})
		f := newFixture(t, s)
		f.api.SetLatency(time.Second)
		f.scrape(t, t.Context())
		time.Sleep(10 * time.Minute)
		f.scrapeWithin(t, 10*time.Millisecond).Check(t, "after midnight", samples{"factory_usage_up": 1, "factory_usage_known_days": 90, "factory_usage_day_timestamp_seconds": startOf("2026-05-30")})
		time.Sleep(time.Minute)
		f.scrape(t, t.Context()).Check(t, "a minute later", samples{"factory_usage_up": 1, "factory_usage_known_days": 90, "factory_usage_day_timestamp_seconds": startOf("2026-05-31")})
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

func TestReadingGoesOnWithoutAScrapeAndEndsWithTheCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		s := working()
		f := newFixture(t, s)
		f.api.SetLatency(time.Second)
		f.scrapeWithin(t, 10*time.Millisecond).Check(t, "at once", samples{"factory_usage_up": 0})
		time.Sleep(10 * time.Minute)
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

// slowList lists so many members once a while has passed.
type slowList int

func (n slowList) Pages(context.Context) iter.Seq2[[]factoryapi.User, error] {
	return func(yield func([]factoryapi.User, error) bool) {
		time.Sleep(time.Hour)
		for i := range n {
			if !yield([]factoryapi.User{{ID: fmt.Sprint(i)}}, nil) {
				return
			}
		}
	}
}

// How many users there may be depends on the number of members, so a large reading waits
// for the first listing.
func TestReadingOfALargeOrganizationBeforeItsListing(t *testing.T) {
	for members, up := range map[slowList]float64{50_000: 1, 20_000: 0} {
		synctest.Test(t, func(t *testing.T) {
			sleepUntil(may31)
			c := collector.New(members, collector.Config{Census: windows("1d"), Analytics: harness.Use{Rows: 50_000, IDs: 50_000}})
			defer c.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			c.Scrape(ctx)
			synctest.Wait()
			read(t, c.Scrape(ctx)).Check(t, "during the listing", samples{"factory_up": 0, "factory_usage_up": 0})
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			ctx, cancel = context.WithTimeout(t.Context(), 0)
			defer cancel()
			read(t, c.Scrape(ctx)).Check(t, "after it", samples{"factory_usage_up": up})
		})
	}
}
