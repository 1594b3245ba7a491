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
		log := &harness.Lines{}
		f := newFixture(t, settings{
			members:   members("a"),
			client:    factoryapi.Config{RequestTimeout: 10 * time.Second},
			collector: collector.Config{Logger: log.Logger()},
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
			{"an invalid response", fakeapi.CutJSON(), "ERROR", "invalid_response"},
			{"a broken connection", fakeapi.CutTransfer(), "ERROR", "connection"},
			{"the first failure again", fakeapi.Status(http.StatusUnauthorized), "", ""},
			{"a balancer in front of it", fakeapi.Status(http.StatusBadGateway), "ERROR", "502"},
			{"works again", nil, "INFO", ""},
			{"failures begin anew", fakeapi.Status(http.StatusUnauthorized), "ERROR", "401"},
		} {
			f.api.ClearFaults()
			if step.fault != nil {
				f.api.Inject(fakeapi.Fault{Serve: step.fault})
			}
			time.Sleep(time.Minute)
			f.scrape(t, t.Context())
			lines := log.Told()[logged:]
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
		log := &harness.Lines{}
		some := members("a", "b", "c")
		some[1].Metadata = map[string]string{"team": "web", "Site": "x", "ß": "y"}
		some[2].Metadata = map[string]string{"site": "x"}
		s := settings{members: some, collector: collector.Config{Logger: log.Logger()}}
		s.collector.Census.GroupBy = harness.Attributes(t, "metadata.TEAM", "metadata.site", "metadata.none", "email_domain")
		f := newFixture(t, s)
		for range 3 {
			f.scrape(t, t.Context())
		}
		want := "WARN No member has this attribute of --collector.group-by, but members have one in other letters attribute=metadata.TEAM other=metadata.team"
		log.Check(t, want)
	})
}

func TestDescribeAndCollectAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sleepUntil(may31)
		s := working()
		s.members[0].LastSignInAt = s.members[0].CreatedAt
		s.collector.Census.GroupBy, s.collector.Census.PerUser = harness.Attributes(t, "email_domain"), true
		s.collector.SeatLimit = 12
		f := newFixture(t, s)
		f.afterReading(t)
		if described, collected := descsOf(f); !maps.Equal(described, collected) {
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
