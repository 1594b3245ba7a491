package server

import (
	"cmp"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/exporter-toolkit/web"

	"factory_exporter/collector"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// settings of an exporter. Their zero value will do.
type settings struct {
	members   int
	client    factoryapi.Config
	collector collector.Config
	server    Config
}

// exporter is a server on a network in memory, whose API is on another one.
type exporter struct {
	*Server
	api     *fakeapi.Server
	network *harness.Pipe
	logs    *harness.Log
}

func newExporter(t testing.TB, s settings) *exporter {
	t.Helper()
	e := newServer(t, s)
	e.network = harness.ServeWith(t, e.http)
	return e
}

// newServer returns an exporter that is not served yet.
func newServer(t testing.TB, s settings) *exporter {
	t.Helper()
	e := &exporter{
		api:  fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(s.members, 1, time.Now())...), harness.Key),
		logs: new(harness.Log),
	}
	requests := collector.NewRequestMetrics(false)
	s.client.Observe = requests.Observe
	s.collector.Logger = e.logs.Logger()
	s.collector.Schedule.ListingTimeout = cmp.Or(s.collector.Schedule.ListingTimeout, time.Hour)
	users := collector.New(harness.Client(t, e.api, s.client), s.collector)
	t.Cleanup(users.Close)
	e.Server = New(defaults(s.server), users, requests, e.logs.Logger())
	return e
}

// defaults fills in what a test leaves out as the flags do, but for the limit of answers.
func defaults(cfg Config) Config {
	if cfg.Web == nil {
		cfg.Web = &web.FlagConfig{WebListenAddresses: &[]string{"127.0.0.1:0"}, WebSystemdSocket: new(bool), WebConfigFile: new(string)}
	}
	cfg.TelemetryPath = cmp.Or(cfg.TelemetryPath, "/metrics")
	cfg.TimeoutOffset = cmp.Or(cfg.TimeoutOffset, 500*time.Millisecond)
	return cfg
}

// get sends a request on a connection of its own.
func get(t testing.TB, network *harness.Pipe, path string, header ...string) (status int, _ http.Header, body string) {
	t.Helper()
	return ask(t, network, http.MethodGet, path, header...)
}

func ask(t testing.TB, network *harness.Pipe, method, path string, header ...string) (status int, _ http.Header, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: network.DialContext, DisableKeepAlives: true, DisableCompression: true}}
	return harness.Fetch(t, client, method, "http://exporter"+path, header...)
}

// scrape returns what a scrape is answered, which must succeed.
func (e *exporter) scrape(t testing.TB, header ...string) harness.Samples {
	t.Helper()
	status, _, body := get(t, e.network, "/metrics", header...)
	if status != http.StatusOK {
		t.Errorf("scrape: status %d", status)
	}
	return harness.Parse(t, body)
}

const timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"

// scrapeRequest is a request for the metrics as it is on a connection.
const scrapeRequest = "GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n"

// connect opens a connection that is closed when the test ends.
func connect(t testing.TB, network *harness.Pipe) net.Conn {
	t.Helper()
	conn, err := network.DialContext(t.Context(), "tcp", "exporter:80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func write(t testing.TB, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}
