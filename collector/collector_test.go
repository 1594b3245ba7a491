package collector_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"factory_exporter/collector"
	"factory_exporter/factoryapi"
	"factory_exporter/factoryapi/fakeapi"
	"factory_exporter/internal/harness"
)

func TestLogTellsOfAFailureOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &recorder{}
		f := newFixture(t, settings{
			members:   members("a"),
			client:    factoryapi.Config{RequestTimeout: 10 * time.Second},
			collector: collector.Config{Logger: log.logger()},
		})
		logged := 0
		for _, step := range []struct {
			name  string
			fault fakeapi.Behavior // nil: none
			level string           // of the one line; empty: none
			about string           // something in it
		}{
			{"works from the start", nil, "", ""},
			{"failures begin", fakeapi.Status(http.StatusUnauthorized), "ERROR", "401"},
			{"the same failure", fakeapi.Status(http.StatusUnauthorized), "", ""},
			{"the same failure in other words", fakeapi.Respond(http.StatusUnauthorized, "text/html", "<h1>Who are you?</h1>"), "", ""},
			{"another status", fakeapi.Status(http.StatusInternalServerError), "ERROR", "500"},
			{"a timeout", fakeapi.Hang(), "ERROR", "timeout"},
			{"the same timeout", fakeapi.HangInBody(), "", ""},
			{"an invalid response", fakeapi.CutJSON(), "ERROR", "invalid_response"},
			{"a broken connection", fakeapi.CutTransfer(), "ERROR", "connection"},
			{"the first failure again", fakeapi.Status(http.StatusUnauthorized), "", ""},
			{"a balancer in front of it: 502", fakeapi.Status(http.StatusBadGateway), "ERROR", "502"},
			{"503", fakeapi.Status(http.StatusServiceUnavailable), "ERROR", "503"},
			{"502 again", fakeapi.Status(http.StatusBadGateway), "", ""},
			{"works again", nil, "INFO", ""},
			{"still works", nil, "", ""},
			{"failures begin anew", fakeapi.Status(http.StatusUnauthorized), "ERROR", "401"},
			{"works again, too", nil, "INFO", ""},
		} {
			f.api.ClearFaults()
			if step.fault != nil {
				f.api.Inject(fakeapi.Fault{Serve: step.fault})
			}
			time.Sleep(time.Minute)
			f.scrape(t, t.Context())
			lines := log.told()[logged:]
			logged += len(lines)
			switch {
			case step.level == "" && len(lines) > 0:
				t.Errorf("%s: logs %q", step.name, lines)
			case step.level != "" && (len(lines) != 1 || !strings.HasPrefix(lines[0], step.level+" ") || !strings.Contains(lines[0], step.about)):
				t.Errorf("%s: logs %q, want one line of level %s about %q", step.name, lines, step.level, step.about)
			}
		}
	})
}

func TestAnAttributeInOtherLettersIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &recorder{}
		some := members("a", "b", "c")
		some[1].Metadata = map[string]string{"team": "web", "Site": "x", "ß": "y"}
		some[2].Metadata = map[string]string{"site": "x"}
		s := settings{members: some, collector: collector.Config{Logger: log.logger()}}
		s.collector.Census.GroupBy = harness.Attributes(t, "metadata.TEAM", "metadata.site", "metadata.none", "email_domain")
		f := newFixture(t, s)
		for range 3 {
			f.scrape(t, t.Context())
		}
		want := "WARN No member has this attribute of --collector.group-by, but members have one in other letters attribute=metadata.TEAM other=metadata.team"
		if lines := log.told(); len(lines) != 1 || lines[0] != want {
			t.Errorf("logs %q, want %q", lines, want)
		}
	})
}

func TestDescribeAndCollectAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if described, collected := descsOf(newFixture(t, everything(t))); !maps.Equal(described, collected) {
			t.Errorf("described %q, collected %q", slices.Sorted(maps.Keys(described)), slices.Sorted(maps.Keys(collected)))
		}
	})
}

// descsOf returns what a collector describes, and what it collects.
func descsOf(c prometheus.Collector) (described, collected map[string]bool) {
	described, collected = map[string]bool{}, map[string]bool{}
	descs := make(chan *prometheus.Desc)
	go func() { c.Describe(descs); close(descs) }()
	for d := range descs {
		described[d.String()] = true
	}
	metrics := make(chan prometheus.Metric)
	go func() { c.Collect(metrics); close(metrics) }()
	for m := range metrics {
		collected[m.Desc().String()] = true
	}
	return described, collected
}

func TestMetricsLint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { lint(t, newFixture(t, everything(t)).Collector) })
	lint(t, collector.NewRequestMetrics(true))
}
