package main

import (
	"context"
	"math"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"factory_exporter/factoryapi/fakeapi"
)

// The fault matrix has no expected values in its rows. A row says what a fault is: what
// it counts as, whether it is retried, how long a request takes. The forecast works out
// the rest.
//
// A fault strikes the next so many requests for one page. One scrape is one listing, and
// scrapes are a minute apart. So foresee knows, before each scrape, how many strikes are
// left, and steps through the listing as the contract has it: a strike that is not a
// failure costs nothing, one that is not retried ends the listing, and one that is
// retried may happen four times (three retries) before it does. From that follow the
// number of requests, of errors and of pages, and the least and the most time that the
// listing takes.
//
// check scrapes, and compares everything on the page with the forecast: each series of
// the members with a count by hand (numbers_test.go) of those who must have been listed,
// or with those of the last good listing while they are young enough; and each counter of
// requests with how far it must have moved. checkLog then reads the log and the other
// pages.
//
// The forecast shares no code with the client or the collector. It knows three facts
// about them: three retries, a first wait of 250 to 750 ms that grows by half, and a
// max-stale of five minutes.

const maxStale = 5 * time.Minute // the default of --collector.max-stale

// cell is a cell of the matrix: an exporter whose API has one fault, and what has
// happened so far.
type cell struct {
	*world
	t      *testing.T
	fault  *fault
	people []person

	page    int // that the fault strikes
	strikes int // that are left

	// If the fault strikes the way to the API, dials for this page fail so many times. A
	// dial goes on in the background when its request has ended.
	failingPage, failingDials atomic.Int64

	connected bool            // there is a connection that was used before
	failing   bool            // the last listing failed
	failures  int             // that the log must tell of
	shown     samples         // the series of the members
	shownAt   time.Time       // when they were listed
	ids       map[string]bool // of who was listed last

	last  samples
	stats fakeapi.Stats
}

func newCell(t *testing.T, f *fault) *cell {
	c := &cell{world: newWorld(t), t: t, fault: f}
	for _, m := range c.members {
		c.people = append(c.people, personOf(m))
	}
	if f.dial != nil {
		dial := c.transport.DialContext
		c.transport.DisableKeepAlives = true // so that there is a connection to fail for each page
		c.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if int64(c.asked()) == c.failingPage.Load() && c.failingDials.Load() > 0 {
				c.failingDials.Add(-1)
				return nil, f.dial(ctx)
			}
			return dial(ctx, network, address)
		}
	}
	return c
}

// inject makes the fault strike so many requests for a page; 0: all.
func (c *cell) inject(page, times int) {
	c.page, c.strikes = page, times
	if times == 0 {
		c.strikes = math.MaxInt
	}
	if c.fault.dial != nil {
		c.failingPage.Store(int64(page))
		c.failingDials.Store(int64(c.strikes))
		return
	}
	c.api.Inject(fakeapi.Fault{Page: page, Times: times, Serve: c.fault.serve})
}

// repair ends the fault.
func (c *cell) repair() {
	c.strikes = 0
	c.failingDials.Store(0)
	c.api.ClearFaults()
}

// forecast is what must come of a listing.
type forecast struct {
	ok          bool
	requests    int // that count as sent
	arrived     int // at the API
	errors      int
	pages       int
	least, most time.Duration
	people      []person // that it lists
}

// foresee returns the forecast of the next listing, and subtracts the strikes that it
// takes.
func (c *cell) foresee() forecast {
	f := c.fault
	want := forecast{ok: true, requests: matrixPages, arrived: matrixPages, pages: matrixPages, people: c.people}
	if c.strikes == 0 {
		return want
	}
	if f.status == "" {
		c.strikes--
		want.requests += f.morePages
		want.arrived += f.morePages
		want.pages += f.morePages
		want.least, want.most = f.takes, f.takes
		if f.makes != nil {
			from := (c.page - 1) * matrixPageSize
			to := min(from+matrixPageSize, len(c.people))
			want.people = slices.Concat(c.people[:from], f.makes(slices.Clone(c.people[from:to])), c.people[to:])
		}
		return want
	}

	if f.repaired && (c.page > 1 || c.connected) {
		want.requests++
		want.arrived++
		want.errors++
		c.strikes--
	}
	const retries = 3
	least, most := 250*time.Millisecond, 750*time.Millisecond
	for try := 0; c.strikes > 0; try++ {
		c.strikes--
		want.errors++
		want.requests++
		if f.dial == nil {
			want.arrived++
		}
		want.least += f.takes
		want.most += f.takes
		if !f.retried || try == retries {
			want.ok = false
			want.requests -= matrixPages - c.page + 1
			want.arrived -= matrixPages - c.page + 1
			break
		}
		if f.waits[1] > 0 {
			least, most = f.waits[0], f.waits[1]
		}
		want.least += least
		want.most += most
		least, most = least*3/2, most*3/2
	}
	return want
}

// check scrapes a minute later and compares everything with the forecast.
func (c *cell) check() {
	t := c.t
	t.Helper()
	time.Sleep(time.Minute)
	want := c.foresee()
	begin := time.Now()
	body := c.scrapeText(t)
	if took := time.Since(begin); took < want.least || took > want.most {
		t.Errorf("it took %s, want %s to %s", took, want.least, want.most)
	}
	checkNoKey(t, "scrape", body)
	if !utf8.ValidString(body) {
		t.Error("scrape is not UTF-8")
	}
	s := parseSamples(t, hashes.ReplaceAllString(body, "…HASH"))

	if want.ok != (s["factory_up"] == 1) {
		t.Errorf("factory_up is %g, the listing should succeed: %v", s["factory_up"], want.ok)
	}
	if value, ok := s["factory_listing_in_progress"]; !ok || value != 0 {
		t.Errorf("factory_listing_in_progress is %g (there: %v), want 0", value, ok)
	}
	var joined, left int
	if want.ok {
		c.shown = countByHand(want.people, []string{"1d", "7d", "30d", "90d"}, []string{"email_domain", "metadata.team"}, begin)
		c.shown["factory_listing_pages"] = float64(want.pages)
		c.shownAt = time.Now()
		ids := map[string]bool{}
		for _, p := range want.people {
			ids[p.id] = true
			if c.ids != nil && !c.ids[p.id] {
				joined++
			}
		}
		for id := range c.ids {
			if !ids[id] {
				left++
			}
		}
		c.ids = ids
	} else if time.Since(c.shownAt) > maxStale {
		c.shown = samples{}
	}
	checkUserSeries(t, s, shortened(c.shown))
	if timestamp, ok := s["factory_listing_timestamp_seconds"]; ok != (len(c.shown) > 0) || ok && timestamp != unix(c.shownAt) {
		t.Errorf("factory_listing_timestamp_seconds is %g (there: %v), want %g", timestamp, ok, unix(c.shownAt))
	}

	moves := samples{
		"factory_api_requests_total": float64(want.requests),
		"factory_users_joined_total": float64(joined),
		"factory_users_left_total":   float64(left),
	}
	if want.errors > 0 {
		moves[`factory_api_errors_total{status="`+c.fault.status+`"}`] = float64(want.errors)
	}
	for series, value := range s {
		if strings.HasPrefix(series, "factory_api_errors_total{") || moves[series] > 0 {
			if moved := value - c.last[series]; moved != moves[series] {
				t.Errorf("%s moved by %g, want %g", series, moved, moves[series])
			}
		}
	}
	for series := range moves {
		if _, ok := s[series]; !ok {
			t.Errorf("%s is missing", series)
		}
	}
	stats := c.api.Stats()
	if arrived := stats.Requests - c.stats.Requests; arrived != want.arrived {
		t.Errorf("%d requests arrived, want %d", arrived, want.arrived)
	}
	if stats.MaxConcurrent > 1 && c.fault.takes == 0 {
		t.Errorf("%d requests at once", stats.MaxConcurrent)
	}

	if !want.ok && !c.failing {
		c.failures++
	}
	c.failing = !want.ok
	c.connected = want.ok
	c.last, c.stats = s, stats
}

// checkLog looks at the whole log, at what is said on the other pages, and at where
// requests went.
func (c *cell) checkLog() {
	t := c.t
	logs := c.logs.String()
	checkNoKey(t, "log", logs)
	for line := range strings.Lines(logs) {
		if !strings.HasPrefix(line, "level=") || len(line) > 700 || !utf8.ValidString(line) {
			t.Errorf("log line of %d bytes, or not UTF-8, or a part of one: %.1000q", len(line), line)
		}
	}
	recovered := c.failures
	if c.failing {
		recovered--
	}
	for level, want := range map[string]int{"error": c.failures, "info": recovered, "warn": 0} {
		if got := strings.Count(logs, "level="+level); got != want {
			t.Errorf("%d lines of level %s in the log, want %d", got, level, want)
		}
	}
	if t.Failed() {
		t.Logf("the log:\n%s", logs)
	}
	for _, path := range otherPaths {
		_, _, body := fetchWith(t, c.exporter, http.MethodGet, "http://exporter"+path)
		checkNoKey(t, path, body)
	}
	for _, url := range c.requests() {
		if url.Host != "localhost" {
			t.Errorf("%s was asked", url.Host)
		}
	}
}

// hashes are what stands for the rest of a label value that is too long.
var hashes = regexp.MustCompile(`…[0-9a-f]{32}`)

// shortened shortens label values that are too long, as the exporter does.
func shortened(s samples) samples {
	const limit = 128
	short := samples{}
	for series, value := range s {
		name, labels, _ := strings.Cut(series, `{`)
		parts := strings.Split(labels, `",`)
		for i, part := range parts {
			label, text, ok := strings.Cut(part, `="`)
			if ok && len(text) > 1000 { // nothing is in between
				end := ""
				if i == len(parts)-1 {
					end = `"}`
				}
				parts[i] = label + `="` + text[:limit-len("…")-32] + "…HASH" + end
			}
		}
		if labels != "" {
			name += "{" + strings.Join(parts, `",`)
		}
		short[name] = value
	}
	return short
}
