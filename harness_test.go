package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/config"
	"factory_exporter/internal/harness"
)

// TestMain runs the tests or, where a script calls the program by its name, the program.
func TestMain(m *testing.M) {
	testscript.Main(harness.Suite{M: m}, map[string]func(){config.Program: main})
}

// exporter is the program, run by a test within its own process.
type exporter struct {
	url            string // of its landing page, without the slash
	stdout, stderr *harness.Log
	stop           func() // ends it and fails the test if it ends badly
}

// start runs the program on a free port until the test ends.
func start(t testing.TB, args ...string) *exporter {
	t.Helper()
	cfg := parse(t, append([]string{"--web.listen-address=127.0.0.1:0"}, args...)...)
	listens := make(chan string, 10) // it may listen on several addresses, and tells each twice
	p := &exporter{stdout: new(harness.Log), stderr: new(harness.Log)}
	stderr := io.MultiWriter(p.stderr, harness.Writer(func(line []byte) (int, error) {
		if m := listening.FindSubmatch(line); m != nil {
			listens <- string(m[1])
		}
		return len(line), nil
	}))
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = run(ctx, cfg, p.stdout, stderr)
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
		if err != nil {
			t.Errorf("the program ended with: %v", err)
		}
	})
	t.Cleanup(p.stop)
	select {
	case address := <-listens:
		p.url = "http://" + address
	case <-ended:
		t.Fatalf("the program did not start: %v\n%s", err, p.stderr.String())
	case <-time.After(startTimeout):
		t.Fatalf("the program does not listen:\n%s", p.stderr.String())
	}
	return p
}

// startTimeout is how long a program may take until it listens, on a machine that is
// busy.
const startTimeout = 30 * time.Second

var listening = regexp.MustCompile(`[ {,"]address"?[=:]"?([0-9.]+:[0-9]+)`)

func parse(t testing.TB, args ...string) *config.Config {
	t.Helper()
	cfg, err := config.Parse(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// get returns the answer of a page, which comes on a connection of its own.
func (p *exporter) get(t testing.TB, path string) (status int, _ http.Header, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return harness.Fetch(t, &client, http.MethodGet, p.url+path)
}

func (p *exporter) scrape(t testing.TB) harness.Samples {
	t.Helper()
	status, _, body := p.get(t, "/metrics")
	if status != http.StatusOK {
		t.Errorf("scrape: status %d", status)
	}
	return harness.Parse(t, body)
}

// scrapeUsage scrapes until the analytics have been read and members were counted with
// them.
func (p *exporter) scrapeUsage(t testing.TB) harness.Samples {
	t.Helper()
	for range 1000 {
		if p.scrape(t)["factory_usage_up"] == 1 {
			return p.scrape(t)
		}
	}
	t.Fatalf("the analytics were not read:\n%s", p.stderr)
	return nil
}

// serveAPI serves an API on a real socket until the test ends, and returns its URL.
func serveAPI(t testing.TB, api http.Handler) string {
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	return server.URL
}

// usageAPI serves members and their analytics, and returns the URL.
func usageAPI(t testing.TB, members int) string {
	org := fakeapi.NewOrganization(fakeapi.Generate(members, 1, time.Now())...)
	work := fakeapi.Work{Clients: []string{"web"}, Sessions: 1, Model: "droid-core", BillableTokens: 1_000_000}
	var workers []fakeapi.UserWork
	for i, m := range org.Users() {
		if i%4 > 0 {
			workers = append(workers, fakeapi.UserWork{ID: m.ID, On: func(time.Time) (fakeapi.Work, bool) { return work, true }})
		}
	}
	analytics := fakeapi.NewAnalytics(workers...)
	analytics.SetLimits(fakeapi.Limits{Global: 2_000_000})
	server := fakeapi.NewServer(org, harness.Key)
	server.SetAnalytics(analytics)
	return serveAPI(t, server)
}

// withKey adds a key file that has the key of all tests.
func withKey(t testing.TB, args ...string) []string {
	file := writeFile(t, filepath.Join(t.TempDir(), "key"), harness.Key+"\n")
	return append(args, "--factory.api-key-file="+file)
}

var writeFile = harness.WriteFile

func readFile(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
