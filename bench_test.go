package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"factory_exporter/factoryapi/fakeapi"
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

// BenchmarkProcess measures the exporter as a process of its own, which is built first:
// a scrape's time, and the process's CPU time and peak memory after a few of them.
func BenchmarkProcess(b *testing.B) {
	binary := buildExporter(b)
	for _, members := range []int{1_000, 10_000, 100_000, 500_000} {
		api, _ := benchAPI(b, members)
		for _, options := range []struct {
			name string
			args []string
		}{
			{name: "plain"},
			{name: "attributes", args: []string{"--collector.group-by=email_domain", "--collector.group-by=metadata.team"}},
			{name: "per-user", args: []string{"--collector.per-user"}},
		} {
			b.Run(fmt.Sprintf("members=%d/%s", members, options.name), func(b *testing.B) {
				p := startProcess(b, binary, nil, withKey(b, append(options.args, "--factory.url="+api)...)...)
				cpu := cpuTime(b, p.process.Process.Pid)
				n := 0
				for b.Loop() {
					scrapeOnce(b, p)
					n++
				}
				cpu = cpuTime(b, p.process.Process.Pid) - cpu
				b.ReportMetric(cpu.Seconds()*1e3/float64(n), "cpu-ms/op")
				b.ReportMetric(peakMemory(b, p.process.Process.Pid), "peak-MiB")
			})
		}
	}
}

func benchAPI(b *testing.B, members int) (url string, server *fakeapi.Server) {
	server = fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(members, 1, time.Now())...), testKey)
	return serveAPI(b, server), server
}

func scrapeOnce(b *testing.B, p *exporter) {
	if _, _, body := fetchWith(b, http.DefaultClient, http.MethodGet, p.url+"/metrics"); !strings.Contains(body, "\nfactory_up 1\n") {
		b.Fatalf("scrape failed:\n%s", p.stderr)
	}
}

// procFields returns the fields of a file below /proc, which proc(5) describes.
func procFields(b *testing.B, pid int, file string) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		b.Fatal(err)
	}
	return strings.Fields(string(text))
}

// cpuTime returns what a process has used so far, in user and system mode.
func cpuTime(b *testing.B, pid int) time.Duration {
	const ticks = 100 // a second, on Linux
	stat := procFields(b, pid, "stat")
	user, err1 := strconv.Atoi(stat[13])
	system, err2 := strconv.Atoi(stat[14])
	if err := errors.Join(err1, err2); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * time.Second / ticks
}

// peakMemory returns the most that a process had resident, in MiB.
func peakMemory(b *testing.B, pid int) float64 {
	status := procFields(b, pid, "status")
	kB, err := strconv.ParseFloat(status[slices.Index(status, "VmHWM:")+1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kB / 1024
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
	req.Header.Set("Authorization", "Bearer "+testKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read side only
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
