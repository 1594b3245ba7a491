package collector_test

import (
	"maps"
	"net/http"
	"slices"
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
		log := new(harness.Log)
		f := newFixture(t, settings{
			members:   members("a"),
			client:    factoryapi.Config{RequestTimeout: 10 * time.Second},
			collector: collector.Config{Logger: log.Logger()},
		})
		fails := func(reason string) []string {
			return []string{`level=ERROR msg="Cannot list the members; this reason is logged once" err="` + reason}
		}
		for _, step := range []struct {
			name  string
			fault fakeapi.Behavior // nil: none
			lines []string
		}{
			{"works from the start", nil, nil},
			{"failures begin", fakeapi.Status(http.StatusUnauthorized), fails("HTTP 401")},
			{"the same failure", fakeapi.Status(http.StatusUnauthorized), nil},
			{"the same failure in other words", fakeapi.Respond(http.StatusUnauthorized, "text/html", "<h1>Who are you?</h1>"), nil},
			{"another status", fakeapi.Status(http.StatusInternalServerError), fails("HTTP 500")},
			{"a timeout", fakeapi.Hang(), fails("timeout: ")},
			{"an invalid response", fakeapi.CutJSON(), fails("invalid_response: ")},
			{"a broken connection", fakeapi.CutTransfer(), fails("connection: ")},
			{"the first failure again", fakeapi.Status(http.StatusUnauthorized), nil},
			{"a balancer in front of it", fakeapi.Status(http.StatusBadGateway), fails("HTTP 502")},
			{"works again", nil, []string{`level=INFO msg="Listing the members works again"`}},
			{"failures begin anew", fakeapi.Status(http.StatusUnauthorized), fails("HTTP 401")},
		} {
			log.Reset()
			f.api.ClearFaults()
			if step.fault != nil {
				f.api.Inject(fakeapi.Fault{Serve: step.fault})
			}
			time.Sleep(time.Minute)
			f.scrape(t, t.Context())
			t.Log(step.name)
			log.Check(t, step.lines...)
		}
	})
}

func TestAnAttributeInOtherLettersIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(harness.Log)
		some := members("a", "b", "c")
		some[1].Metadata = map[string]string{"team": "web", "Site": "x", "ß": "y"}
		some[2].Metadata = map[string]string{"site": "x"}
		s := settings{members: some, collector: collector.Config{Logger: log.Logger()}}
		s.collector.Census.GroupBy = harness.Attributes(t, "metadata.TEAM", "metadata.site", "metadata.none", "email_domain")
		f := newFixture(t, s)
		for range 3 {
			f.scrape(t, t.Context())
		}
		log.Check(t, `level=WARN msg="No member has this attribute of --collector.group-by, but members have one in other letters" attribute=metadata.TEAM other=metadata.team`)
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
