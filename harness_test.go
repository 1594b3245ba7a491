package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
)

// testKey is the API key of all tests that do not say otherwise. It is so long that a
// part of it may get through where the whole would be seen.
const testKey = "fk-9s8Yq0vJ3mZrT5xWc7LbNd2HgKpEuAiR4oVtQfMj6wXz1CyB"

// TestMain runs the tests or, where a script calls the program by its name, the program.
func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){program: main})
}

// suite is all tests. They see no environment of the program but what they set
// themselves, and leave no goroutine over.
type suite struct{ *testing.M }

func (s suite) Run() int {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); name == keyVariable || strings.HasPrefix(name, "FACTORY_EXPORTER_") {
			os.Unsetenv(name)
		}
	}
	// Built with the race detector, the program would sleep for a second before it ends.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	code := s.M.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
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
	listens := make(chan string, 1)
	p := &exporter{stdout: new(output), stderr: &output{listening: listens}}
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = run(ctx, append([]string{"--web.listen-address=127.0.0.1:0"}, args...), p.stdout, p.stderr)
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

func (p *exporter) scrape(t testing.TB) samples {
	t.Helper()
	status, _, body := fetch(t, http.MethodGet, p.url+"/metrics")
	if status != http.StatusOK {
		t.Errorf("scrape: status %d", status)
	}
	return parseSamples(t, body)
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

// An organization of a world has this size: there is a first page, a last one, and
// several between.
const (
	matrixPageSize = 2
	matrixPages    = 7
	matrixMembers  = matrixPageSize*matrixPages - 1
)

// world is an API and an exporter, on networks in memory. It is for tests under
// testing/synctest, so that time costs nothing.
type world struct {
	members   []fakeapi.Member
	api       *fakeapi.Server
	transport *http.Transport // from the exporter to the API
	network   *fakeapi.Pipe   // to the exporter
	exporter  *http.Client    // on that network
	logs      *output

	mu   sync.Mutex
	urls []*url.URL // that the exporter asked for
}

// otherPaths are those of pages without metrics.
var otherPaths = []string{"/", "/-/healthy", "/-/ready", "/nothing"}

func newWorld(t *testing.T, args ...string) *world {
	w := &world{members: members(matrixMembers, time.Now()), logs: new(output)}
	w.api = fakeapi.NewServer(fakeapi.NewOrganization(w.members...), testKey)
	api := servePipe(t, &http.Server{Handler: w.api, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)})
	w.transport = &http.Transport{
		DialContext:            api.DialContext,
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         64 << 10, // large bodies pass faster
	}
	t.Cleanup(w.transport.CloseIdleConnections)
	recording := roundTripper(func(r *http.Request) (*http.Response, error) {
		w.mu.Lock()
		w.urls = append(w.urls, r.URL)
		w.mu.Unlock()
		return w.transport.RoundTrip(r)
	})
	cfg := parse(t, append([]string{
		"--factory.url=http://localhost", "--factory.page-size=" + strconv.Itoa(matrixPageSize),
		"--collector.group-by=email_domain", "--collector.group-by=metadata.team", "--collector.per-user",
		"--web.disable-exporter-metrics", "--log.level=debug",
	}, args...)...)
	w.network = servePipe(t, newTestServer(t, cfg, recording, w.logs))
	client := &http.Transport{DialContext: w.network.DialContext, DisableCompression: true}
	t.Cleanup(client.CloseIdleConnections)
	w.exporter = &http.Client{Transport: client}
	return w
}

// scrapeText returns what a scrape is answered, which must succeed.
func (w *world) scrapeText(t *testing.T, header ...string) string {
	t.Helper()
	status, _, body := fetchWith(t, w.exporter, http.MethodGet, "http://exporter/metrics", header...)
	if status != http.StatusOK {
		t.Errorf("scrape: status %d", status)
	}
	return body
}

func (w *world) scrape(t *testing.T, header ...string) samples {
	t.Helper()
	return parseSamples(t, w.scrapeText(t, header...))
}

// requests returns the URLs that the exporter asked for so far.
func (w *world) requests() []*url.URL {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.urls)
}

// asked returns the number of the page that is being asked for, from 1.
func (w *world) asked() (page int) {
	pages := map[string]int{"": 1}
	for _, u := range w.requests() {
		cursor := u.Query().Get("cursor")
		if pages[cursor] == 0 {
			pages[cursor] = page + 1
		}
		page = pages[cursor]
	}
	return page
}

// exporterOf returns the server of an exporter whose API is on a network in memory.
func exporterOf(t *testing.T, api http.Handler, args ...string) *http.Server {
	t.Helper()
	cfg := parse(t, append(args, "--factory.url=http://localhost")...)
	transport := &http.Transport{DialContext: servePipe(t, &http.Server{Handler: api}).DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return newTestServer(t, cfg, transport, io.Discard)
}

// newTestServer returns the server of an exporter whose key is testKey and whose requests
// go by transport.
func newTestServer(t *testing.T, cfg *config, transport http.RoundTripper, logs io.Writer) *http.Server {
	t.Helper()
	key, err := factoryapi.NewStaticKey(testKey)
	if err != nil {
		t.Fatal(err)
	}
	api := cfg.api
	api.Credentials, api.Transport = key, transport
	logger := newLogger(logs, cfg.logLevel, cfg.logFormat)
	handler, stop, err := newExporter(cfg, api, logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return newServer(handler, logger, "")
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// servePipe serves on a network in memory until the test ends, with TLS if the server is
// configured for it.
func servePipe(t *testing.T, server *http.Server) *fakeapi.Pipe {
	pipe := fakeapi.NewPipe()
	served := make(chan error)
	go func() {
		if server.TLSConfig != nil {
			served <- server.ServeTLS(pipe, "", "")
		} else {
			served <- server.Serve(pipe)
		}
	}()
	t.Cleanup(func() {
		server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return pipe
}

// serveAPI serves an API on a real socket until the test ends, and returns its URL.
func serveAPI(t testing.TB, api http.Handler) string {
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	return server.URL
}

// withKey adds a key file that has testKey.
func withKey(t testing.TB, args ...string) []string {
	file := filepath.Join(t.TempDir(), "key")
	writeFile(t, file, testKey+"\n")
	return append(args, "--factory.api-key-file="+file)
}

// fetch sends a request on a connection of its own, with a header of these names and
// values, and returns the whole answer, unpacked.
func fetch(t testing.TB, method, url string, header ...string) (status int, _ http.Header, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	return fetchWith(t, &client, method, url, header...)
}

func fetchWith(t testing.TB, client *http.Client, method, url string, header ...string) (status int, _ http.Header, body string) {
	t.Helper()
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Error(err)
		return 0, nil, ""
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		t.Error(err)
		return 0, nil, ""
	}
	defer response.Body.Close()
	reader := io.Reader(response.Body)
	if response.Header.Get("Content-Encoding") == "gzip" && method != http.MethodHead {
		if reader, err = gzip.NewReader(response.Body); err != nil {
			t.Error(err)
			return 0, nil, ""
		}
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, response.Header, string(text)
}

// scrapeRequest is a request for the metrics as it is on a connection.
const scrapeRequest = "GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n"

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

// samples are the values of a scrape by their series, as in the text format.
type samples map[string]float64

func parseSamples(t testing.TB, body string) samples {
	t.Helper()
	s := samples{}
	lines := bufio.NewScanner(strings.NewReader(body))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		space := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil || space < 0 {
			t.Errorf("not a sample: %q", line)
			continue
		}
		if _, ok := s[line[:space]]; ok {
			t.Errorf("twice in a scrape: %s", line[:space])
		}
		s[line[:space]] = value
	}
	return s
}

// checkNoKey fails if text has the key or a telling part of it.
func checkNoKey(t testing.TB, where, text string) {
	t.Helper()
	const telling = 8
	for i := range len(testKey) - telling + 1 {
		if at := strings.Index(text, testKey[i:i+telling]); at >= 0 {
			t.Errorf("%s has %d bytes or more of the key: %q", where, telling, text[max(0, at-100):min(len(text), at+100)])
			return
		}
	}
}

func parse(t testing.TB, args ...string) *config {
	t.Helper()
	cfg, err := parseFlags(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func env(name, value string) map[string]string { return map[string]string{name: value} }

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func symlink(t testing.TB, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t testing.TB, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}
