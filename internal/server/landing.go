package server

import (
	"fmt"
	"html"
	"net/http"
	"time"

	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"

	"factory_exporter/collector"
)

// newLandingPage tells what is served here and how the last listing went, and links to
// the other pages.
func newLandingPage(cfg Config, users *collector.Collector) http.Handler {
	description := "Prometheus exporter for the members of a Factory organization"
	if cfg.Demo {
		description = "Demo of the " + description + ": the organization is simulated"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, err := web.NewLandingPage(web.LandingConfig{
			Name:        "factory_exporter",
			Description: description,
			Version:     version.Info(),
			Profiling:   "false",
			Links: []web.LandingLinks{
				{Address: cfg.TelemetryPath, Text: "Metrics"},
				{Address: healthyPath, Text: "Healthy", Description: "the process runs"},
				{Address: readyPath, Text: "Ready", Description: "it answers scrapes"},
			},
			ExtraHTML: "<p>" + html.EscapeString(lastListing(users)) + "</p>",
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		page.ServeHTTP(w, r)
	})
}

// lastListing tells in a sentence how the listing that ended last went.
func lastListing(users *collector.Collector) string {
	at, failure, count := users.LastListing()
	ended := at.UTC().Format(time.RFC3339)
	switch {
	case at.IsZero():
		return "No listing of the members has ended yet. A scrape of the metrics starts one."
	case failure != "":
		return fmt.Sprintf("The last listing of the members failed at %s (%s). The log tells more.", ended, failure)
	default:
		return fmt.Sprintf("The last listing of the members ended at %s. Members found: %d.", ended, count)
	}
}
