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
	"sync/atomic"
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
	var connections atomic.Int64
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			connections.Add(1)
		case http.StateClosed, http.StateHijacked: // the fake closes what it hijacks
			connections.Add(-1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	const attribute = "metadata.team"
	counts := harness.Samples{"factory_users": soakMembers}
	for _, m := range members {
		counts[fmt.Sprintf("factory_users_by_attribute{attribute=%q,value=%q}", attribute, cmp.Or(m.Metadata["team"], "(none)"))]++
	}
	p := start(t, server.URL, nil, "--factory.page-size=60", "--factory.request-timeout=1s", "--factory.max-retries=1",
		"--collector.max-stale=500ms", "--web.timeout-offset=100ms", "--collector.group-by="+attribute)

	scrapeFor := func(least time.Duration, background func(context.Context), until func(*scrapers) error) *scrapers {
		ctx, cancel := context.WithCancel(t.Context())
		scrapers := &scrapers{exporter: p, counts: counts}
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		running.Go(func() { scrapers.run(t, ctx, seed) })
		running.Go(func() { background(ctx) })
		time.Sleep(least)
		process.Eventually(t, func() error {
			scrapers.mu.Lock()
			defer scrapers.mu.Unlock()
			return until(scrapers)
		})
		return scrapers
	}
	scrapeFor(0, func(context.Context) {}, func(s *scrapers) error {
		if s.shown < 3*soakScrapers {
			return fmt.Errorf("the exporter is not warm after %d answers with numbers", s.shown)
		}
		return nil
	})
	before := settled(t, p, api, &connections, nil)
	done := scrapeFor(*soakTime, func(ctx context.Context) {
		var background sync.WaitGroup
		background.Go(func() { injectFaults(ctx, api, rand.New(rand.NewPCG(seed, 1))) })
		background.Go(func() { misbehave(ctx, t, p, rand.New(rand.NewPCG(seed, 2))) })
		background.Wait()
	}, func(s *scrapers) error {
		// A busy machine gets all the time it needs to see the worst.
		if s.gaps == 0 || s.recoveries == 0 {
			return fmt.Errorf("%d gaps and %d ends of one", s.gaps, s.recoveries)
		}
		return nil
	})
	api.ClearFaults()
	after := settled(t, p, api, &connections, &before)
	t.Logf("%d scrapes refused, and %d answered, %d of them with numbers; %d gaps; %+v", done.refused, done.answered, done.shown, done.gaps, api.Stats())
	t.Logf("before: %+v, after: %+v", before, after)
	if done.refused > done.answered {
		t.Error("most scrapes were refused")
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

// injectFaults lets the API fail, recover and fail again until ctx ends.
func injectFaults(ctx context.Context, api *fakeapi.Server, rng *rand.Rand) {
	all := faults()
	names := slices.Sorted(maps.Keys(all))
	for ctx.Err() == nil {
		fault := fakeapi.Fault{Serve: all[names[rng.IntN(len(names))]]}
		if rng.IntN(2) == 0 {
			fault.Page = 1 + rng.IntN(10)
		}
		if rng.IntN(3) == 0 {
			fault.Times = 1 + rng.IntN(5)
		}
		api.Inject(fault)
		pause(ctx, rng, 800*time.Millisecond)
		api.ClearFaults()
		pause(ctx, rng, 2*time.Second)
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

	mu                       sync.Mutex
	refused, answered, shown int  // shown: with numbers of members
	gaps, recoveries         int  // beginnings and ends of times without numbers
	gap                      bool // in the scrape that was answered last
}

// run lets them scrape until ctx ends.
func (s *scrapers) run(t testing.TB, ctx context.Context, seed uint64) {
	ticker := time.NewTicker(soakScrapePace)
	defer ticker.Stop()
	transport := &http.Transport{MaxIdleConnsPerHost: soakScrapers}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: process.Patience}
	var running sync.WaitGroup
	defer running.Wait()
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
}

func (s *scrapers) scrape(t testing.TB, client *http.Client, timeout float64) {
	status, body := process.Get(t, client, s.exporter.URL()+"/metrics", "X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprintf("%.3f", timeout))
	s.mu.Lock()
	defer s.mu.Unlock()
	if status == http.StatusServiceUnavailable { // a busy machine does not make all answers before their deadlines
		s.refused++
		return
	}
	s.answered++
	got := harness.Parse(t, body)
	if _, ok := got["factory_up"]; !ok || status != http.StatusOK {
		t.Errorf("scrape: status %d: %.500s", status, body)
	}
	_, shown := got["factory_users"]
	want := harness.Samples{}
	if shown {
		want = s.counts
		s.shown++
	}
	if counts := memberCounts(got); !maps.Equal(counts, want) {
		t.Errorf("counts are %v, want %v", counts, want)
	}
	switch {
	case s.gap && shown:
		s.recoveries++
	case !s.gap && !shown:
		s.gaps++
	}
	s.gap = !shown
}

// footprint is what an exporter takes up.
type footprint struct {
	goroutines, files, heap float64 // the heap at which the garbage is collected next
	connections             int64   // to the API
}

// settled waits until scrapes find the API healthy and the exporter takes up no more than
// it did before, if that is known, and returns what it takes up.
func settled(t *testing.T, exporter *process.Process, api *fakeapi.Server, connections *atomic.Int64, before *footprint) (f footprint) {
	t.Helper()
	process.Eventually(t, func() error {
		last := exporter.Scrape(t)
		f = footprint{last["go_goroutines"], last["process_open_fds"], last["go_gc_heap_goal_bytes"], connections.Load()}
		if f.goroutines == 0 || f.heap == 0 {
			t.Fatalf("the exporter does not tell what it takes up: %+v", f)
		}
		_, shown := last["factory_users"]
		if !shown || last["factory_up"] != 1 || api.Stats().InFlight > 0 ||
			f.connections > 1 || // it lists one page after another
			before != nil && (f.goroutines > before.goroutines+soakGoroutines || f.files > before.files+soakFiles || f.heap > before.heap+soakHeap) {
			return fmt.Errorf("not settled: %+v, factory_up %g, factory_users there: %t", f, last["factory_up"], shown)
		}
		return nil
	})
	return f
}
