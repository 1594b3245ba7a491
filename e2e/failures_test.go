package e2e_test

import (
	"net/http"
	"testing"

	"factory_exporter/factoryapi/fakeapi"
)

func TestRestartLosesNothingButTheCounters(t *testing.T) {
	t.Parallel()
	org := newOrganization(t, 120)
	exporter := startExporter(t, org)
	prometheus := startPrometheus(t, prometheusOptions{exporters: exporters{"a": exporter}, rules: impatientRules(t)})
	prometheus.becomes(t, "factory_users == 120")
	org.join(3)
	prometheus.becomes(t, "factory_users_joined_total == 3")

	exporter.Stop(t)
	prometheus.becomes(t, "up == 0 unless on (instance) (factory_up or factory_users or factory_api_requests_total)")
	prometheus.becomes(t, `ALERTS{alertname="FactoryExporterDown", alertstate="firing"}`)
	org.join(4)

	prometheus.scrape(t, exporters{"a": startExporter(t, org)})
	prometheus.becomes(t, "factory_users == 127 and factory_up == 1")
	prometheus.holds(t, "factory_users_joined_total == 0 and factory_users_left_total == 0") // nobody saw who joined meanwhile
	prometheus.holds(t, "resets(factory_api_requests_total[10m]) == 1")
	prometheus.hasNoAlerts(t)
}

func TestFailingAPIMakesNumbersOldAndThenAbsent(t *testing.T) {
	t.Parallel()
	org := newOrganization(t, 120)
	exporter := startExporter(t, org, "--factory.seat-limit=100", "--factory.max-retries=0", "--collector.max-stale=5s")
	prometheus := startPrometheus(t, prometheusOptions{exporters: exporters{"a": exporter}, rules: impatientRules(t)})
	prometheus.becomes(t, "factory_users == 120")
	prometheus.becomes(t, `ALERTS{alertname="FactorySeatLimitReached", alertstate="firing"}`)

	org.api.Inject(fakeapi.Fault{Page: fakeapi.LastPage, Serve: fakeapi.Status(http.StatusInternalServerError)})
	prometheus.becomes(t, "factory_up == 0")
	prometheus.becomes(t, `absent(factory_users) and absent(factory_listing_timestamp_seconds) and absent(factory_users_active{})`)
	prometheus.holds(t, "up == 1 and factory_up == 0 and factory_seat_limit == 100 and factory_users_left_total == 0")
	prometheus.holds(t, `factory_api_errors_total{status="500"} > 0`)
	// While the API failed already, the numbers were the old ones, and all of them; and
	// never older than allowed.
	prometheus.holds(t, "count_over_time((factory_users and factory_up == 0)[1m:1s]) > 0")
	prometheus.holds(t, "min_over_time(factory_users[1m]) == 120")
	prometheus.holds(t, "max_over_time((timestamp(factory_users) - factory_listing_timestamp_seconds)[1m:1s]) <= 5")

	// Alerts on seats go on with the last numbers, and another one tells that there are none.
	prometheus.becomes(t, `ALERTS{alertname="FactoryListingFailing", alertstate="firing"}`)
	prometheus.holds(t, `ALERTS{alertname="FactorySeatLimitReached", alertstate="firing"} and on () absent(factory_users)`)

	org.api.ClearFaults()
	prometheus.becomes(t, "factory_users == 120 and factory_up == 1")
	prometheus.becomes(t, `absent(ALERTS{alertname="FactoryListingFailing"})`)
	prometheus.holds(t, `changes(ALERTS_FOR_STATE{alertname="FactorySeatLimitReached"}[10m]) == 0`)
}
