// Package server serves the exporter's pages.
package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"factory_exporter/collector"
)

const (
	landingPath = "/"
	healthyPath = "/-/healthy"
	readyPath   = "/-/ready"
)

// IsPage reports whether a page other than the metrics has this path.
func IsPage(path string) bool {
	return path == landingPath || path == healthyPath || path == readyPath
}

// newHandler routes the exporter's pages. The page of metrics shows what users counts, the
// requests that this took, and the exporter itself.
func newHandler(cfg Config, users *collector.Collector, requests prometheus.Collector, logger *slog.Logger) http.Handler {
	exporter := prometheus.NewRegistry() // the series about the exporter itself
	exporter.MustRegister(versioncollector.NewCollector("factory_exporter"))
	options := promhttp.HandlerOpts{
		ErrorLog:          lineLogger(func(line string) { logger.Error("Cannot show all metrics", "err", line) }),
		ErrorHandling:     promhttp.ContinueOnError,
		EnableOpenMetrics: true,
	}
	if !cfg.DisableExporterMetrics {
		exporter.MustRegister(
			// The usual memory statistics have a gauge and a counter of one name, which
			// OpenMetrics forbids: go_memstats_alloc_bytes.
			collectors.NewGoCollector(collectors.WithGoCollectorMemStatsMetricsDisabled(),
				collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsMemory, collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/gc/heap/(goal|live):bytes$`)})),
			collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		)
		options.Registry = exporter
	}
	metrics := http.Handler(newMetricsPage(cfg, users, logger, func(scrape prometheus.Collector) http.Handler {
		all := prometheus.NewRegistry()
		all.MustRegister(scrape, requests, exporter)
		return promhttp.HandlerFor(all, options)
	}))
	metrics = withoutWeights(metrics)
	if !cfg.DisableExporterMetrics {
		metrics = promhttp.InstrumentMetricHandler(exporter, metrics)
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+cfg.TelemetryPath, metrics)
	mux.Handle("GET "+healthyPath, text("Healthy"))
	mux.Handle("GET "+readyPath, text("Ready"))
	mux.Handle("GET "+landingPath, newLandingPage(cfg, users))
	return mux
}

func text(line string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, line) })
}

// withoutWeights takes the encodings that a client weighs, as in gzip;q=0, for none: if one
// of them is refused, promhttp logs an error.
func withoutWeights(metrics http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const name = "Accept-Encoding"
		if strings.Contains(strings.Join(r.Header.Values(name), ","), ";") {
			r = r.Clone(r.Context())
			r.Header.Del(name)
		}
		metrics.ServeHTTP(w, r)
	})
}
