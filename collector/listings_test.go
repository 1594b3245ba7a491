package collector_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"factory_exporter/collector"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

func TestScrapesAtOnceMakeOneListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, settings{members: members("a", "b", "c", "d", "e"), client: factoryapi.Config{PageSize: 2}})
		f.api.SetLatency(time.Second)
		var scrapes sync.WaitGroup
		for range 30 {
			scrapes.Go(func() {
				f.scrape(t, t.Context()).Check(t, "scrape", samples{"factory_up": 1, "factory_users": 5, "factory_api_requests_total": 3, "factory_listing_in_progress": 0})
			})
		}
		scrapes.Wait()
		if got := f.api.Stats(); got.Requests != 3 || got.MaxConcurrent != 1 {
			t.Errorf("%d requests, up to %d at once; want 3, one at a time", got.Requests, got.MaxConcurrent)
		}
	})
}

func TestScrapeWaitsForTheWholeListingWithoutADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, settings{members: members("a", "b", "c"), client: factoryapi.Config{PageSize: 1}})
		f.api.SetLatency(20 * time.Second)
		for name, scrape := range map[string]func() samples{
			"Scrape":  func() samples { return f.scrape(t, context.Background()) },
			"Collect": func() samples { return read(t, f.Collector, f.requests) },
		} {
			start := time.Now()
			scrape().Check(t, name, samples{"factory_users": 3, "factory_listing_duration_seconds": 60, "factory_listing_in_progress": 0})
			if took := time.Since(start); took != time.Minute {
				t.Errorf("%s took %s", name, took)
			}
		}
	})
}

func TestScrapeThatGivesUpDoesNotStopTheListing(t *testing.T) {
	for _, after := range []time.Duration{0, 15 * time.Second} { // at once, and on the second page
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, settings{
					members:   members("a", "b", "c"),
					client:    factoryapi.Config{PageSize: 1},
					collector: collector.Config{Schedule: collector.Schedule{CacheTTL: time.Hour}},
				})
				f.api.SetLatency(10 * time.Second)
				start := time.Now()
				f.scrapeWithin(t, after).Check(t, "gave up", samples{"factory_up": 0, "factory_users": absent, "factory_listing_in_progress": 1})
				if took := time.Since(start); took != after {
					t.Errorf("the scrape that gave up answered after %s, want %s", took, after)
				}
				time.Sleep(time.Minute)
				f.scrape(t, t.Context()).Check(t, "a minute later", samples{
					"factory_up": 1, "factory_users": 3, "factory_listing_in_progress": 0, "factory_listing_duration_seconds": 30,
					"factory_api_requests_total": 3,
				})
			})
		})
	}
}

func TestWithoutScrapesThereAreNoRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, settings{members: members("a"), collector: collector.Config{Schedule: collector.Schedule{CacheTTL: time.Minute, MaxStale: time.Minute}}})
		for _, want := range []int{0, 1, 2} {
			time.Sleep(48 * time.Hour)
			if got := f.api.Stats().Requests; got != want {
				t.Errorf("%d requests, want %d", got, want)
			}
			f.scrape(t, t.Context())
		}
	})
}

func TestCacheTTL(t *testing.T) {
	const ttl = time.Minute
	for _, tt := range []struct {
		name     string
		ttl, age time.Duration // age is counted from the end of the listing
		again    bool
	}{
		{"a nanosecond younger", ttl, ttl - 1, false},
		{"exactly that old", ttl, ttl, true},
		{"no cache", 0, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, settings{members: members("a"), collector: collector.Config{Schedule: collector.Schedule{CacheTTL: tt.ttl}}})
				f.api.SetLatency(10 * time.Second)
				f.scrape(t, t.Context())
				f.org.Add(members("b")...)
				time.Sleep(tt.age)
				start := time.Now()
				want, wait := samples{"factory_users": 1, "factory_api_requests_total": 1}, time.Duration(0)
				if tt.again {
					want, wait = samples{"factory_users": 2, "factory_api_requests_total": 2}, 10*time.Second
				}
				want["factory_up"], want["factory_listing_in_progress"] = 1, 0
				f.scrape(t, t.Context()).Check(t, "second scrape", want)
				if took := time.Since(start); took != wait {
					t.Errorf("took %s, want %s", took, wait)
				}
			})
		})
	}
}

func TestHowOldAListingMayBe(t *testing.T) {
	for _, tt := range []struct {
		cacheTTL, maxStale, limit time.Duration
	}{
		{0, 5 * time.Minute, 5 * time.Minute},
		{10 * time.Minute, 5 * time.Minute, 10 * time.Minute},
	} {
		schedule := collector.Schedule{CacheTTL: tt.cacheTTL, MaxStale: tt.maxStale, ListingTimeout: 24 * time.Hour}
		name := fmt.Sprintf("cache-ttl %s, max-stale %s", tt.cacheTTL, tt.maxStale)
		t.Run(name+", the newer one fails", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, settings{members: members("a"), collector: collector.Config{Schedule: schedule}})
				f.api.SetLatency(20 * time.Second) // the age counts from the listing's end
				f.scrape(t, t.Context()).Check(t, "just listed", samples{"factory_up": 1, "factory_users": 1})
				f.api.SetLatency(0)
				f.api.Inject(fakeapi.Fault{Serve: fakeapi.Status(http.StatusForbidden)})
				time.Sleep(tt.limit)
				f.scrape(t, t.Context()).Check(t, "exactly that old", samples{"factory_up": 0, "factory_users": 1, "factory_listing_in_progress": 0})
				time.Sleep(time.Nanosecond)
				f.scrape(t, t.Context()).Check(t, "a nanosecond older", samples{"factory_up": 0, "factory_users": absent, "factory_listing_timestamp_seconds": absent})
			})
		})
		t.Run(name+", the newer one is not ready", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, settings{
					members:   members("a"),
					client:    factoryapi.Config{RequestTimeout: 24 * time.Hour},
					collector: collector.Config{Schedule: schedule},
				})
				f.api.SetLatency(20 * time.Second)
				f.scrape(t, t.Context()).Check(t, "just listed", samples{"factory_up": 1, "factory_users": 1})
				f.api.SetLatency(time.Hour)
				time.Sleep(tt.limit)
				f.scrapeWithin(t, 0).Check(t, "exactly that old", samples{"factory_up": 1, "factory_users": 1, "factory_listing_in_progress": 1})
				f.scrapeWithin(t, 1).Check(t, "a nanosecond older", samples{"factory_up": 1, "factory_users": absent, "factory_listing_in_progress": 1})
			})
		})
	}
}

func TestWithoutMaxStaleAScrapeShowsOnlyWhatItWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, settings{members: members("a")})
		f.api.SetLatency(10 * time.Second)
		f.scrape(t, t.Context()).Check(t, "waited for the first listing", samples{"factory_up": 1, "factory_users": 1})
		f.scrapeWithin(t, 0).Check(t, "gave up at once", samples{"factory_up": 1, "factory_users": absent, "factory_listing_in_progress": 1})
		f.scrapeWithin(t, 9*time.Second).Check(t, "gave up too early", samples{"factory_up": 1, "factory_users": absent, "factory_listing_in_progress": 1})
		f.scrapeWithin(t, 2*time.Second).Check(t, "joined the same listing and saw its end", samples{"factory_up": 1, "factory_users": 1, "factory_listing_in_progress": 0, "factory_api_requests_total": 2})
		f.api.Inject(fakeapi.Fault{Serve: fakeapi.Status(http.StatusInternalServerError)})
		f.scrape(t, t.Context()).Check(t, "waited for one that failed", samples{"factory_up": 0, "factory_users": absent, "factory_listing_in_progress": 0})
	})
}

// How a page can fail is told in factoryapi/faults_test.go.
func TestListingIsCompleteOrNothing(t *testing.T) {
	for _, page := range []int{1, 2, fakeapi.LastPage} {
		t.Run(fmt.Sprint("failure on page ", page), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, settings{
					members:   members("a", "b", "c", "d", "e"),
					client:    factoryapi.Config{PageSize: 2},
					collector: collector.Config{Schedule: collector.Schedule{CacheTTL: time.Minute, MaxStale: 5 * time.Minute}},
				})
				fault := fakeapi.Fault{Page: page, Times: 1, Serve: fakeapi.CutJSON()}
				f.api.Inject(fault)
				f.scrape(t, t.Context()).Check(t, "failed at first", samples{
					"factory_up": 0, "factory_users": absent, "factory_listing_timestamp_seconds": absent, "factory_listing_pages": absent,
				})
				// A failure is not cached.
				f.scrape(t, t.Context()).Check(t, "recovered", samples{"factory_up": 1, "factory_users": 5, "factory_listing_pages": 3})
				listed := float64(time.Now().Unix())

				f.org.Add(members("f", "g")...)
				fault.Times = 0
				f.api.Inject(fault)
				time.Sleep(time.Minute)
				f.scrape(t, t.Context()).Check(t, "failed again", samples{
					"factory_up": 0, "factory_users": 5, "factory_listing_timestamp_seconds": listed, "factory_listing_pages": 3,
				})
				f.api.ClearFaults()
				f.scrape(t, t.Context()).Check(t, "recovered again", samples{"factory_up": 1, "factory_users": 7, "factory_listing_pages": 4})
			})
		})
	}
}

// Each page is in time, and all of them are not.
func TestListingTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, settings{
			members:   members("a", "b", "c"),
			client:    factoryapi.Config{PageSize: 1},
			collector: collector.Config{Schedule: collector.Schedule{ListingTimeout: 10 * time.Second}},
		})
		f.api.SetLatency(4 * time.Second)
		start := time.Now()
		f.scrape(t, t.Context()).Check(t, "too slow", samples{"factory_up": 0, "factory_users": absent, "factory_listing_in_progress": 0})
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("took %s", took)
		}
		f.api.SetLatency(3 * time.Second)
		f.scrape(t, t.Context()).Check(t, "in time", samples{"factory_up": 1, "factory_users": 3})
	})
}

func TestNowIsTheStartOfTheListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339Nano) }
		f := newFixture(t, settings{
			members: []fakeapi.User{
				{ID: "a", CreatedAt: at(day), LastSignInAt: at(day)},
				{ID: "b", CreatedAt: at(day), LastSignInAt: at(day)}, // met long after the start
			},
			client:    factoryapi.Config{PageSize: 1},
			collector: collector.Config{Census: windows("1d")},
		})
		f.api.SetLatency(20 * time.Second)
		f.scrape(t, t.Context()).Check(t, "slow listing", samples{
			`factory_users_active{window="1d"}`: 2, `factory_users_new{window="1d"}`: 2, `factory_users_idle{window="1d"}`: 0,
			"factory_users_last_sign_in_age_seconds_sum": 2 * 86400, "factory_listing_duration_seconds": 40,
		})
	})
}

func TestClose(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(*testing.T, *fixture) // what happens before a listing gets stuck
		up     float64
		users  float64
	}{
		{"in the first listing", func(*testing.T, *fixture) {}, 0, absent},
		{"after a complete listing", func(t *testing.T, f *fixture) { f.scrape(t, t.Context()) }, 1, 2},
		{"after a failed listing", func(t *testing.T, f *fixture) {
			f.api.Inject(fakeapi.Fault{Times: 1, Serve: fakeapi.Status(http.StatusUnauthorized)})
			f.scrape(t, t.Context())
		}, 0, absent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := new(harness.Log)
				f := newFixture(t, settings{
					members:   members("a", "b"),
					client:    factoryapi.Config{PageSize: 1, RequestTimeout: time.Hour},
					collector: collector.Config{Schedule: collector.Schedule{MaxStale: time.Hour}, Logger: log.Logger()},
				})
				tt.before(t, f)
				log.Reset()
				f.api.Inject(fakeapi.Fault{Page: 2, Serve: fakeapi.Hang()})
				released := make(chan time.Time, 2)
				for range cap(released) {
					go func() {
						f.scrape(t, context.Background()).Check(t, "released", samples{"factory_up": tt.up, "factory_users": tt.users, "factory_listing_in_progress": 0})
						released <- time.Now()
					}()
				}
				time.Sleep(time.Second)
				closed := time.Now()
				f.Close()
				for range cap(released) {
					if at := <-released; !at.Equal(closed) {
						t.Errorf("a scrape was released %s after Close", at.Sub(closed))
					}
				}

				requests := f.api.Stats().Requests
				f.scrape(t, context.Background()).Check(t, "after Close", samples{"factory_up": tt.up, "factory_users": tt.users, "factory_listing_in_progress": 0})
				f.Close()
				time.Sleep(time.Minute)
				f.scrape(t, context.Background())
				if took := time.Since(closed); took != time.Minute {
					t.Errorf("scrapes after Close waited: %s", took-time.Minute)
				}
				if got := f.api.Stats().Requests; got != requests {
					t.Errorf("%d requests after Close", got-requests)
				}
				log.Check(t)
			})
		})
	}
}

func TestCloseWaitsForTheEndOfTheListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := collector.New(slowToStop(5*time.Second), collector.Config{Schedule: collector.Schedule{ListingTimeout: time.Hour}})
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		c.Scrape(gone)
		start := time.Now()
		c.Close()
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("Close took %s, the listing ended after 5s", took)
		}
		read(t, c.Scrape(gone)).Check(t, "after Close", samples{"factory_listing_in_progress": 0})
	})
}

// slowToStop is a lister that has no pages, and takes this long to notice that it was
// canceled.
type slowToStop time.Duration

func (d slowToStop) Pages(ctx context.Context) iter.Seq2[[]factoryapi.User, error] {
	return func(yield func([]factoryapi.User, error) bool) {
		<-ctx.Done()
		time.Sleep(time.Duration(d))
		yield(nil, ctx.Err())
	}
}

func TestAgeIsToldByTheClockThatWentFurther(t *testing.T) {
	then := time.Now()
	later := then.Add(time.Minute)
	for _, tt := range []struct {
		name string
		now  time.Time
		want time.Duration
	}{
		{"both clocks go on", later, time.Minute},
		{"the machine was suspended for eight hours", withWall(later, 8*time.Hour), 8*time.Hour + time.Minute},
		{"the wall clock was set back", withWall(later, -8*time.Hour), time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := collector.Age(then, tt.now); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// withWall moves the wall clock of t by whole seconds and leaves its monotonic clock
// alone, for which package time has no function. A time with a monotonic clock keeps its
// seconds above 30 bits of nanoseconds.
func withWall(t time.Time, by time.Duration) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(by/time.Second) << 30
	return t
}

func TestJoinedAndLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, settings{members: members("a", "b", "c", "d", "e"), client: factoryapi.Config{PageSize: 2}})
		failOnLastPage := fakeapi.Fault{Page: fakeapi.LastPage, Times: 1, Serve: fakeapi.Status(http.StatusInternalServerError)}
		for _, step := range []struct {
			name         string
			change       func()
			joined, left float64 // in all
			up           float64
		}{
			{"a failure before the first listing", func() { f.api.Inject(failOnLastPage) }, 0, 0, 0},
			{"the first listing moves neither", func() {}, 0, 0, 1},
			{"nothing happens", func() {}, 0, 0, 1},
			{"two join", func() { f.org.Add(members("f", "g")...) }, 2, 0, 1},
			{"one leaves", func() { f.org.Remove("a") }, 2, 1, 1},
			{"one for another, whose id differs by case", func() { f.org.Remove("b"); f.org.Add(members("B")...) }, 3, 2, 1},
			{"a failed listing changes nothing", func() {
				f.org.Remove("c")
				f.org.Add(members("i", "j")...)
				f.api.Inject(failOnLastPage)
			}, 3, 2, 0},
			{"what it missed counts with the next one", func() {}, 5, 3, 1},
			{"who was away during a failed listing only never left", func() {
				f.org.Remove("d")
				f.api.Inject(failOnLastPage)
				f.scrape(t, t.Context())
				f.org.Add(members("d")...)
			}, 5, 3, 1},
			{"somebody leaves", func() { f.org.Remove("d") }, 5, 4, 1},
			{"and comes back", func() { f.org.Add(members("d")...) }, 6, 4, 1},
			{"an entry that is listed twice is nobody new", func() { f.org.Add(members("d")...) }, 6, 4, 1},
			{"while a listing has duplicates it tells nothing", func() { f.org.Remove("f"); f.org.Add(members("k")...) }, 6, 4, 1},
			{"the next one without counts from the last one without", func() { f.org.Remove("d"); f.org.Add(members("d", "l")...) }, 8, 5, 1},
			{"all leave", func() {
				for _, m := range f.org.Users() {
					f.org.Remove(m.ID)
				}
			}, 8, 13, 1},
		} {
			step.change()
			f.scrape(t, t.Context()).Check(t, step.name, samples{
				"factory_users_joined_total": step.joined, "factory_users_left_total": step.left, "factory_up": step.up,
			})
		}
	})
}
