package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"factory_exporter/factoryapi/fakeapi"
)

func TestScrapesThatWaitHoldNoPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const hang = matrixPages * 3 * time.Second
		w := newWorld(t, "--web.max-requests=2")
		w.api.SetLatency(hang / matrixPages)
		var waiting sync.WaitGroup
		for range 100 {
			waiting.Go(func() {
				begin := time.Now()
				body := w.scrapeText(t)
				if took := time.Since(begin); took != hang || !strings.Contains(body, "\nfactory_up 1\n") {
					t.Errorf("a scrape that waits was answered after %s", took)
				}
			})
		}
		synctest.Wait()
		begin := time.Now()
		s := w.scrape(t, "X-Prometheus-Scrape-Timeout-Seconds", "10")
		if took := time.Since(begin); took != 9500*time.Millisecond || s["factory_listing_in_progress"] != 1 {
			t.Errorf("the answer came after %s, with factory_listing_in_progress %g", took, s["factory_listing_in_progress"])
		}
		waiting.Wait() // all get their answers when the listing ends, two at a time
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
			err := frames.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			for i := range uint32(limit + 5) {
				request.Reset()
				for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "exporter"}, {":path", "/metrics"}} {
					err = firstOf(err, encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
				}
				err = firstOf(err, frames.WriteHeaders(http2.HeadersFrameParam{
					StreamID: 2*i + 1, BlockFragment: request.Bytes(), EndHeaders: true, EndStream: true,
				}))
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var logs output
				api := fakeapi.NewServer(fakeapi.NewOrganization(members(3, time.Now())...), testKey)
				pipe := servePipe(t, &http.Server{Handler: api})
				transport := &http.Transport{DialContext: pipe.DialContext}
				defer transport.CloseIdleConnections()
				cfg := parse(t, "--factory.url=http://localhost")
				server := newTestServer(t, cfg, transport, &logs)
				server.Protocols = new(http.Protocols)
				server.Protocols.SetHTTP1(true)
				server.Protocols.SetUnencryptedHTTP2(true)
				network := servePipe(t, server)
				client := &http.Client{Transport: &http.Transport{DialContext: network.DialContext, DisableKeepAlives: true}}
				scrape := func() (status int, body string, took time.Duration) {
					begin := time.Now()
					status, _, body = fetchWith(t, client, http.MethodGet, "http://exporter/metrics")
					return status, body, time.Since(begin)
				}

				test.ask(t, func() net.Conn {
					conn, err := network.DialContext(t.Context(), "tcp", "exporter:80")
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { conn.Close() })
					return conn
				})
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
				} else if refused := parseSamples(t, body)[`promhttp_metric_handler_requests_total{code="503"}`]; refused < 3 {
					t.Errorf("promhttp_metric_handler_requests_total counts %g refusals", refused)
				}
				if refusals := strings.Count(logs.String(), "Refused a scrape"); refusals != 1 {
					t.Errorf("%d lines tell of refused scrapes:\n%s", refusals, logs.String())
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
				w := newWorld(t, "--collector.cache-ttl=1h")
				w.scrape(t)
				w.api.SetLatency(time.Minute)
				before := len(w.logs.String())
				conn, err := w.network.DialContext(t.Context(), "tcp", "exporter:80")
				if err != nil {
					t.Fatal(err)
				}
				write(t, conn, scrapeRequest)
				if _, err := io.ReadFull(conn, make([]byte, test.reads)); err != nil {
					t.Fatal(err)
				}
				conn.Close()
				synctest.Wait()
				log := w.logs.String()[before:]
				if lines := strings.Count(log, "\n"); lines > 1 || lines != strings.Count(log, "level=debug") {
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
		w := newWorld(t, "--web.max-requests=1")
		w.api.SetLatency(time.Second)
		for range 100 {
			conn, err := w.network.DialContext(t.Context(), "tcp", "exporter:80")
			if err != nil {
				t.Fatal(err)
			}
			write(t, conn, scrapeRequest)
			synctest.Wait()
			conn.Close()
		}
		before := strings.Count(w.logs.String(), "\n")
		w.scrape(t)
		if log := w.logs.String(); strings.Count(log, "\n") != before+1 || !strings.Contains(log, "Listing complete") {
			t.Errorf("the log is\n%s", log)
		}
	})
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
