package e2e_test

import (
	"testing"
)

func TestReplicasRaiseOneAlert(t *testing.T) {
	t.Parallel()
	const alert = "FactorySeatLimitReached"
	org := newOrganization(t, 100)
	replicas := exporters{
		"a": startExporter(t, org, "--factory.seat-limit=150"),
		"b": startExporter(t, org, "--factory.seat-limit=150"),
	}
	pager := startPager(t, eachByItself)
	prometheus := startPrometheus(t, prometheusOptions{exporters: replicas, rules: impatientRules(t), alertmanager: pager.Process})
	prometheus.becomes(t, "count(count_over_time((factory_users == 100)[1m:1s]) >= 5) == 2")
	prometheus.holds(t, `absent(ALERTS{alertname="`+alert+`"})`) // there are seats for the members, though not for twice as many

	org.join(50)
	pager.pages(t, alert, "firing", 1)
	replicas["a"].Stop(t)
	prometheus.becomes(t, `up{instance="a"} == 0`)
	prometheus.becomes(t, `count_over_time(up{instance="a"}[5s]) - sum_over_time(up{instance="a"}[5s]) >= 4`) // long enough for an alert
	prometheus.holds(t, `ALERTS{alertname="`+alert+`", alertstate="firing"}`)                                 // the other replica is enough
	prometheus.holds(t, `absent(ALERTS{alertname="FactoryExporterDown"})`)
	prometheus.holds(t, `max_over_time(max(count by (alertname) (ALERTS{alertstate="firing"}))[1m:1s]) == 1`)
	if pages := pager.pages(t, alert, "firing", 1); len(pages) != 1 {
		t.Errorf("told %d times: %v", len(pages), pages)
	}
}
