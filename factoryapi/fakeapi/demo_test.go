package fakeapi_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

func TestDemoLives(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				requests, refused := 0, map[string]int{}
				observe := func(string) func(error) {
					asked := time.Now()
					return func(err error) {
						requests++
						if took := time.Since(asked); took < 20*time.Millisecond || took > 60*time.Millisecond {
							t.Errorf("answered after %v", took)
						}
						if failure, ok := errors.AsType[*factoryapi.Error](err); ok {
							refused[failure.Reason()]++
							if wait := failure.RetryAfter; failure.StatusCode == http.StatusTooManyRequests && wait != time.Second {
								t.Errorf("429 with a Retry-After of %s", wait)
							}
						}
					}
				}
				demo := harness.Client(t, fakeapi.NewDemo(key, seed, begin), factoryapi.Config{MaxRetries: 3, Observe: observe})

				before := signIns(t, demo)
				after := before
				for time.Since(begin) < 10*time.Minute {
					time.Sleep(15 * time.Second)
					after = signIns(t, demo)
				}

				left, signedIn := 0, 0
				for id, was := range before {
					if last, ok := after[id]; !ok {
						left++
					} else if last != was {
						signedIn++
					}
				}
				if len(before) < 900 || len(before) > 1000 {
					t.Errorf("%d members at the start, want about 960", len(before))
				}
				if grown := len(after) - len(before); grown < 4 || grown > 40 {
					t.Errorf("grew by %d in ten minutes, want a few", grown)
				}
				if left < 1 || left > 15 || signedIn < 10 || signedIn > 100 {
					t.Errorf("in ten minutes %d left, want some, and %d signed in, want several a minute", left, signedIn)
				}
				if refused["429"] == 0 || refused["500"] == 0 || len(refused) != 2 {
					t.Errorf("refused %v, want some with 429 and some with 500", refused)
				}
				if share := float64(refused["429"]+refused["500"]) / float64(requests); share > 0.06 {
					t.Errorf("refused %.3f of the requests, want about 1 in 40", share)
				}
			})
		})
	}
}

func TestDemoStartsWithAPastAndStaysPlausible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		demo := harness.Client(t, fakeapi.NewDemo(key, 1, time.Now()), factoryapi.Config{MaxRetries: 3})
		activeWithin := func(days time.Duration) (active, never, all int) {
			users := signIns(t, demo)
			for _, last := range users {
				if last.State != factoryapi.Valid {
					never++
				} else if time.Since(last.Time) <= days*24*time.Hour {
					active++
				}
			}
			return active, never, len(users)
		}
		before := 180
		for _, days := range []time.Duration{1, 7, 30, 90} {
			active, never, all := activeWithin(days)
			if never < 30 || never > 150 || active < before+20 || all-never-active < 20 {
				t.Errorf("of %d, %d never signed in, %d within %d days and %d within fewer", all, never, active, days, before)
			}
			before = active
		}
		for _, days := range []time.Duration{1, 7, 365} {
			time.Sleep(days * 24 * time.Hour)
			if active, _, all := activeWithin(1); all < 1300 || all > 1600 || active < all/4 {
				t.Errorf("%d days later: %d members, want about 1,500, of whom %d signed in within a day", days, all, active)
			}
		}
	})
}

func TestDemoDependsOnTheSeedAndNotOnTheRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		asked, left := fakeapi.NewDemo(key, 5, now), fakeapi.NewDemo(key, 5, now)
		first := get(left, "limit=100").Body.Bytes()
		for time.Since(now) < time.Hour-time.Minute {
			get(asked, "")
			time.Sleep(7 * time.Second)
		}
		time.Sleep(time.Hour - time.Since(now))

		// Both at once: what they send is decided before time moves on.
		var bodies [2][]byte
		var asking sync.WaitGroup
		for i, demo := range []http.Handler{asked, left} {
			asking.Go(func() { bodies[i] = get(demo, "limit=100").Body.Bytes() })
		}
		asking.Wait()
		if !bytes.HasPrefix(bodies[0], []byte(`{"users":[{`)) || !bytes.Equal(bodies[0], bodies[1]) {
			t.Errorf("after an hour:\n%.300s\nand, left alone,\n%.300s", bodies[0], bodies[1])
		}
		if bytes.Equal(first, bodies[1]) {
			t.Error("nothing happened within an hour")
		}
	})
}

// What the analytics of a demo are to show: weekends, a few who consume much, a team that
// discovers a dear model, and users who are no members.
func TestDemoWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))) // a Monday
		demo := harness.Client(t, fakeapi.NewDemo(key, 1, time.Now()), factoryapi.Config{MaxRetries: 3})
		sunday := factoryapi.DayOf(time.Now()) - 1
		thursday, friday := sunday-3, sunday-2
		activity, err := demo.Activity(t.Context(), factoryapi.DaysThrough(sunday, 7))
		if err != nil {
			t.Fatal(err)
		}
		if working, weekend := activity[friday].Daily.Value, activity[sunday].Daily.Value; weekend < 1 || working < 4*weekend {
			t.Errorf("%v active users on Friday, and %v on Sunday", working, weekend)
		}
		credits, err := demo.CreditsByModel(t.Context(), factoryapi.DaysThrough(sunday, 28))
		if err != nil {
			t.Fatal(err)
		}
		share := func(day factoryapi.Day) float64 {
			all := 0.0
			for _, ofModel := range credits[day] {
				all += ofModel
			}
			return credits[day]["claude-opus-4-20250514"] / all
		}
		if before, after := share(sunday-27), share(thursday); before != 0 || after < 0.05 || after > 0.6 {
			t.Errorf("the dear model consumes %.2f before the team knows it, and %.2f after", before, after)
		}
		members := signIns(t, demo)
		unknown, sum, most := 0, 0.0, 0.0
		for page, err := range demo.Usage(t.Context(), thursday) {
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range page {
				if _, ok := members[row.UserID]; !ok {
					unknown++
				}
				sum, most = sum+row.Credits.Value, max(most, row.Credits.Value)
			}
		}
		if share := most / sum; share < 0.01 || share > 0.3 {
			t.Errorf("the user with the most credits has %.3f of them", share)
		}
		if unknown < 3 || unknown > 30 {
			t.Errorf("%d of the users are no members", unknown)
		}
	})
}

// signIns returns when the members last signed in, by their ids.
func signIns(t *testing.T, client *factoryapi.Client) map[string]factoryapi.Timestamp {
	t.Helper()
	all := map[string]factoryapi.Timestamp{}
	for page, err := range client.Pages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for _, user := range page {
			all[user.ID] = user.LastSignInAt
		}
	}
	return all
}
