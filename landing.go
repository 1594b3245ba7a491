package main

import (
	"embed"
	"fmt"
	"html"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"

	"factory_exporter/collector"
)

// docs are the documents of this very version, so that they are at hand wherever the
// exporter runs.
//
//go:embed docs/*.md alerts/README.md
var docs embed.FS

// Paths of the documents.
const (
	docsPath    = "/docs/"
	runbookPath = "/alerts/README.md"
)

// newLandingPage tells what is served here and how the last listing went, and links to
// the other pages and to the documents.
func newLandingPage(cfg pages, members *collector.Collector) http.Handler {
	description := "Prometheus exporter for the members of a Factory organization"
	if cfg.demo {
		description = "Demo of the " + description + ": the organization is simulated"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, err := web.NewLandingPage(web.LandingConfig{
			Name:        program,
			Description: description,
			Version:     version.Info(),
			Profiling:   "false",
			Links: []web.LandingLinks{
				{Address: cfg.telemetryPath, Text: "Metrics"},
				{Address: healthyPath, Text: "Healthy", Description: "the process runs"},
				{Address: readyPath, Text: "Ready", Description: "it answers scrapes"},
				{Address: docsPath + "metrics.md", Text: "Metrics explained"},
				{Address: docsPath + "configuration.md", Text: "Configuration"},
				{Address: docsPath + "operation.md", Text: "Operation", Description: "security, caching, troubleshooting"},
				{Address: runbookPath, Text: "Runbook", Description: "what each alert means"},
				{Address: docsPath, Text: "All documents"},
			},
			ExtraHTML: "<p>" + html.EscapeString(lastListing(members)) + "</p>",
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		page.ServeHTTP(w, r)
	})
}

// lastListing tells in a sentence how the listing that ended last went.
func lastListing(members *collector.Collector) string {
	last := members.LastListing()
	ended := last.Ended.UTC().Format(time.RFC3339)
	switch {
	case last.Ended.IsZero():
		return "No listing of the members has ended yet. A scrape of the metrics starts one."
	case last.Failure != "":
		return fmt.Sprintf("The last listing of the members failed at %s (%s). The log tells more.", ended, last.Failure)
	default:
		return fmt.Sprintf("The last listing of the members ended at %s. Members found: %d.", ended, last.Members)
	}
}

// serveDocs serves the documents as they are written.
func serveDocs() http.Handler {
	files := http.FileServerFS(docs)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".md") {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		}
		files.ServeHTTP(w, r)
	})
}
