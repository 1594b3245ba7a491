package main

import (
	"crypto/tls"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"factory_exporter/factoryapi/fakeapi"
)

func TestPages(t *testing.T) {
	t.Parallel()
	server := fakeapi.NewServer(fakeapi.NewOrganization(), testKey)
	p := start(t, withKey(t, "--factory.url="+serveAPI(t, server))...)
	moved := start(t, withKey(t, "--factory.url="+serveAPI(t, server), "--web.telemetry-path=/seats/v1.metrics")...)
	for _, test := range []struct {
		exporter *exporter
		method   string
		path     string
		status   int
		want     string
	}{
		{p, "GET", "/", 200, `href="/metrics"`},
		{p, "GET", "/", 200, `href="/-/healthy"`},
		{p, "GET", "/", 200, `href="/-/ready"`},
		{p, "HEAD", "/", 200, ""},
		{p, "GET", "/-/healthy", 200, "Healthy\n"},
		{p, "HEAD", "/-/healthy", 200, ""},
		{p, "GET", "/-/ready", 200, "Ready\n"},
		{p, "GET", "/nothing", 404, ""},
		{p, "GET", "/metrics/", 404, ""},
		{p, "GET", "/metrics/more", 404, ""},
		{p, "GET", "/-/", 404, ""},
		{p, "GET", "/debug/pprof/", 404, ""},
		{p, "POST", "/", 405, ""},
		{p, "POST", "/metrics", 405, ""},
		{p, "PUT", "/-/healthy", 405, ""},
		{p, "DELETE", "/-/ready", 405, ""},
		{moved, "GET", "/", 200, `href="/seats/v1.metrics"`},
		{moved, "GET", "/metrics", 404, ""},
		{moved, "GET", "/-/healthy", 200, "Healthy\n"},
	} {
		status, _, body := fetch(t, test.method, test.exporter.url+test.path)
		if status != test.status || !strings.Contains(body, test.want) {
			t.Errorf("%s %s: status %d, want %d and %q in:\n%s", test.method, test.path, status, test.status, test.want, body)
		}
	}
	if requests := server.Stats().Requests; requests != 0 {
		t.Errorf("the pages made %d requests to the API", requests)
	}
	if status, _, body := fetch(t, "GET", moved.url+"/seats/v1.metrics"); status != 200 || !strings.Contains(body, "\nfactory_up 1\n") {
		t.Errorf("moved metrics: status %d\n%s", status, body)
	}
	if requests := server.Stats().Requests; requests != 1 {
		t.Errorf("one scrape made %d requests to the API, want 1", requests)
	}
}

func TestMetricsComeInTheFormatThatIsAskedFor(t *testing.T) {
	t.Parallel()
	now := time.Now()
	server := fakeapi.NewServer(fakeapi.NewOrganization(fakeapi.Generate(250, 1, now)...), testKey)
	p := start(t, withKey(t, "--factory.url="+serveAPI(t, server), "--factory.seat-limit=300", "--collector.group-by=email_domain")...)
	for _, test := range []struct {
		name        string
		header      []string
		contentType string
		encoding    string
	}{
		{"plain", []string{"Accept-Encoding", "identity"}, "text/plain; version=0.0.4", ""},
		{"gzip", []string{"Accept-Encoding", "gzip"}, "text/plain; version=0.0.4", "gzip"},
		{"unknown encoding", []string{"Accept-Encoding", "br"}, "text/plain; version=0.0.4", ""},
		{"OpenMetrics", []string{"Accept", "application/openmetrics-text;version=1.0.0", "Accept-Encoding", "identity"}, "application/openmetrics-text; version=1.0.0", ""},
		{"OpenMetrics, gzip", []string{"Accept", "application/openmetrics-text;version=1.0.0", "Accept-Encoding", "gzip"}, "application/openmetrics-text; version=1.0.0", "gzip"},
		{"as Prometheus asks", []string{"Accept", "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1", "Accept-Encoding", "gzip"}, "application/openmetrics-text; version=1.0.0", "gzip"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, header, body := fetch(t, "GET", p.url+"/metrics", test.header...)
			if status != 200 {
				t.Errorf("status %d", status)
			}
			if got := header.Get("Content-Type"); !strings.HasPrefix(got, test.contentType) {
				t.Errorf("content type %q, want %q", got, test.contentType)
			}
			if got := header.Get("Content-Encoding"); got != test.encoding {
				t.Errorf("content encoding %q, want %q", got, test.encoding)
			}
			if openMetrics := strings.HasPrefix(test.contentType, "application/openmetrics-text"); strings.HasSuffix(body, "\n# EOF\n") != openMetrics {
				t.Errorf("OpenMetrics is %v, the body ends with %q", openMetrics, body[max(0, len(body)-20):])
			} else if !openMetrics {
				parser := expfmt.NewTextParser(model.LegacyValidation)
				if _, err := parser.TextToMetricFamilies(strings.NewReader(body)); err != nil {
					t.Error(err)
				}
			}
			for _, want := range []string{"factory_users 250", "factory_seat_limit 300"} {
				if !regexp.MustCompile(`(?m)^` + want + `(\.0)?$`).MatchString(body) {
					t.Errorf("%q is missing in:\n%s", want, body)
				}
			}
		})
	}
}

func TestExporterMetricsCanBeLeftOut(t *testing.T) {
	t.Parallel()
	api := serveAPI(t, fakeapi.NewServer(fakeapi.NewOrganization(), testKey))
	own := regexp.MustCompile(`^(go|process|promhttp)_`)
	count := func(s samples) (exporters int) {
		for series := range s {
			if own.MatchString(series) {
				exporters++
			}
		}
		return exporters
	}
	with := start(t, withKey(t, "--factory.url="+api)...).scrape(t)
	without := start(t, withKey(t, "--factory.url="+api, "--web.disable-exporter-metrics")...).scrape(t)
	if count(with) == 0 || count(without) != 0 {
		t.Errorf("%d series of the exporter itself, and %d with the flag; want some and 0", count(with), count(without))
	}
	maps.DeleteFunc(with, func(series string, _ float64) bool { return own.MatchString(series) })
	if got, want := slices.Sorted(maps.Keys(without)), slices.Sorted(maps.Keys(with)); !slices.Equal(got, want) {
		t.Errorf("the other series differ:\n%q, want\n%q", got, want)
	}
}

func TestScrapeTimeout(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	for _, test := range []struct {
		header string
		offset time.Duration
		want   time.Duration
		ok     bool
	}{
		{"10", 500 * time.Millisecond, 9500 * time.Millisecond, true},
		{"10.000000", 500 * time.Millisecond, 9500 * time.Millisecond, true},
		{"0.75", 500 * time.Millisecond, 250 * time.Millisecond, true},
		{"10", 0, 10 * time.Second, true},
		{"1e1", time.Second, 9 * time.Second, true},
		{"0.5", 500 * time.Millisecond, 0, true},
		{"0.1", 500 * time.Millisecond, 0, true},
		{"31536000", 0, year, true},
		{"31536001", 0, 0, false},
		{"", 0, 0, false},
		{"soon", 0, 0, false},
		{"10s", 0, 0, false},
		{" 10", 0, 0, false},
		{"10,5", 0, 0, false},
		{"0", 0, 0, false},
		{"-0", 0, 0, false},
		{"-10", 0, 0, false},
		{"1e300", 0, 0, false},
		{"1e400", 0, 0, false},
		{"Inf", 0, 0, false},
		{"-Inf", 0, 0, false},
		{"NaN", 0, 0, false},
	} {
		if got, ok := scrapeTimeout(test.header, test.offset); got != test.want || ok != test.ok {
			t.Errorf("scrapeTimeout(%q, %s) = %s, %v; want %s, %v", test.header, test.offset, got, ok, test.want, test.ok)
		}
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
				w := newWorld(t)
				w.api.SetLatency(listing / matrixPages)
				begin := time.Now()
				s := w.scrape(t, "X-Prometheus-Scrape-Timeout-Seconds", test.header)
				took := time.Since(begin)
				if took != test.want {
					t.Errorf("the answer came after %s, want %s", took, test.want)
				}
				ended := boolean01(test.want == listing)
				if _, ok := s["factory_users"]; s["factory_up"] != ended || s["factory_listing_in_progress"] != 1-ended || ok != (ended == 1) {
					t.Errorf("factory_up is %g, in progress %g, users there: %v", s["factory_up"], s["factory_listing_in_progress"], ok)
				}

				// The listing goes on, and serves the next scrape.
				time.Sleep(listing - time.Second - took)
				if s := w.scrape(t, "X-Prometheus-Scrape-Timeout-Seconds", "10"); s["factory_up"] != 1 || s["factory_users"] != matrixMembers {
					t.Errorf("the next scrape has factory_up %g and %g users, want 1 and %d", s["factory_up"], s["factory_users"], matrixMembers)
				}
			})
		})
	}
}

func TestScrapeOverHTTP2WaitsLongerThanTheServersTimeouts(t *testing.T) {
	t.Parallel()
	certified := httptest.NewTLSServer(nil) // for its certificate, which is for example.com
	certified.Close()
	synctest.Test(t, func(t *testing.T) {
		const latency = 5 * time.Minute
		api := fakeapi.NewServer(fakeapi.NewOrganization(members(3, time.Now())...), testKey)
		api.SetLatency(latency)
		server := exporterOf(t, api, "--factory.request-timeout=1h")
		server.TLSConfig = &tls.Config{Certificates: certified.TLS.Certificates}
		transport := &http.Transport{
			DialContext:       servePipe(t, server).DialContext,
			TLSClientConfig:   &tls.Config{RootCAs: certified.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs},
			ForceAttemptHTTP2: true,
		}
		t.Cleanup(transport.CloseIdleConnections)
		begin := time.Now()
		response, err := (&http.Client{Transport: transport}).Get("https://example.com/metrics")
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
