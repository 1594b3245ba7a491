package process_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"factory_exporter/e2e/internal/process"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

var (
	soakTime = flag.Duration("soak", 5*time.Second, "how long TestSoak scrapes")
	soakSeed = flag.Uint64("soak-seed", 0, "what TestSoak draws its faults from; 0: something new each time")
)

const (
	soakMembers    = 600
	soakScrapers   = 20 // enough for the pace below when each waits as long as it may
	soakScrapePace = 50 * time.Millisecond

	// What the exporter may have more of after the soak than before. A connection that
	// is just being closed has a file and two goroutines.
	soakGoroutines = 4
	soakFiles      = 2
	soakHeap       = 1 << 20
)

// The exporter, as a process of its own, is scraped while the API fails in many ways and
// clients misbehave. Whatever happens, a scrape is answered, and the numbers in it are
// those of the whole organization or are not there. In the end nothing is left over from
// all of this.
func TestSoak(t *testing.T) {
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-soak=%s -soak-seed=%d", *soakTime, seed)

	members := fakeapi.Generate(soakMembers, seed, time.Now())
	api := fakeapi.NewServer(fakeapi.NewOrganization(members...), harness.Key)
	api.SetLatency(2 * time.Millisecond)
	server := httptest.NewUnstartedServer(api)
	connections := new(connectionCount)
	server.Config.ConnState = connections.observe
	server.Start()
	t.Cleanup(server.Close)
	args := []string{"--factory.page-size=60", "--factory.request-timeout=1s", "--factory.max-retries=1",
		"--collector.max-stale=500ms", "--web.timeout-offset=100ms"}
	const attribute = "metadata.team"
	args = append(args, "--collector.group-by="+attribute)
	counts := harness.Samples{"factory_users": soakMembers}
	for _, m := range members {
		counts[fmt.Sprintf("factory_users_by_attribute{attribute=%q,value=%q}", attribute, cmp.Or(m.Metadata["team"], "(none)"))]++
	}
	p := start(t, server.URL, nil, args...)
	scrapers := &scrapers{exporter: p, counts: counts, listings: map[float64]bool{}}

	warm, cancel := context.WithCancel(t.Context())
	done := scrapers.start(t, warm, seed)
	defer done()
	defer cancel()
	process.Eventually(t, func() error {
		if shown := scrapers.figures().shown; shown < 3*soakScrapers {
			return fmt.Errorf("the exporter is not warm after %d answers with numbers", shown)
		}
		return nil
	})
	cancel()
	done()
	before := settled(t, p, api, connections, nil)
	scrapers.forget()

	ctx, cancel := context.WithCancel(t.Context())
	injected := 0
	var background sync.WaitGroup
	defer background.Wait()
	background.Go(func() { injected = injectFaults(ctx, api, rand.New(rand.NewPCG(seed, 1))) })
	background.Go(func() { misbehave(ctx, t, p, rand.New(rand.NewPCG(seed, 2))) })
	done = scrapers.start(t, ctx, seed+1)
	defer done()
	defer cancel()
	time.Sleep(*soakTime)
	// A busy machine gets all the time it needs to see the worst.
	process.Eventually(t, func() error {
		if f := scrapers.figures(); f.down == 0 || f.gaps == 0 || f.recoveries == 0 {
			return fmt.Errorf("no gap and its end in %+v", f)
		}
		return nil
	})
	cancel()
	done()
	background.Wait()
	api.ClearFaults()
	after := settled(t, p, api, connections, &before)

	f := scrapers.figures()
	stats := api.Stats()
	t.Logf("%d scrapes refused, and %d answered: %d with factory_up 0, %d without factory_users in %d gaps that ended", f.refused, f.scrapes, f.down, f.scrapes-f.shown, f.recoveries)
	t.Logf("%d complete listings seen, %d faults injected, %d of %d requests spoilt", f.listings, injected, stats.Faulted, stats.Requests)
	t.Logf("before: %s", before)
	t.Logf("after:  %s", after)
	if f.refused > f.scrapes {
		t.Error("most scrapes were refused")
	}
	if stats.Faulted == 0 {
		t.Error("no request was spoilt")
	}
}

// memberCounts are the series that do not depend on the time of day.
func memberCounts(s harness.Samples) harness.Samples {
	counts := maps.Clone(s)
	maps.DeleteFunc(counts, func(series string, _ float64) bool {
		return series != "factory_users" && !strings.HasPrefix(series, "factory_users_by_attribute{")
	})
	return counts
}

// pause waits for a random time, and reports whether it passed before ctx ended.
func pause(ctx context.Context, rng *rand.Rand, most time.Duration) bool {
	pausing, cancel := context.WithTimeout(ctx, time.Duration(rng.Int64N(int64(most))))
	defer cancel()
	<-pausing.Done()
	return ctx.Err() == nil
}

// injectFaults lets the API fail, recover and fail again until ctx ends, and returns how
// often it failed.
func injectFaults(ctx context.Context, api *fakeapi.Server, rng *rand.Rand) (injected int) {
	all := faults()
	names := slices.Sorted(maps.Keys(all))
	for {
		fault := fakeapi.Fault{Serve: all[names[rng.IntN(len(names))]]}
		if rng.IntN(2) == 0 {
			fault.Page = 1 + rng.IntN(10)
		}
		if rng.IntN(3) == 0 {
			fault.Times = 1 + rng.IntN(5)
		}
		api.Inject(fault)
		injected++
		if !pause(ctx, rng, 800*time.Millisecond) {
			return injected
		}
		api.ClearFaults()
		if !pause(ctx, rng, 2*time.Second) {
			return injected
		}
	}
}

// misbehave lets clients hang up, scan the port and send SIGHUP until ctx ends.
func misbehave(ctx context.Context, t *testing.T, p *process.Process, rng *rand.Rand) {
	requests := []string{scrapeRequest, scrapeRequest[:20], "", "\x16\x03\x01rubbish\r\n\r\n"}
	for pause(ctx, rng, 100*time.Millisecond) {
		conn, err := net.Dial("tcp", p.Address)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, requests[rng.IntN(len(requests))])
		pause(ctx, rng, 20*time.Millisecond)
		if rng.IntN(2) == 0 {
			_ = conn.(*net.TCPConn).SetLinger(0) // so that closing resets the connection
		}
		conn.Close()
		if rng.IntN(20) == 0 {
			p.Signal(t, syscall.SIGHUP)
		}
	}
}

// scrapers scrape an exporter and check each answer.
type scrapers struct {
	exporter *process.Process
	counts   harness.Samples // of the members, in all and by attribute

	mu       sync.Mutex
	f        soakFigures
	listings map[float64]bool // by the time that each ended
	gap      bool             // in the scrape that was answered last
}

type soakFigures struct {
	refused          int
	scrapes, shown   int // all others; those with numbers of members
	down             int // those with factory_up 0
	gaps, recoveries int // beginnings and ends of times without numbers
	listings         int
}

// start lets them scrape until ctx ends. done waits for their last answers.
func (s *scrapers) start(t testing.TB, ctx context.Context, seed uint64) (done func()) {
	ticker := time.NewTicker(soakScrapePace)
	transport := &http.Transport{MaxIdleConnsPerHost: soakScrapers}
	client := &http.Client{Transport: transport, Timeout: process.Patience}
	var running sync.WaitGroup
	for i := range soakScrapers {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		running.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
					s.scrape(t, client, 0.2+0.8*rng.Float64())
				}
			}
		})
	}
	return sync.OnceFunc(func() {
		running.Wait()
		ticker.Stop()
		transport.CloseIdleConnections()
	})
}

func (s *scrapers) scrape(t testing.TB, client *http.Client, timeout float64) {
	status, body := process.Get(t, client, s.exporter.URL()+"/metrics", "X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprintf("%.3f", timeout))
	switch status {
	case http.StatusOK:
	case http.StatusServiceUnavailable: // a busy machine does not make all answers before their deadlines
		s.mu.Lock()
		s.f.refused++
		s.mu.Unlock()
		return
	default:
		t.Errorf("scrape: status %d: %.500s", status, body)
		return
	}
	got := harness.Parse(t, body)
	up, ok := got["factory_up"]
	if !ok {
		t.Errorf("scrape without factory_up:\n%s", body)
	}
	_, shown := got["factory_users"]
	want := harness.Samples{}
	if shown {
		want = s.counts
	}
	if counts := memberCounts(got); !maps.Equal(counts, want) {
		t.Errorf("counts are %v, want %v", counts, want)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.f.scrapes++
	if up == 0 {
		s.f.down++
	}
	if shown {
		s.f.shown++
		s.listings[got["factory_listing_timestamp_seconds"]] = true
	}
	switch {
	case s.gap && shown:
		s.f.recoveries++
	case !s.gap && !shown:
		s.f.gaps++
	}
	s.gap = !shown
}

func (s *scrapers) figures() soakFigures {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.f
	f.listings = len(s.listings)
	return f
}

// forget begins to count anew.
func (s *scrapers) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.f, s.gap = soakFigures{}, false
	clear(s.listings)
}

// connectionCount counts the open connections of an http.Server.
type connectionCount struct {
	mu   sync.Mutex
	open int
}

func (c *connectionCount) observe(_ net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.open++
	case http.StateClosed, http.StateHijacked: // the fake closes what it hijacks
		c.open--
	}
}

func (c *connectionCount) now() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// footprint is what an exporter takes up.
type footprint struct {
	goroutines, files float64
	heap              float64 // at which the garbage is collected next, twice what was in use after the last time
	connections       int     // to the API
}

func (f footprint) String() string {
	return fmt.Sprintf("%g goroutines, %g files, a heap of %.1f MiB, %d connections to the API", f.goroutines, f.files, f.heap/(1<<20), f.connections)
}

// settled waits until scrapes find the API healthy and the exporter takes up no more than
// it did before, if that is known, and returns what it takes up.
func settled(t *testing.T, exporter *process.Process, api *fakeapi.Server, connections *connectionCount, before *footprint) (f footprint) {
	t.Helper()
	process.Eventually(t, func() error {
		last := exporter.Scrape(t)
		f = footprint{
			goroutines:  last["go_goroutines"],
			files:       last["process_open_fds"],
			heap:        last["go_gc_heap_goal_bytes"],
			connections: connections.now(),
		}
		if f.goroutines == 0 || f.heap == 0 {
			t.Fatalf("the exporter does not tell what it takes up: %s", f)
		}
		_, shown := last["factory_users"]
		settled := shown && last["factory_up"] == 1 && api.Stats().InFlight == 0 &&
			f.connections <= 1 && // it lists one page after another
			(before == nil || f.goroutines <= before.goroutines+soakGoroutines && f.files <= before.files+soakFiles && f.heap <= before.heap+soakHeap)
		if !settled {
			return fmt.Errorf("not settled: %s, factory_up %g, factory_users there: %t", f, last["factory_up"], shown)
		}
		return nil
	})
	return f
}
