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
	soakSeed = flag.Uint64("soak-seed", 0, "what TestSoak draws its faults and members from; 0: something new each time")
)

const (
	soakMembers    = 600 // at the start
	soakChanges    = 200 // to the organization, over the whole time
	soakScrapers   = 20  // enough for the pace below when each waits as long as it may
	soakScrapePace = 50 * time.Millisecond

	// What the exporter may have more of after the soak than before. A connection that
	// is just being closed has a file and two goroutines.
	soakGoroutines = 4
	soakFiles      = 2
	soakHeap       = 1 << 20
)

// The exporter, as a process of its own, is scraped while the API fails in many ways,
// clients misbehave, and members join and leave. Whatever happens, a scrape is answered,
// and the numbers in it are those of the organization at one time or are not there. In
// the end nothing is left over from all of this.
func TestSoak(t *testing.T) {
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-soak=%s -soak-seed=%d", *soakTime, seed)

	attributes := []string{"metadata.team", "email_domain"}
	org := newSoakOrganization(seed, attributes)
	api := fakeapi.NewServer(org.Organization, harness.Key)
	api.SetLatency(2 * time.Millisecond)
	server := httptest.NewUnstartedServer(org.changing(api))
	connections := new(connectionCount)
	server.Config.ConnState = connections.observe
	server.Start()
	t.Cleanup(server.Close)
	args := []string{"--factory.page-size=60", "--factory.request-timeout=1s", "--factory.max-retries=1",
		"--collector.max-stale=500ms", "--web.timeout-offset=100ms"}
	for _, attribute := range attributes {
		args = append(args, "--collector.group-by="+attribute)
	}
	p := start(t, server.URL, nil, args...)
	scrapers := &scrapers{exporter: p, org: org, listings: map[float64]bool{}}

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
	background.Go(func() {
		ticker := time.NewTicker(*soakTime / soakChanges)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				org.makeDue()
			case <-ctx.Done():
				return
			}
		}
	})
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
	t.Logf("%d scrapes: %d with factory_up 0, %d without factory_users in %d gaps that ended", f.scrapes, f.down, f.scrapes-f.shown, f.recoveries)
	t.Logf("%d complete listings seen, %d faults injected, %d of %d requests spoilt, %d totals", f.listings, injected, stats.Faulted, stats.Requests, org.steps())
	t.Logf("before: %s", before)
	t.Logf("after:  %s", after)
	if stats.Faulted == 0 {
		t.Error("no request was spoilt")
	}
}

// soakOrganization changes in steps. Each has a total that no other step has, and takes
// place between two listings, so that a complete listing shows one step exactly.
type soakOrganization struct {
	*fakeapi.Organization
	attributes []string
	rng        *rand.Rand

	mu        sync.Mutex
	due       bool             // a change is, at the next listing
	newcomers []fakeapi.Member // who can still join
	totals    []float64        // by step
	byTotal   map[float64]soakStep
}

type soakStep struct {
	number int
	counts harness.Samples // of the members, in all and by attribute
}

func newSoakOrganization(seed uint64, attributes []string) *soakOrganization {
	people := fakeapi.Generate(soakMembers+5*(soakChanges+1), seed, time.Now())
	o := &soakOrganization{
		Organization: fakeapi.NewOrganization(people[:soakMembers]...),
		attributes:   attributes,
		rng:          rand.New(rand.NewPCG(seed, 0)),
		newcomers:    people[soakMembers:],
		byTotal:      map[float64]soakStep{},
	}
	o.record()
	return o
}

// changing makes a change that is due when a request for a first page arrives: then,
// since there is one listing at a time, none is under way that has seen members.
func (o *soakOrganization) changing(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !r.URL.Query().Has("cursor") {
			o.change()
		}
		api.ServeHTTP(w, r)
	})
}

func (o *soakOrganization) makeDue() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.due = true
}

// change lets five join and, the next time, three leave: this way totals are even and odd
// in turns, and grow among the even and among the odd.
func (o *soakOrganization) change() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.due || len(o.newcomers) < 5 {
		return
	}
	o.due = false
	if len(o.totals)%2 == 1 {
		o.Add(o.newcomers[:5]...)
		o.newcomers = o.newcomers[5:]
	} else {
		members := o.Members()
		for _, i := range o.rng.Perm(len(members))[:3] {
			o.Remove(members[i].ID)
		}
	}
	o.record()
}

func (o *soakOrganization) record() {
	counts := harness.Samples{}
	for _, m := range o.Members() {
		counts["factory_users"]++
		for _, attribute := range o.attributes {
			value := m.Metadata[strings.TrimPrefix(attribute, "metadata.")]
			if attribute == "email_domain" {
				_, value, _ = strings.Cut(strings.ToLower(m.Email), "@")
			}
			counts[fmt.Sprintf("factory_users_by_attribute{attribute=%q,value=%q}", attribute, cmp.Or(value, "(none)"))]++
		}
	}
	total := counts["factory_users"]
	if _, ok := o.byTotal[total]; ok {
		panic(fmt.Sprintf("%g members twice", total))
	}
	o.byTotal[total] = soakStep{number: len(o.totals), counts: counts}
	o.totals = append(o.totals, total)
}

// step returns the step that had this total.
func (o *soakOrganization) step(total float64) (soakStep, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	step, ok := o.byTotal[total]
	return step, ok
}

func (o *soakOrganization) steps() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.totals)
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
	org      *soakOrganization

	mu       sync.Mutex
	f        soakFigures
	listings map[float64]bool // by the time that each ended
	gap      bool             // in the scrape that was answered last
	newest   int              // the highest step shown so far
}

type soakFigures struct {
	scrapes, shown   int // all; those with numbers of members
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
	s.mu.Lock()
	newest := s.newest
	s.mu.Unlock()

	status, body := process.Get(t, client, s.exporter.URL()+"/metrics", "X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprintf("%.3f", timeout))
	if status != http.StatusOK {
		t.Errorf("scrape: status %d: %.500s", status, body)
		return
	}
	got := harness.Parse(t, body)
	up, ok := got["factory_up"]
	if !ok {
		t.Errorf("scrape without factory_up:\n%s", body)
	}
	total, shown := got["factory_users"]
	step := soakStep{number: newest}
	if shown {
		if step, ok = s.org.step(total); !ok {
			t.Errorf("%g members, which the organization never had", total)
			return
		}
		if step.number < newest {
			t.Errorf("step %d of the organization, after step %d was shown", step.number, newest)
		}
	}
	// The counts by attribute are those of that step, which sum up to its total; without
	// one there are none.
	if counts := memberCounts(got); !maps.Equal(counts, step.counts) {
		t.Errorf("counts are %v, want %v", counts, step.counts)
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
	s.newest = max(s.newest, step.number)
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
			heap:        last["go_memstats_next_gc_bytes"],
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
