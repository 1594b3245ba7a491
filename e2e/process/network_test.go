package process_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

// A listing has one page here, and no retries.
func TestFaultsOnTheNetwork(t *testing.T) {
	t.Parallel()
	const patience = 2 * time.Second
	elsewhere := newAPI()
	elsewhereURL := serve(t, elsewhere)
	rows := []struct {
		name   string
		serve  fakeapi.Behavior
		status string
		takes  time.Duration
	}{
		{"a redirect to another host", fakeapi.Status(307, "Location", elsewhereURL+fakeapi.UsersPath+"?key="+harness.Key), "307", 0},
		{"a reset", fakeapi.Reset(), "connection", 0},
		{"a transfer cut half way", fakeapi.CutTransfer(), "connection", 0},
		// No endless body: reading as much of it as the exporter takes would be a matter
		// of the machine.
		{"a hang inside the body", fakeapi.HangInBody(), "timeout", patience},
	}
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			api := newAPI()
			url, trust := "", ""
			if scheme == "http" {
				url = serve(t, api)
			} else {
				var server *httptest.Server
				server, trust = serveTLS(t, api)
				url = server.URL
			}
			p := start(t, url, []string{trust},
				"--factory.max-retries=0", "--factory.request-timeout="+patience.String(), "--collector.max-stale=0s", "--log.level=debug")
			last := p.Scrape(t)
			checkListed(t, "at first", last)
			for _, row := range rows {
				api.Inject(fakeapi.Fault{Serve: row.serve})
				begin := time.Now()
				failed := p.Scrape(t)
				took := time.Since(begin)
				checkNotListed(t, row.name, failed)
				errs := `factory_api_errors_total{status="` + row.status + `"}`
				failed.Check(t, row.name, harness.Samples{"factory_api_requests_total": last["factory_api_requests_total"] + 1, errs: last[errs] + 1})
				if most := row.takes + 10*time.Second; took < row.takes || took > most {
					t.Errorf("%s: it took %s, want %s to %s", row.name, took, row.takes, most)
				}
				api.ClearFaults()
				last = p.Scrape(t)
				checkListed(t, row.name+", afterwards", last)
			}
			if requests := elsewhere.Stats().Requests; requests != 0 {
				t.Errorf("the other host got %d requests", requests)
			}
			p.Stop(t)
			harness.CheckNoKey(t, "the log", p.Stderr.String(), harness.Key)
		})
	}
}

// What fails before HTTP begins gets its error from the network here.
func TestConnectionsThatFail(t *testing.T) {
	t.Parallel()
	api := newAPI()
	server, trust := serveTLS(t, api)
	for _, test := range []struct{ name, url, trust, want string }{
		// A label of a name has 63 letters at most: no resolver needs to be asked, and
		// none is.
		{"a name that nobody can have", "https://" + strings.Repeat("a", 64) + ".invalid", trust, "no such host"},
		{"a certificate of an unknown authority", server.URL, "", "x509"},
		{"a certificate of another host", strings.Replace(server.URL, "127.0.0.1", "localhost", 1), trust, "x509"},
		{"plain HTTP where TLS is expected", strings.Replace(serve(t, api), "http:", "https:", 1), trust, "TLS handshake"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, test.url, []string{test.trust}, "--factory.max-retries=1", "--log.level=debug")
			s := p.Scrape(t)
			checkNotListed(t, "the scrape", s)
			s.Check(t, "the scrape", harness.Samples{"factory_api_requests_total": 2, `factory_api_errors_total{status="connection"}`: 2})
			p.Stop(t)
			if log := p.Stderr.String(); !strings.Contains(log, test.want) {
				t.Errorf("the log lacks %q:\n%s", test.want, log)
			}
			harness.CheckNoKey(t, "the log", p.Stderr.String(), harness.Key)
		})
	}
}

func TestProxyDoesNotSeeTheKey(t *testing.T) {
	t.Parallel()
	api, trust := serveTLS(t, newAPI())
	var mu sync.Mutex
	var seen []string
	proxy := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, fmt.Sprint(r.Method, " ", r.Host, " ", r.Header))
		mu.Unlock()
		tunnel(w, api.Listener.Addr().String())
	}))
	p := start(t, "https://api.example.com",
		[]string{trust, "HTTPS_PROXY=" + proxy, "NO_PROXY=", "https_proxy=", "no_proxy="},
		"--factory.max-retries=0", "--factory.page-size=10")
	p.Scrape(t).Check(t, "by the proxy", harness.Samples{"factory_up": 1, "factory_users": 40, "factory_api_requests_total": 4})
	p.Stop(t)
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 1 || !strings.HasPrefix(seen[0], "CONNECT api.example.com:443 ") {
		t.Errorf("the proxy was asked %q, want one CONNECT for the whole listing", seen)
	}
	harness.CheckNoKey(t, "the proxy", strings.Join(seen, "\n"), harness.Key)
}

// tunnel answers a CONNECT by connecting the client with an address.
func tunnel(w http.ResponseWriter, address string) {
	server, err := net.Dial("tcp", address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n") // if this fails, so do the copies
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(server, buffered)
		server.Close()
	})
	both.Go(func() {
		_, _ = io.Copy(client, server)
		client.Close()
	})
	both.Wait()
}
