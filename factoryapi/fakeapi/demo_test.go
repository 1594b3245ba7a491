package fakeapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi/fakeapi"
)

func TestDemoLives(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				demo := fakeapi.NewDemo(key, seed, begin)
				requests, refused := 0, map[int]int{}

				before, pages := listDemo(t, demo, refused)
				requests += pages
				after := before
				for time.Since(begin) < 10*time.Minute {
					time.Sleep(15 * time.Second)
					after, pages = listDemo(t, demo, refused)
					requests += pages
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
				if left < 1 || left > 15 {
					t.Errorf("%d left in ten minutes, want some", left)
				}
				if signedIn < 10 || signedIn > 100 {
					t.Errorf("%d signed in in ten minutes, want several a minute", signedIn)
				}
				if refused[429] == 0 || refused[500] == 0 || len(refused) != 2 {
					t.Errorf("refused %v, want some with 429 and some with 500", refused)
				}
				if share := float64(refused[429]+refused[500]) / float64(requests); share > 0.06 {
					t.Errorf("refused %.3f of the requests, want about 1 in 40", share)
				}
			})
		})
	}
}

func TestDemoStartsWithAPastAndStaysPlausible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		demo := fakeapi.NewDemo(key, 1, time.Now())
		activeWithin := func(days time.Duration) (active, never, all int) {
			users, _ := listDemo(t, demo, map[int]int{})
			for _, last := range users {
				if last == "" {
					never++
				} else if time.Since(parse(t, last)) <= days*24*time.Hour {
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
		demo := fakeapi.NewDemo(key, 1, time.Now())
		ask := func(endpoint, query string) (rows []map[string]any) {
			for cursor := ""; ; {
				answer := askAnalytics(demo, fakeapi.AnalyticsPath+endpoint, query+"&limit=100&cursor="+cursor)
				if answer.Code != http.StatusOK {
					time.Sleep(time.Second)
					continue
				}
				var page struct {
					Data []map[string]any
					Meta struct {
						NextCursor string `json:"next_cursor"`
					}
				}
				if err := json.Unmarshal(answer.Body.Bytes(), &page); err != nil {
					t.Fatal(err)
				}
				rows = append(rows, page.Data...)
				if cursor = page.Meta.NextCursor; cursor == "" {
					return rows
				}
			}
		}
		active := map[any]float64{}
		for _, row := range ask("activity", "startDate=2026-05-25&endDate=2026-05-31") {
			active[row["date"]] = row["daily_active_users"].(float64)
		}
		if friday, sunday := active["2026-05-29"], active["2026-05-31"]; sunday < 1 || friday < 4*sunday {
			t.Errorf("%v active users on Friday, and %v on Sunday", friday, sunday)
		}
		share := func(day string) float64 {
			dear, all := 0.0, 0.0
			for _, row := range ask("tokens", "group_by=model&startDate="+day+"&endDate="+day) {
				all += row["billable_tokens"].(float64)
				if row["group_key"] == "claude-opus-4-20250514" {
					dear = row["billable_tokens"].(float64)
				}
			}
			return dear / all
		}
		if before, after := share("2026-05-04"), share("2026-05-28"); before != 0 || after < 0.05 || after > 0.6 {
			t.Errorf("the dear model consumes %.2f before the team knows it, and %.2f after", before, after)
		}
		members, _ := listDemo(t, demo, map[int]int{})
		unknown, credits, most := 0, 0.0, 0.0
		for _, row := range ask("users", "startDate=2026-05-28&endDate=2026-05-28") {
			if _, ok := members[row["user_id"].(string)]; !ok {
				unknown++
			}
			consumed := row["billable_tokens"].(float64)
			credits, most = credits+consumed, max(most, consumed)
		}
		if share := most / credits; share < 0.01 || share > 0.3 {
			t.Errorf("the user with the most credits has %.3f of them", share)
		}
		if unknown < 3 || unknown > 30 {
			t.Errorf("%d of the users are no members", unknown)
		}
	})
}

// listDemo lists all users, with up to three retries a page, and returns their last
// sign-in by id and the number of requests. It counts refusals by status.
func listDemo(t *testing.T, demo http.Handler, refused map[int]int) (users map[string]string, requests int) {
	t.Helper()
	users = make(map[string]string)
	query := url.Values{"limit": {"100"}}
	for {
		begin := time.Now()
		answer := get(demo, query.Encode())
		requests++
		if took := time.Since(begin); took < 20*time.Millisecond || took > 60*time.Millisecond {
			t.Errorf("answered after %v", took)
		}
		for retries := 0; answer.Code != http.StatusOK && retries < 3; retries++ {
			refused[answer.Code]++
			if answer.Code == http.StatusTooManyRequests && answer.Header().Get("Retry-After") != "1" {
				t.Errorf("429 with Retry-After %q", answer.Header().Get("Retry-After"))
			}
			time.Sleep(time.Second)
			answer = get(demo, query.Encode())
			requests++
		}
		p := decode(t, answer)
		for _, u := range p.Users {
			users[u.ID] = u.LastSignInAt
		}
		if !p.Pagination.HasMore {
			return users, requests
		}
		query.Set("cursor", *p.Pagination.NextCursor)
	}
}
