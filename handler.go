package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"factory_exporter/collector"
)

const (
	healthyPath = "/-/healthy"
	readyPath   = "/-/ready"
	// writeTimeout is how long a client may take to read an answer.
	writeTimeout = 10 * time.Second
	// placeTimeout is how long a scrape waits for a place, so that many scrapes that
	// waited for one listing need not be refused when it ends.
	placeTimeout = time.Second
)

// pages says how the exporter's pages behave.
type pages struct {
	telemetryPath          string
	timeoutOffset          time.Duration // taken off Prometheus's scrape timeout
	maxRequests            int           // answers made or read at once; 0: no limit
	disableExporterMetrics bool
	demo                   bool // what is listed is simulated
}

// newHandler routes the exporter's pages. The page of metrics shows what members
// count, the requests that this took, and the exporter itself.
func newHandler(cfg pages, members *collector.Collector, requests prometheus.Collector, logger *slog.Logger) http.Handler {
	exporter := prometheus.NewRegistry() // the series about the exporter itself
	exporter.MustRegister(versioncollector.NewCollector(program))
	logger = onceAMinute(logger)
	options := promhttp.HandlerOpts{
		ErrorLog:          lineLogger(func(line string) { logger.Error("Cannot show all metrics", "err", line) }),
		ErrorHandling:     promhttp.ContinueOnError,
		EnableOpenMetrics: true,
	}
	if !cfg.disableExporterMetrics {
		exporter.MustRegister(
			collectors.NewGoCollector(),
			collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		)
		options.Registry = exporter
	}
	answers := newAnswers(func(scrape prometheus.Collector, w http.ResponseWriter, r *http.Request) {
		all := prometheus.NewRegistry()
		all.MustRegister(scrape, requests, exporter)
		promhttp.HandlerFor(all, options).ServeHTTP(w, r)
	})
	places := newPlaces(cfg.maxRequests)

	metrics := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The wait may outlast the server's write timeout, so that timeout begins
		// when there is something to write. A writer without deadlines needs none.
		deadlines := http.NewResponseController(w)
		_ = deadlines.SetWriteDeadline(time.Time{})
		ctx := r.Context()
		if timeout, ok := scrapeTimeout(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), cfg.timeoutOffset); ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		scrape := members.Scrape(ctx)
		refused := !places.take(r.Context())
		if !refused {
			defer places.free()
		}
		if r.Context().Err() != nil {
			return // the client has gone
		}
		if refused {
			logger.Error("Refused a scrape, because clients are reading as many answers as --web.max-requests allows", "limit", cfg.maxRequests)
			_ = deadlines.SetWriteDeadline(time.Now().Add(writeTimeout))
			http.Error(w, fmt.Sprintf("%d answers are being read, which is the limit (--web.max-requests).", cfg.maxRequests), http.StatusServiceUnavailable)
			return
		}
		answer := answers.get(scrape, r)
		if answer == nil {
			return
		}
		_ = deadlines.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err := answer.send(w); err != nil {
			logger.Debug("A client did not read the answer to its scrape", "err", err)
		}
	}))
	if !cfg.disableExporterMetrics {
		metrics = promhttp.InstrumentMetricHandler(exporter, metrics)
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+cfg.telemetryPath, metrics)
	mux.Handle("GET "+healthyPath, text("Healthy"))
	mux.Handle("GET "+readyPath, text("Ready"))
	mux.Handle("GET "+docsPath, serveDocs())
	mux.Handle("GET "+runbookPath, serveDocs())
	mux.Handle("GET /", newLandingPage(cfg, members))
	return mux
}

func text(line string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, line) })
}

// places are those of the answers that are being made or read. A nil channel has no
// limit.
type places chan struct{}

func newPlaces(limit int) places {
	if limit == 0 {
		return nil
	}
	return make(places, limit)
}

// take takes a place. It is not ok if there is none for a while, or ctx ends.
func (p places) take(ctx context.Context) (ok bool) {
	if p == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, placeTimeout)
	defer cancel()
	select {
	case p <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// free gives a place back that was taken.
func (p places) free() {
	if p != nil {
		<-p
	}
}

// maxScrapeTimeout is the longest scrape timeout that the exporter believes. It is
// far longer than any real one, and far from an overflow.
const maxScrapeTimeout = 365 * 24 * time.Hour

// scrapeTimeout returns how long a scrape may wait, given Prometheus's header and
// the time to leave for sending the answer. It is not ok without a usable header.
func scrapeTimeout(header string, offset time.Duration) (timeout time.Duration, ok bool) {
	seconds, err := strconv.ParseFloat(header, 64)
	if err != nil || !(seconds > 0) || seconds > maxScrapeTimeout.Seconds() {
		return 0, false
	}
	return max(0, time.Duration(seconds*float64(time.Second))-offset), true
}
