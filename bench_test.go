package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

// BenchmarkScrape compares a whole scrape with two clients that it is measured by: the
// floor, which fetches the same pages and reads nothing in them, and the naive client,
// which most people would write. Rounds are interleaved, so that a noisy machine is as
// noisy for each; the ratios are of the medians.
func BenchmarkScrape(b *testing.B) {
	for _, size := range []struct {
		members int
		latency time.Duration
	}{
		{members: 100_000},
		{members: 5_000, latency: 20 * time.Millisecond},
	} {
		b.Run(fmt.Sprintf("members=%d/latency=%s", size.members, size.latency), func(b *testing.B) {
			api, server := benchAPI(b, size.members)
			server.SetLatency(size.latency)
			exporter := start(b, withKey(b, "--factory.url="+api)...)
			contestants := []struct {
				name  string
				fetch func()
				times []time.Duration
			}{
				{name: "floor", fetch: func() { listFloor(b, api) }},
				{name: "naive", fetch: func() { listNaive(b, api) }},
				{name: "scrape", fetch: func() { scrapeOnce(b, exporter) }},
			}
			for _, c := range contestants {
				c.fetch() // connections, buffers
			}
			for b.Loop() {
				for i := range contestants {
					c := &contestants[i]
					runtime.GC() // nobody pays for another one's garbage
					start := time.Now()
					c.fetch()
					c.times = append(c.times, time.Since(start))
				}
			}
			floor, naive, scrape := median(contestants[0].times), median(contestants[1].times), median(contestants[2].times)
			b.ReportMetric(0, "ns/op") // of the three together, which means nothing
			b.ReportMetric(floor.Seconds()*1e3, "floor-ms")
			b.ReportMetric(naive.Seconds()*1e3, "naive-ms")
			b.ReportMetric(scrape.Seconds()*1e3, "scrape-ms")
			b.ReportMetric(scrape.Seconds()/floor.Seconds(), "scrape/floor")
			b.ReportMetric(scrape.Seconds()/naive.Seconds(), "scrape/naive")
		})
	}
}

func benchAPI(b *testing.B, members int) (url string, server *fakeapi.Server) {
	server = fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(members, 1, time.Now())...), harness.Key)
	return serveAPI(b, server), server
}

func scrapeOnce(b *testing.B, p *exporter) {
	if _, _, body := harness.Fetch(b, http.DefaultClient, http.MethodGet, p.url+"/metrics"); !strings.Contains(body, "\nfactory_up 1\n") {
		b.Fatalf("scrape failed:\n%s", p.stderr)
	}
}

// listFloor fetches all pages and looks at nothing but the cursors.
func listFloor(b *testing.B, apiURL string) {
	const before, after = `"nextCursor":"`, `"`
	for cursor := ""; ; {
		body := fetchPage(b, apiURL, cursor)
		_, rest, more := bytes.Cut(body, []byte(before))
		if !more {
			return
		}
		text, _, _ := bytes.Cut(rest, []byte(after))
		cursor = string(text)
	}
}

// listNaive fetches all pages into one slice of structs and counts.
func listNaive(b *testing.B, apiURL string) {
	type user struct {
		ID, Email, FirstName, LastName string
		CreatedAt                      time.Time
		LastSignInAt                   *time.Time
		Metadata                       map[string]string
	}
	var users []user
	for cursor := ""; ; {
		var page struct {
			Users      []user
			Pagination struct {
				HasMore    bool
				NextCursor string
			}
		}
		if err := json.Unmarshal(fetchPage(b, apiURL, cursor), &page); err != nil {
			b.Fatal(err)
		}
		users = append(users, page.Users...)
		if !page.Pagination.HasMore {
			break
		}
		cursor = page.Pagination.NextCursor
	}
	active := 0
	for _, u := range users {
		if u.LastSignInAt != nil && time.Since(*u.LastSignInAt) < 30*24*time.Hour {
			active++
		}
	}
	if active == 0 {
		b.Fatal("nobody is active")
	}
}

func fetchPage(b *testing.B, apiURL, cursor string) []byte {
	query := url.Values{"limit": {"100"}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	req, err := http.NewRequest(http.MethodGet, apiURL+fakeapi.UsersPath+"?"+query.Encode(), nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+harness.Key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return body
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}
