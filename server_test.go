package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"factory_exporter/factoryapi/fakeapi"
)

func TestScrapesBeyondTheLimitAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	api := fakeapi.NewServer(fakeapi.NewOrganization(members(3, time.Now())...), testKey)
	api.Inject(fakeapi.Fault{Serve: func(w http.ResponseWriter, _ *http.Request, page []byte) {
		<-release
		_, _ = w.Write(page)
	}})
	p := start(t, withKey(t, "--web.max-requests=2", "--factory.url="+serveAPI(t, api))...)

	// Two wait for the API, which answers only when the third was refused.
	statuses := make(chan int)
	for range 3 {
		go func() {
			status, _, body := fetch(t, http.MethodGet, p.url+"/metrics")
			if status == http.StatusServiceUnavailable && !strings.Contains(body, "--web.max-requests") {
				t.Errorf("the refusal says %q", body)
			}
			statuses <- status
		}()
	}
	if status := <-statuses; status != http.StatusServiceUnavailable {
		t.Errorf("the first answer has status %d, want 503", status)
	}
	close(release)
	for range 2 {
		if status := <-statuses; status != http.StatusOK {
			t.Errorf("a scrape within the limit has status %d", status)
		}
	}
}

func TestFiveHundredScrapesAtOnceAreOneListing(t *testing.T) {
	t.Parallel()
	api := fakeapi.NewServer(fakeapi.NewOrganization(members(1_000, time.Now())...), testKey)
	p := start(t, withKey(t, "--web.max-requests=0", "--collector.cache-ttl=1h", "--factory.url="+serveAPI(t, api))...)
	var scrapes sync.WaitGroup
	for range 500 {
		scrapes.Go(func() {
			if users := p.scrape(t)["factory_users"]; users != 1_000 {
				t.Errorf("factory_users is %g", users)
			}
		})
	}
	scrapes.Wait()
	if stats := api.Stats(); stats.Requests != 10 || stats.MaxConcurrent != 1 {
		t.Errorf("the API had %d requests, %d at once; want 10, one at a time", stats.Requests, stats.MaxConcurrent)
	}
}

func TestScrapeWaitsAsLongAsItsHeaderSays(t *testing.T) {
	t.Parallel()
	const listing = 140 * time.Second // longer than any timeout of the server
	for _, test := range []struct {
		name, header string
		want         time.Duration
	}{
		{"whole seconds", "10", 9500 * time.Millisecond},
		{"a fraction", "10.250000", 9750 * time.Millisecond},
		{"longer than the server's timeouts", "110", 109500 * time.Millisecond},
		{"less than the offset", "0.4", 0},
		{"longer than the listing", "300", listing},
		{"none", "", listing},
		{"zero", "0", listing},
		{"negative", "-10", listing},
		{"rubbish", "soon", listing},
		{"not a number", "NaN", listing},
		{"without end", "Inf", listing},
		{"huge", "1e300", listing},
		{"with a comma", "1,5", listing},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				w.api.SetLatency(listing / matrixPages)
				begin := time.Now()
				_, _, body := fetchWith(t, w.exporter, http.MethodGet, "http://exporter/metrics", "X-Prometheus-Scrape-Timeout-Seconds", test.header)
				took := time.Since(begin)
				if took != test.want {
					t.Errorf("the answer came after %s, want %s", took, test.want)
				}
				ended := boolean01(test.want == listing)
				s := parseSamples(t, body)
				if _, ok := s["factory_users"]; s["factory_up"] != ended || s["factory_listing_in_progress"] != 1-ended || ok != (ended == 1) {
					t.Errorf("factory_up is %g, in progress %g, users there: %v", s["factory_up"], s["factory_listing_in_progress"], ok)
				}

				// The listing goes on, and serves the next scrape.
				time.Sleep(listing - time.Second - took)
				_, _, body = fetchWith(t, w.exporter, http.MethodGet, "http://exporter/metrics", "X-Prometheus-Scrape-Timeout-Seconds", "10")
				if s := parseSamples(t, body); s["factory_up"] != 1 || s["factory_users"] != matrixMembers {
					t.Errorf("the next scrape has factory_up %g and %g users, want 1 and %d", s["factory_up"], s["factory_users"], matrixMembers)
				}
			})
		})
	}
}

func TestScrapeOverHTTP2WaitsLongerThanTheServersTimeouts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const latency = 5 * time.Minute
		api := fakeapi.NewServer(fakeapi.NewOrganization(members(3, time.Now())...), testKey)
		api.SetLatency(latency)
		authority := newAuthority(t)
		server := exporterOf(t, api, "--factory.request-timeout=1h")
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{authority.issue(t, "exporter.example")}}
		transport := &http.Transport{
			DialContext:       servePipe(t, server).DialContext,
			TLSClientConfig:   &tls.Config{RootCAs: authority.pool()},
			ForceAttemptHTTP2: true,
		}
		t.Cleanup(transport.CloseIdleConnections)
		begin := time.Now()
		response, err := (&http.Client{Transport: transport}).Get("https://exporter.example/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if took := time.Since(begin); err != nil || took != latency || response.ProtoMajor != 2 {
			t.Errorf("the answer over %s came after %s with error %v, want HTTP/2 after %s", response.Proto, took, err, latency)
		}
		if users := parseSamples(t, string(body))["factory_users"]; users != 3 {
			t.Errorf("factory_users is %g, want 3", users)
		}
	})
}

func TestFiveHundredScrapesAtOnceMeetTheLimit(t *testing.T) {
	t.Parallel()
	const limit = 40 // the default
	api := fakeapi.NewServer(fakeapi.NewOrganization(members(3, time.Now())...), testKey)
	release := make(chan struct{})
	api.Inject(fakeapi.Fault{Times: 1, Serve: func(w http.ResponseWriter, _ *http.Request, page []byte) {
		<-release
		_, _ = w.Write(page)
	}})
	p := start(t, withKey(t, "--factory.url="+serveAPI(t, api))...)
	statuses := make(chan int)
	for range 500 {
		go func() {
			status, _, _ := fetch(t, http.MethodGet, p.url+"/metrics")
			statuses <- status
		}()
	}
	// As long as the API hangs, only refusals come back.
	for range 500 - limit {
		if status := <-statuses; status != http.StatusServiceUnavailable {
			t.Errorf("status %d before the listing ended, want 503", status)
		}
	}
	close(release)
	for range limit {
		if status := <-statuses; status != http.StatusOK {
			t.Errorf("status %d within the limit, want 200", status)
		}
	}
	s := p.scrape(t)
	if got := s[`promhttp_metric_handler_requests_total{code="503"}`]; got != 500-limit {
		t.Errorf("promhttp_metric_handler_requests_total counts %g refusals, want %d", got, 500-limit)
	}
}

// FuzzScrapeTimeout holds the arithmetic against one in floating point.
func FuzzScrapeTimeout(f *testing.F) {
	for _, header := range []string{"10", "0.25", "1e3", "0x1p-2", "-1", "0", "NaN", "Inf", "1e300", "31536000", "31536000.1", "1,5", " 1", "1_0", ""} {
		f.Add(header, int64(500*time.Millisecond))
	}
	f.Fuzz(func(t *testing.T, header string, nanoseconds int64) {
		if nanoseconds < 0 {
			return // flags have no negative durations
		}
		offset := time.Duration(nanoseconds)
		timeout, ok := scrapeTimeout(header, offset)
		seconds, err := strconv.ParseFloat(header, 64)
		usable := err == nil && seconds > 0 && seconds <= 365*24*60*60
		if ok != usable {
			t.Fatalf("ok is %t, want %t", ok, usable)
		}
		if want := max(0, seconds-offset.Seconds()); ok && math.Abs(timeout.Seconds()-want) > 1e-6 {
			t.Fatalf("timeout is %s, want %g s", timeout, want)
		}
	})
}

func TestOversizedRequestsAreRefused(t *testing.T) {
	t.Parallel()
	p := start(t, "--demo")
	headers := func(n int) string { return strings.Repeat("X-Padding: "+strings.Repeat("x", 1000)+"\r\n", n) }
	for _, test := range []struct {
		name         string
		path, header string
		want         int
	}{
		{"a header of 30 kB", "/metrics", "X-Padding: " + strings.Repeat("x", 30_000) + "\r\n", 200},
		{"a header of 40 kB", "/metrics", "X-Padding: " + strings.Repeat("x", 40_000) + "\r\n", 431},
		{"a header of 10 MB", "/metrics", "X-Padding: " + strings.Repeat("x", 10_000_000) + "\r\n", 431},
		{"30 headers of 1 kB", "/metrics", headers(30), 200},
		{"100 headers of 1 kB", "/metrics", headers(100), 431},
		{"a path of 40 kB", "/" + strings.Repeat("x", 40_000), "", 431},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				// The answer may come before all of it was wanted.
				_, _ = io.WriteString(conn, "GET "+test.path+" HTTP/1.1\r\nHost: exporter\r\n"+test.header+"\r\n")
			}()
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != test.want {
				t.Errorf("status %d, want %d", response.StatusCode, test.want)
			}
			conn.Close()
			<-sent
		})
	}
}

// Slow clients are tried on a network in memory with a clock that jumps, so that the limits are
// those of the program.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	const request = "GET /metrics HTTP/1.1\r\nHost: exporter\r\n"
	for _, test := range []struct {
		name   string
		sends  string
		reads  int // bytes that the client takes before it falls asleep
		within time.Duration
	}{
		{name: "that send nothing", within: 10 * time.Second},
		{name: "that never end the header", sends: request, within: 10 * time.Second},
		{name: "that never send the body", sends: strings.Replace(request, "GET", "POST", 1) + "Content-Length: 10\r\n\r\n", reads: 1 << 20, within: 20 * time.Second},
		{name: "that do not read the answer", sends: request + "\r\n", within: time.Minute},
		{name: "that read only its beginning", sends: request + "\r\n", reads: 100, within: time.Minute},
		{name: "that ask once and stay", sends: request + "\r\n", reads: 1 << 20, within: 5 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := fakeapi.NewServer(fakeapi.NewOrganization(members(100, time.Now())...), testKey)
				network := servePipe(t, exporterOf(t, api, "--collector.per-user", "--web.disable-exporter-metrics"))
				conn, err := network.DialContext(t.Context(), "tcp", "exporter:80")
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				begin := time.Now()
				if _, err := io.WriteString(conn, test.sends); err != nil {
					t.Fatal(err)
				}
				if test.reads > 0 { // as many, or all there is until the end of the connection
					_, _ = io.CopyN(io.Discard, conn, int64(test.reads))
				}
				if took := time.Since(begin); took > test.within {
					t.Fatalf("reading took %s", took)
				}
				time.Sleep(test.within + time.Second - time.Since(begin))
				if _, err := conn.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("after %s the connection is still open (%v)", time.Since(begin), err)
				}
			})
		})
	}
}

func TestSlowReaderHoldsItsPlaceForAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil, "--web.max-requests=1")
		conn, err := w.network.DialContext(t.Context(), "tcp", "exporter:80")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		status := func() int {
			status, _, _ := fetchWith(t, w.exporter, http.MethodGet, "http://exporter/metrics")
			return status
		}
		begin := time.Now()
		for err == nil { // a byte a second
			time.Sleep(time.Second)
			if time.Since(begin) == 59*time.Second && status() != http.StatusServiceUnavailable {
				t.Error("another scrape got its place")
			}
			_, err = conn.Read(make([]byte, 1))
		}
		if took := time.Since(begin); took < time.Minute || took > time.Minute+2*time.Second {
			t.Errorf("it was cut off after %s, want a minute", took)
		}
		synctest.Wait() // the place is free a moment after the connection has ended
		if got := status(); got != http.StatusOK {
			t.Errorf("afterwards a scrape has status %d", got)
		}
	})
}

func TestWebConfigurationTurnsOnTLSAndAuthentication(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
	dir := t.TempDir()
	serverCert := authority.issue(t, "127.0.0.1")
	for name, block := range map[string]*pem.Block{
		"ca.pem":   {Type: "CERTIFICATE", Bytes: authority.certificate.Raw},
		"cert.pem": {Type: "CERTIFICATE", Bytes: serverCert.Certificate[0]},
		"key.pem":  privateKey(t, serverCert),
	} {
		writeFile(t, filepath.Join(dir, name), string(pem.EncodeToMemory(block)))
	}
	const (
		tlsPart    = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"
		clientPart = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
		// The password is "open sesame", hashed with bcrypt.
		usersPart = "basic_auth_users:\n  prometheus: $2a$04$iQum9a1KM3Rvi6LBQoMup.1EJcNvTzaGf1XnFQF6ITraS/12JGka6\n"
	)
	client := func(certificates ...tls.Certificate) *http.Client {
		transport := &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: authority.pool(), Certificates: certificates},
			ForceAttemptHTTP2: true,
		}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	known := client(authority.issue(t, "prometheus"))
	expired := client(authority.issueUntil(t, time.Now().Add(-time.Hour), "prometheus"))
	stranger := client(newAuthority(t).issue(t, "prometheus"))

	for _, test := range []struct {
		name, config   string
		client         *http.Client
		user, password string
		status         int // 0: there is no connection
	}{
		{name: "TLS", config: tlsPart, client: client(), status: 200},
		{name: "TLS with a client certificate", config: tlsPart + clientPart, client: known, status: 200},
		{name: "TLS without the client certificate", config: tlsPart + clientPart, client: client()},
		{name: "TLS with a stranger's certificate", config: tlsPart + clientPart, client: stranger},
		{name: "TLS with an expired certificate", config: tlsPart + clientPart, client: expired},
		{name: "basic authentication", config: tlsPart + usersPart, client: client(), user: "prometheus", password: "open sesame", status: 200},
		{name: "wrong password", config: tlsPart + usersPart, client: client(), user: "prometheus", password: "open barley", status: 401},
		{name: "unknown user", config: tlsPart + usersPart, client: client(), user: "grafana", password: "open sesame", status: 401},
		{name: "no password", config: tlsPart + usersPart, client: client(), status: 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := filepath.Join(dir, strings.ReplaceAll(test.name, " ", "-")+".yml")
			writeFile(t, config, test.config)
			p := start(t, "--demo", "--web.config.file="+config)
			request, err := http.NewRequest(http.MethodGet, strings.Replace(p.url, "http:", "https:", 1)+"/metrics", nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.user != "" {
				request.SetBasicAuth(test.user, test.password)
			}
			response, err := test.client.Do(request)
			if test.status == 0 {
				if err == nil {
					response.Body.Close()
					t.Fatalf("there is an answer, with status %d", response.StatusCode)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != test.status || response.ProtoMajor != 2 {
				t.Errorf("status %d over %s, want %d over HTTP/2", response.StatusCode, response.Proto, test.status)
			}
			if got, want := strings.Contains(string(body), "factory_up 1"), test.status == 200; got != want {
				t.Errorf("there are numbers: %t, want %t", got, want)
			}
		})
	}

	t.Run("plain HTTP on the TLS port", func(t *testing.T) {
		config := filepath.Join(dir, "plain.yml")
		writeFile(t, config, tlsPart)
		p := start(t, "--demo", "--web.config.file="+config)
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d, want 400", response.StatusCode)
		}
	})
}

// exporterOf returns the server of an exporter whose API is on a network in memory.
func exporterOf(t *testing.T, api http.Handler, args ...string) *http.Server {
	t.Helper()
	cfg := parse(t, append(args, "--factory.url=http://localhost")...)
	transport := &http.Transport{DialContext: servePipe(t, &http.Server{Handler: api}).DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return newTestServer(t, cfg, transport, io.Discard)
}

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string // its certificate, as PEM
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "authority"},
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "authority.pem")
	writeFile(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return &authority{certificate, key, file}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// issue makes a certificate, for servers and for clients, that has these names or addresses.
func (a *authority) issue(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	return a.issueUntil(t, a.certificate.NotAfter, names...)
}

func (a *authority) issueUntil(t *testing.T, end time.Time, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "leaf"},
		NotAfter:     end,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func privateKey(t *testing.T, certificate tls.Certificate) *pem.Block {
	der, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return &pem.Block{Type: "PRIVATE KEY", Bytes: der}
}
