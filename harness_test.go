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
	stdout, stderr *output
	stop           func() // ends it and fails the test if it ends badly
}

// start runs the program on a free port until the test ends.
func start(t testing.TB, args ...string) *exporter {
	t.Helper()
	cfg := parse(t, append([]string{"--web.listen-address=127.0.0.1:0"}, args...)...)
	listens := make(chan string, 1)
	p := &exporter{stdout: new(output), stderr: &output{listening: listens}}
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = run(ctx, cfg, p.stdout, p.stderr)
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

// output is what a program writes. The address that it listens on goes to listening, if
// that is set.
type output struct {
	listening chan string

	mu   sync.Mutex
	text []byte
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	if o.listening != nil {
		if m := listening.FindSubmatch(o.text); m != nil {
			o.listening <- string(m[1])
			o.listening = nil
		}
	}
	return len(b), nil
}

var listening = regexp.MustCompile(`[ {,"]address"?[=:]"?([0-9.]+:[0-9]+)`)

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// serveAPI serves an API on a real socket until the test ends, and returns its URL.
func serveAPI(t testing.TB, api http.Handler) string {
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	return server.URL
}

// usageAPI serves members and their analytics.
func usageAPI(t testing.TB, members int) (url string, server *fakeapi.Server) {
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
	server = fakeapi.NewServer(org, harness.Key)
	server.SetAnalytics(analytics)
	return serveAPI(t, server), server
}

// withKey adds a key file that has the key of all tests.
func withKey(t testing.TB, args ...string) []string {
	file := filepath.Join(t.TempDir(), "key")
	writeFile(t, file, harness.Key+"\n")
	return append(args, "--factory.api-key-file="+file)
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
