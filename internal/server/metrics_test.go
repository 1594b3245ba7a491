package server

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"factory_exporter/collector"
	"factory_exporter/factoryapi"
	"factory_exporter/internal/harness"
)

func TestScrapeTimeout(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"10": 10 * time.Second, "10.000000": 10 * time.Second, "0.75": 750 * time.Millisecond, "1e1": 10 * time.Second, "31536000": 365 * 24 * time.Hour,
	} {
		if got, ok := scrapeTimeout(header); got != want || !ok {
			t.Errorf("scrapeTimeout(%q) = %s, %v; want %s", header, got, ok, want)
		}
	}
	for _, header := range []string{"31536001", "", "soon", "10s", " 10", "10,5", "0", "-0", "-10", "1e300", "1e400", "Inf", "-Inf", "NaN"} {
		if got, ok := scrapeTimeout(header); got != 0 || ok {
			t.Errorf("scrapeTimeout(%q) = %s, %v; want none", header, got, ok)
		}
	}
}

func TestScrapeWaitsAsLongAsItsHeaderSays(t *testing.T) {
	t.Parallel()
	const pages, listing = 7, 140 * time.Second // longer than any timeout of the server
	for _, test := range []struct {
		name, header string
		want         time.Duration
	}{
		{"whole seconds", "10", 9500 * time.Millisecond},
		{"longer than the server's timeouts", "110", 109500 * time.Millisecond},
		{"less than the offset", "0.4", 0},
		{"longer than the listing", "300", listing},
		{"none", "", listing},
		{"rubbish", "soon", listing},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newExporter(t, settings{members: 2 * pages, client: factoryapi.Config{PageSize: 2}, server: Config{MaxRequests: 40}})
				e.api.SetLatency(listing / pages)
				begin := time.Now()
				s := e.scrape(t, timeoutHeader, test.header)
				took := time.Since(begin)
				if took != test.want {
					t.Errorf("the answer came after %s, want %s", took, test.want)
				}
				want := harness.Samples{"factory_up": 0, "factory_users": harness.Absent, "factory_listing_in_progress": 1}
				if test.want == listing {
					want = harness.Samples{"factory_up": 1, "factory_users": 2 * pages, "factory_listing_in_progress": 0}
				}
				s.Check(t, "the scrape", want)

				// The listing goes on, and serves the next scrape.
				time.Sleep(listing - time.Second - took)
				e.api.SetLatency(time.Second / pages)
				e.scrape(t, timeoutHeader, "10").Check(t, "the next scrape", harness.Samples{"factory_up": 1, "factory_users": 2 * pages})
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
		e := newServer(t, settings{members: 3, client: factoryapi.Config{RequestTimeout: time.Hour}})
		e.api.SetLatency(latency)
		e.http.TLSConfig = &tls.Config{Certificates: certified.TLS.Certificates}
		transport := &http.Transport{
			DialContext:       harness.ServeWith(t, e.http).DialContext,
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
		harness.Parse(t, string(body)).Check(t, "the scrape", harness.Samples{"factory_users": 3})
	})
}

func TestScrapesThatWaitHoldNoPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const latency = 20 * time.Second
		e := newExporter(t, settings{members: 3, server: Config{MaxRequests: 2}})
		e.api.SetLatency(latency)
		var waiting sync.WaitGroup
		for range 100 {
			waiting.Go(func() {
				begin := time.Now()
				e.scrape(t).Check(t, "a scrape that waits", harness.Samples{"factory_up": 1})
				if took := time.Since(begin); took != latency {
					t.Errorf("a scrape that waits was answered after %s", took)
				}
			})
		}
		synctest.Wait()
		begin := time.Now()
		e.scrape(t, timeoutHeader, "10").Check(t, "with a deadline", harness.Samples{"factory_listing_in_progress": 1})
		if took := time.Since(begin); took != 9500*time.Millisecond {
			t.Errorf("the answer came after %s", took)
		}
		waiting.Wait() // all get their answers when the listing ends, two at a time
	})
}

// slowPage is a page of metrics whose answers take a while to make. They are numbered.
type slowPage struct {
	*exporter
	takes time.Duration
	fails bool // with a panic

	running                sync.WaitGroup
	mu                     sync.Mutex
	made, atOnce, mostOnce int
}

func newSlowPage(t *testing.T, maxRequests int, takes time.Duration) *slowPage {
	p := &slowPage{exporter: newServer(t, settings{members: 3, server: Config{MaxRequests: maxRequests}}), takes: takes}
	p.http.Handler = newMetricsPage(p.cfg, p.users, p.logger, func(prometheus.Collector) http.Handler { return http.HandlerFunc(p.make) })
	t.Cleanup(p.running.Wait)
	p.network = harness.ServeWith(t, p.http)
	return p
}

func (p *slowPage) make(w http.ResponseWriter, _ *http.Request) {
	p.running.Add(1)
	defer p.running.Done()
	p.mu.Lock()
	p.made++
	made := p.made
	p.atOnce++
	p.mostOnce = max(p.mostOnce, p.atOnce)
	p.mu.Unlock()
	time.Sleep(p.takes)
	p.mu.Lock()
	p.atOnce--
	p.mu.Unlock()
	if p.fails {
		panic("a bug")
	}
	w.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(w, "answer %d", made)
}

// A scrape must not show numbers that are older than its question.
func TestNoScrapeSharesAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSlowPage(t, 40, time.Second)
		var group sync.WaitGroup
		for i := range 5 {
			group.Go(func() {
				begin := time.Now()
				status, header, body := get(t, p.network, "/metrics")
				want := fmt.Sprintf("answer %d", i+1)
				if status != 200 || body != want || header.Get("Content-Type") != "text/plain" || header.Get("Content-Length") != fmt.Sprint(len(want)) {
					t.Errorf("status %d, header %v, %q, want %q", status, header, body, want)
				}
				if took := time.Since(begin); took != time.Duration(i+1)*time.Second {
					t.Errorf("%q came after %s", body, took)
				}
			})
			synctest.Wait()
		}
		group.Wait()
		if p.made != 5 || p.mostOnce != 1 {
			t.Errorf("%d answers were made, up to %d at once; want 5, one at a time", p.made, p.mostOnce)
		}
	})
}

func TestNothingIsMadeForClientsThatHaveGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSlowPage(t, 40, 3*time.Second)
		var conns []net.Conn
		for i := range 39 {
			conns = append(conns, connect(t, p.network))
			write(t, conns[i], fmt.Sprintf("GET /metrics?name[]=%d HTTP/1.1\r\nHost: exporter\r\n\r\n", i))
		}
		synctest.Wait()
		for _, conn := range conns {
			conn.Close()
		}
		synctest.Wait()
		begin := time.Now()
		status, _, body := get(t, p.network, "/metrics", timeoutHeader, "10")
		if took := time.Since(begin); status != 200 || body != "answer 2" || took != 6*time.Second {
			t.Errorf("status %d and %q after %s, want the second answer after the first, which was under way", status, body, took)
		}
	})
}

func TestScrapeThatFindsNoPlaceIsRefusedBeforeItsDeadline(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		maxRequests int
		header      string
		listing     time.Duration
		want        time.Duration
		says        string
	}{
		{"without a deadline", 1, "", 0, placeTimeout, "limit is 1 (--web.max-requests)"},
		{"long before the deadline", 1, "10", 0, placeTimeout, "limit is 1 (--web.max-requests)"},
		{"near the deadline", 1, "1.2", 0, 950 * time.Millisecond, "limit is 1 (--web.max-requests)"},
		{"at the deadline", 1, "0.1", 0, 0, "limit is 1 (--web.max-requests)"},
		{"after a listing that ended", 1, "", 20 * time.Second, 20*time.Second + placeTimeout, "limit is 1 (--web.max-requests)"},
		{"after a listing that goes on", 1, "10", time.Hour, 9750 * time.Millisecond, "limit is 1 (--web.max-requests)"},
		{"behind an answer that is being made", 2, "", 0, turnTimeout, "the turn of this one did not come in time"},
		{"behind an answer, with a deadline", 2, "5", 0, 4750 * time.Millisecond, "the turn of this one did not come in time"},
		{"behind an answer, without a limit", 0, "", 0, turnTimeout, "the turn of this one did not come in time"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newSlowPage(t, test.maxRequests, time.Minute)
				write(t, connect(t, p.network), scrapeRequest)
				synctest.Wait()
				p.api.SetLatency(test.listing)
				begin := time.Now()
				status, _, body := get(t, p.network, "/metrics", timeoutHeader, test.header)
				if took := time.Since(begin); status != http.StatusServiceUnavailable || took != test.want || !strings.Contains(body, test.says) {
					t.Errorf("status %d after %s, want a refusal after %s that says %q: %s", status, took, test.want, test.says, body)
				}
			})
		})
	}
}

func TestPanicWhileAnAnswerIsMadeFreesThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSlowPage(t, 1, 0)
		p.fails = true
		conn := connect(t, p.network)
		write(t, conn, scrapeRequest)
		if answer, err := io.ReadAll(conn); err != nil || len(answer) > 0 {
			t.Errorf("a panic is answered with %q, error %v", answer, err)
		}
		p.fails = false
		if status, _, body := get(t, p.network, "/metrics"); status != 200 || body != "answer 2" {
			t.Errorf("after it: status %d, %q", status, body)
		}
	})
}

// Whatever a client does instead of reading its answers, others get their places after
// ten seconds.
func TestUnreadAnswersGiveTheirPlacesBack(t *testing.T) {
	t.Parallel()
	const limit = 40 // the default
	for _, test := range []struct {
		name string
		ask  func(t *testing.T, dial func() net.Conn)
	}{
		{"nothing is read", func(t *testing.T, dial func() net.Conn) {
			for range limit + 5 {
				write(t, dial(), scrapeRequest)
			}
		}},
		{"a byte a second is read", func(t *testing.T, dial func() net.Conn) {
			var readers sync.WaitGroup
			t.Cleanup(readers.Wait) // after the connections were closed
			for range limit + 5 {
				conn := dial()
				write(t, conn, scrapeRequest)
				readers.Go(func() {
					var err error
					for one := make([]byte, 1); err == nil; _, err = conn.Read(one) {
						time.Sleep(time.Second)
					}
				})
			}
		}},
		{"one connection has all streams of HTTP/2, and no window", func(t *testing.T, dial func() net.Conn) {
			conn := dial()
			go func() { _, _ = io.Copy(io.Discard, conn) }() // the frames that need no window
			write(t, conn, http2.ClientPreface)
			var request bytes.Buffer
			encoder := hpack.NewEncoder(&request)
			frames := http2.NewFramer(conn, nil)
			errs := []error{frames.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})}
			for i := range uint32(limit + 5) {
				request.Reset()
				for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "exporter"}, {":path", "/metrics"}} {
					errs = append(errs, encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
				}
				errs = append(errs, frames.WriteHeaders(http2.HeadersFrameParam{
					StreamID: 2*i + 1, BlockFragment: request.Bytes(), EndHeaders: true, EndStream: true,
				}))
			}
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newServer(t, settings{members: 3, server: Config{MaxRequests: limit}})
				e.http.Protocols = new(http.Protocols)
				e.http.Protocols.SetHTTP1(true)
				e.http.Protocols.SetUnencryptedHTTP2(true)
				e.network = harness.ServeWith(t, e.http)
				scrape := func() (status int, body string, took time.Duration) {
					begin := time.Now()
					status, _, body = get(t, e.network, "/metrics")
					return status, body, time.Since(begin)
				}

				test.ask(t, func() net.Conn { return connect(t, e.network) })
				synctest.Wait()
				for range 3 {
					status, body, took := scrape()
					if status != http.StatusServiceUnavailable || took != placeTimeout || !strings.Contains(body, "--web.max-requests") {
						t.Errorf("while all places are taken, a scrape has status %d after %s: %s", status, took, body)
					}
				}
				time.Sleep(writeTimeout - 3*placeTimeout)
				synctest.Wait()
				// Five of them waited for a place, and were refused before any got free.
				if status, body, took := scrape(); status != http.StatusOK || took != 0 {
					t.Errorf("after %s, a scrape has status %d after %s: %s", writeTimeout, status, took, body)
				} else if refused := harness.Parse(t, body)[`promhttp_metric_handler_requests_total{code="503"}`]; refused < 3 {
					t.Errorf("promhttp_metric_handler_requests_total counts %g refusals", refused)
				}
				if refusals := strings.Count(e.logs.String(), "Refused a scrape"); refusals != 1 {
					t.Errorf("%d lines tell of refused scrapes:\n%s", refusals, e.logs.String())
				}
			})
		})
	}
}

func TestClientThatHangsUpIsOneDebugLineAtMost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		reads int // bytes of the answer
	}{
		{"before the answer", 0},
		{"in the middle of the answer", 1000},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newExporter(t, settings{members: 3, collector: collector.Config{Schedule: collector.Schedule{CacheTTL: time.Hour}}})
				e.scrape(t)
				e.api.SetLatency(time.Minute)
				e.logs.Reset()
				conn := connect(t, e.network)
				write(t, conn, scrapeRequest)
				if _, err := io.ReadFull(conn, make([]byte, test.reads)); err != nil {
					t.Fatal(err)
				}
				conn.Close()
				synctest.Wait()
				log := e.logs.String()
				if lines := strings.Count(log, "\n"); lines > 1 || lines != strings.Count(log, "level=DEBUG") {
					t.Errorf("it logs\n%s", log)
				}
			})
		})
	}
}

// Those who have gone before a listing ends are not answered, so they keep nobody
// waiting.
func TestScrapesOfClientsThatHaveGoneTakeNoPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newExporter(t, settings{members: 3, server: Config{MaxRequests: 1}})
		e.api.SetLatency(time.Second)
		for range 100 {
			conn := connect(t, e.network)
			write(t, conn, scrapeRequest)
			synctest.Wait()
			conn.Close()
		}
		e.logs.Reset()
		e.scrape(t)
		if log := e.logs.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "Listing complete") {
			t.Errorf("the log is\n%s", log)
		}
	})
}
