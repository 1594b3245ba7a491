package process_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
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
	authority := newAuthority(t)
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			api := newAPI()
			protocols := make(chan string, 100)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				protocols <- r.Proto
				api.ServeHTTP(w, r)
			}))
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
			if scheme == "https" {
				server.EnableHTTP2 = true // which the exporter does not speak
				server.TLS = &tls.Config{Certificates: []tls.Certificate{authority.issue(t, "127.0.0.1")}}
				server.StartTLS()
			} else {
				server.Start()
			}
			t.Cleanup(server.Close)
			p := start(t, server.URL, []string{"SSL_CERT_FILE=" + authority.file},
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
			for range len(protocols) {
				if protocol := <-protocols; protocol != "HTTP/1.1" {
					t.Errorf("the API was asked with %s", protocol)
				}
			}
			if requests := elsewhere.Stats().Requests; requests != 0 {
				t.Errorf("the other host got %d requests", requests)
			}
			p.Stop(t)
			harness.CheckNoKey(t, "the log", p.Stderr.String(), harness.Key)
		})
	}
}

// What fails before HTTP begins gets its error from the network here, and recovers when
// the cause is mended.
func TestConnectionsThatFail(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
	api := newAPI()

	// withCertificate serves the API with a bad certificate until that is mended.
	withCertificate := func(bad tls.Certificate) func(*testing.T) (string, func()) {
		return func(t *testing.T) (string, func()) {
			var mended atomic.Bool
			server := httptest.NewUnstartedServer(api)
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
			server.TLS = &tls.Config{Certificates: []tls.Certificate{authority.issue(t, "127.0.0.1")}}
			server.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
				if mended.Load() {
					return nil, nil
				}
				return &tls.Config{Certificates: []tls.Certificate{bad}}, nil
			}
			server.StartTLS()
			t.Cleanup(server.Close)
			return server.URL, func() { mended.Store(true) }
		}
	}
	for _, test := range []struct {
		name  string
		serve func(*testing.T) (url string, mend func()) // mend is nil where that is in nobody's hands
		want  string                                     // in the log
	}{
		// A label of a name has 63 letters at most: no resolver needs to be asked, and
		// none is.
		{"a name that nobody can have", func(*testing.T) (string, func()) {
			return "https://" + strings.Repeat("a", 64) + ".invalid", nil
		}, "no such host"},
		{"a certificate of an unknown authority", withCertificate(newAuthority(t).issue(t, "127.0.0.1")), "x509"},
		{"a certificate of another host", withCertificate(authority.issue(t, "elsewhere.example")), "x509"},
		{"plain HTTP where TLS is expected", func(t *testing.T) (string, func()) {
			return "https" + strings.TrimPrefix(serve(t, api), "http"), nil
		}, "TLS handshake"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			url, mend := test.serve(t)
			p := start(t, url, []string{"SSL_CERT_FILE=" + authority.file}, "--factory.max-retries=1", "--log.level=debug")
			s := p.Scrape(t)
			checkNotListed(t, "at first", s)
			if s["factory_api_requests_total"] != 2 || s[`factory_api_errors_total{status="connection"}`] != 2 {
				t.Errorf("%g of %g requests failed to connect, want 2 of 2",
					s[`factory_api_errors_total{status="connection"}`], s["factory_api_requests_total"])
			}
			if mend != nil {
				mend()
				checkListed(t, "mended", p.Scrape(t))
			}
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
	authority := newAuthority(t)
	api := httptest.NewUnstartedServer(newAPI())
	api.TLS = &tls.Config{Certificates: []tls.Certificate{authority.issue(t, "api.factory.example")}}
	api.StartTLS()
	t.Cleanup(api.Close)

	var mu sync.Mutex
	var seen []string
	proxy := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, fmt.Sprint(r.Method, " ", r.Host, " ", r.Header))
		mu.Unlock()
		tunnel(w, api.Listener.Addr().String())
	}))
	p := start(t, "https://api.factory.example",
		[]string{"SSL_CERT_FILE=" + authority.file, "HTTPS_PROXY=" + proxy, "NO_PROXY=", "https_proxy=", "no_proxy="},
		"--factory.max-retries=0", "--factory.page-size=10")
	if s := p.Scrape(t); s["factory_up"] != 1 || s["factory_users"] != 40 || s["factory_api_requests_total"] != 4 {
		t.Errorf("factory_up is %g, factory_users is %g, in %g requests; want 1 and 40 in 4", s["factory_up"], s["factory_users"], s["factory_api_requests_total"])
	}
	p.Stop(t)
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 1 || !strings.HasPrefix(seen[0], "CONNECT api.factory.example:443 ") {
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
