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
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"

	"factory_exporter/collector"
)

const (
	healthyPath = "/-/healthy"
	readyPath   = "/-/ready"
	// writeTimeout is how long a client may take to read an answer.
	writeTimeout = time.Minute
)

// pages says how the exporter's pages behave.
type pages struct {
	telemetryPath          string
	timeoutOffset          time.Duration // taken off Prometheus's scrape timeout
	maxRequests            int           // scrapes at once; 0: no limit
	disableExporterMetrics bool
}

// newHandler routes the exporter's pages. The page of metrics shows what members
// count, the requests that this took, and the exporter itself.
func newHandler(cfg pages, members *collector.Collector, requests prometheus.Collector, logger *slog.Logger) (http.Handler, error) {
	exporter := prometheus.NewRegistry() // the series about the exporter itself
	exporter.MustRegister(versioncollector.NewCollector(program))
	options := promhttp.HandlerOpts{
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelError),
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
		scrape := prometheus.NewRegistry()
		scrape.MustRegister(members.Scrape(ctx), requests, exporter)
		_ = deadlines.SetWriteDeadline(time.Now().Add(writeTimeout))
		promhttp.HandlerFor(scrape, options).ServeHTTP(w, r)
	}))
	if cfg.maxRequests > 0 {
		metrics = limitRequests(metrics, cfg.maxRequests)
	}
	if !cfg.disableExporterMetrics {
		metrics = promhttp.InstrumentMetricHandler(exporter, metrics)
	}
	landing, err := web.NewLandingPage(web.LandingConfig{
		Name:        program,
		Description: "Prometheus exporter for the members of a Factory organization",
		Version:     version.Info(),
		Profiling:   "false",
		Links: []web.LandingLinks{
			{Address: cfg.telemetryPath, Text: "Metrics"},
			{Address: healthyPath, Text: "Healthy", Description: "the process runs"},
			{Address: readyPath, Text: "Ready", Description: "it answers scrapes"},
		},
	})
	if err != nil {
		return nil, err
	}

	mux := http.NewServeMux()
	mux.Handle("GET "+cfg.telemetryPath, metrics)
	mux.Handle("GET "+healthyPath, text("Healthy"))
	mux.Handle("GET "+readyPath, text("Ready"))
	mux.Handle("GET /", landing)
	return mux, nil
}

func text(line string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, line) })
}

// limitRequests answers 503 to requests beyond limit at once. The limit of
// promhttp belongs to one handler, and here every scrape has a handler of its own.
func limitRequests(next http.Handler, limit int) http.Handler {
	places := make(chan struct{}, limit)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			next.ServeHTTP(w, r)
		default:
			http.Error(w, fmt.Sprintf("%d scrapes are under way, which is the limit (--web.max-requests).", limit), http.StatusServiceUnavailable)
		}
	})
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
