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

func TestUnusableScrapeTimeoutsWaitForTheListing(t *testing.T) {
	t.Parallel()
	api := fakeapi.NewServer(fakeapi.NewOrganization(members(3, time.Now())...), testKey)
	api.SetLatency(50 * time.Millisecond)
	p := start(t, withKey(t, "--factory.url="+serveAPI(t, api))...)
	for _, header := range []string{"rubbish", "-1", "0", "NaN", "Inf", "1e300", "1,5"} {
		if s := p.scrape(t, "X-Prometheus-Scrape-Timeout-Seconds", header); s["factory_listing_in_progress"] != 0 || s["factory_users"] != 3 {
			t.Errorf("%q: the answer did not wait for the listing", header)
		}
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

func TestOversizedHeadersAreRefused(t *testing.T) {
	t.Parallel()
	p := start(t, "--demo")
	status, _, _ := fetch(t, http.MethodGet, p.url+"/metrics", "X-Padding", strings.Repeat("x", 64<<10))
	if status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d, want 431", status)
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
				cfg := parse(t, "--factory.url=http://localhost", "--collector.per-user", "--web.disable-exporter-metrics")
				apiPipe := servePipe(t, &http.Server{Handler: api})
				toAPI := &http.Transport{DialContext: apiPipe.DialContext}
				t.Cleanup(toAPI.CloseIdleConnections)
				cfg.client.Transport = toAPI
				exporter := serveExporter(t, cfg, io.Discard)

				conn, err := exporter.Transport.(*http.Transport).DialContext(t.Context(), "tcp", "exporter:80")
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

func TestWebConfigurationTurnsOnTLSAndAuthentication(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
	dir := t.TempDir()
	serverCert := authority.issue(t, x509.ExtKeyUsageServerAuth)
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
	trust := x509.NewCertPool()
	trust.AddCert(authority.certificate)
	client := func(certificates ...tls.Certificate) *http.Client {
		transport := &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: trust, Certificates: certificates},
			ForceAttemptHTTP2: true,
		}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	known := client(authority.issue(t, x509.ExtKeyUsageClientAuth))
	stranger := client(newAuthority(t).issue(t, x509.ExtKeyUsageClientAuth))

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

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
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
	return &authority{certificate, key}
}

// issue makes a certificate for 127.0.0.1.
func (a *authority) issue(t *testing.T, usage x509.ExtKeyUsage) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "leaf"},
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage:  []x509.ExtKeyUsage{usage},
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
