package e2e_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"factory_exporter/e2e/internal/process"
)

// This one is first because it takes the longest: its clock passes weeks.
func TestTestsOfTheAlertsPass(t *testing.T) {
	t.Parallel()
	if err := run(exec.Command(programs.promtool, "test", "rules", "../alerts/factory.rules_test.yml", "../alerts/factory.rules_weeks_test.yml")); err != nil {
		t.Error(err)
	}
}

func TestEveryRuleLoadsAndEvaluates(t *testing.T) {
	t.Parallel()
	org := newOrganization(t, 120)
	exporter := startExporter(t, org, "--factory.seat-limit=200", "--collector.group-by=email_domain")
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	prometheus := startPrometheus(t, prometheusOptions{exporters: exporters{"a": exporter}, rules: rules})
	prometheus.becomes(t, "factory_users == 120")

	evaluated := 0
	process.Eventually(t, func() error {
		result, err := prometheus.Rules(t.Context(), nil)
		if err != nil {
			return err
		}
		evaluated = 0
		for _, group := range result.Groups {
			for _, rule := range group.Rules {
				var name, problem string
				var health promv1.RuleHealth
				switch rule := rule.(type) {
				case promv1.AlertingRule:
					name, health, problem = rule.Name, rule.Health, rule.LastError
				case promv1.RecordingRule:
					name, health, problem = rule.Name, rule.Health, rule.LastError
				}
				if health != promv1.RuleHealthGood || problem != "" { // unknown before the first evaluation
					return fmt.Errorf("%s is %q: %s", name, health, problem)
				}
				evaluated++
			}
		}
		if evaluated == 0 {
			return fmt.Errorf("no rules")
		}
		return nil
	})
	t.Logf("%d rules", evaluated)
	prometheus.hasNoAlerts(t)
}

func TestAlertOnSeatsReachesAlertmanagerAndResolves(t *testing.T) {
	t.Parallel()
	const alert = "FactorySeatLimitReached"
	const limit = 120
	org := newOrganization(t, limit-20)
	exporter := startExporter(t, org, fmt.Sprintf("--factory.seat-limit=%d", limit))
	pager := startPager(t, eachByItself)
	prometheus := startPrometheus(t, prometheusOptions{exporters: exporters{"a": exporter}, rules: impatientRules(t), alertmanager: pager.Process})
	prometheus.becomes(t, "factory_users < factory_seat_limit")

	org.join(20)
	prometheus.becomes(t, `ALERTS{alertname="`+alert+`", alertstate="pending"}`)
	prometheus.becomes(t, `ALERTS{alertname="`+alert+`", alertstate="firing"}`)
	firing := pager.pages(t, alert, "firing", 1)[0]
	if got := fmt.Sprint(firing.Labels); got != fmt.Sprintf("map[alertname:%s job:%s severity:warning]", alert, job) {
		t.Errorf("labels %v", got)
	}
	for _, want := range []string{"job " + job, fmt.Sprintf("%d members", limit), fmt.Sprintf("%d seats", limit)} {
		if text := firing.Annotations["summary"] + "\n" + firing.Annotations["description"]; !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}

	org.leave(5)
	pager.pages(t, alert, "resolved", 1)
	org.join(10)
	pager.pages(t, alert, "firing", 2)
	// A new exporter takes over, with another limit.
	prometheus.scrape(t, exporters{"a": startExporter(t, org, fmt.Sprintf("--factory.seat-limit=%d", 2*limit))})
	exporter.Stop(t)
	pager.pages(t, alert, "resolved", 2)
	prometheus.becomes(t, fmt.Sprintf("factory_users == %d and factory_seat_limit == %d", limit+5, 2*limit))
}

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

// The route of the quickstart, which does not wait here before it sends.
func route(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../quickstart/alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("group_wait: 30s", "group_wait: 0s", "group_interval: 5m", "group_interval: 1s").Replace(string(text))
}

// A minute takes a second.
func TestKeyThatExpiresIsToldOnceUntilItIsRenewed(t *testing.T) {
	t.Parallel()
	org := newOrganization(t, 120)
	keyFile := filepath.Join(t.TempDir(), "key")
	replaceFile(t, keyFile, apiKey)
	exporter := startExporter(t, org, "--factory.api-key-file="+keyFile, "--factory.seat-limit=120")
	pager := startPager(t, route(t))
	prometheus := startPrometheus(t, prometheusOptions{exporters: exporters{"a": exporter}, rules: hastyRules(t), alertmanager: pager.Process})
	full := pager.pages(t, "FactorySeatLimitReached", "firing", 1)[0]
	if full.receiver != "today" || fmt.Sprint(full.group) != "map[job:"+job+"]" {
		t.Errorf("told %s, of %v", full.receiver, full.group)
	}

	org.api.SetKey("fk-next")
	rejected := pager.pages(t, "FactoryKeyRejected", "firing", 1)[0]
	if rejected.Labels["status"] != "401" || rejected.Labels["severity"] != "warning" {
		t.Errorf("labels %v", rejected.Labels)
	}
	prometheus.becomes(t, `ALERTS{alertname="FactoryListingFailing", alertstate="firing"}`)
	pager.becomes(t, "FactoryListingFailing", "suppressed")
	pager.becomes(t, "FactorySeatLimitReached", "active") // by the last numbers

	replaceFile(t, keyFile, "fk-next")
	pager.pages(t, "FactoryKeyRejected", "resolved", 1)
	prometheus.becomes(t, `absent(ALERTS{alertname=~"FactoryKeyRejected|FactoryListingFailing"})`)
	prometheus.holds(t, "changes(process_start_time_seconds[10m]) == 0")
	pager.mu.Lock()
	defer pager.mu.Unlock()
	told := map[string]bool{}
	for _, page := range pager.received {
		told[page.Status+" "+page.Labels["alertname"]] = true
	}
	want := map[string]bool{"firing FactorySeatLimitReached": true, "firing FactoryKeyRejected": true, "resolved FactoryKeyRejected": true}
	if !maps.Equal(told, want) {
		t.Errorf("told of %v", told)
	}
}

// replaceFile puts another content in place of a file's, at once.
func replaceFile(t *testing.T, file, content string) {
	t.Helper()
	next := file + ".next"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
}

func TestRouteTellsOnlyTheCause(t *testing.T) {
	t.Parallel()
	pager := startPager(t, route(t))
	causes := map[string][]string{
		"FactoryKeyRejected":      {"FactoryListingFailing", "FactoryDataStale", "FactoryAPIErrors"},
		"FactoryListingFailing":   {"FactoryDataStale"},
		"FactorySeatLimitReached": {"FactorySeatLimitNear", "FactorySeatsRunOut"},
		"FactorySeatsRunOut":      {"FactorySeatLimitNear"},
		"FactoryRateLimited":      nil,
	}
	var all []map[string]map[string]string
	fire := func(labels map[string]string) {
		all = append(all, map[string]map[string]string{"labels": labels})
	}
	want := map[string]string{}
	for cause, consequences := range causes {
		// Of each alert, one is of the organization of the cause, and one is of that name in another cluster.
		for _, alert := range []string{"FactoryListingFailing", "FactoryDataStale", "FactoryAPIErrors", "FactorySeatLimitNear", "FactorySeatsRunOut", "FactoryIdleSeats"} {
			if alert == cause {
				continue
			}
			for cluster, state := range map[string]string{"east": "active", "west": "active"} {
				if cluster == "east" && slices.Contains(consequences, alert) {
					state = "suppressed"
				}
				job := "only with " + cause + " and " + alert
				fire(map[string]string{"alertname": alert, "cluster": cluster, "job": job, "severity": "info"})
				want[alert+" "+cluster+" "+job] = state
				if cluster == "east" {
					fire(map[string]string{"alertname": cause, "cluster": cluster, "job": job, "severity": "warning"})
					want[cause+" "+cluster+" "+job] = "active"
				}
			}
		}
	}
	pager.fire(t, all)
	process.Eventually(t, func() error {
		got := map[string]string{}
		for _, alert := range pager.alerts(t) {
			got[alert.Labels["alertname"]+" "+alert.Labels["cluster"]+" "+alert.Labels["job"]] = alert.Status.State
		}
		for alert, state := range want {
			if got[alert] != state {
				return fmt.Errorf("%s is %q, not %s", alert, got[alert], state)
			}
		}
		return nil
	})
	for _, page := range pager.pages(t, "FactoryIdleSeats", "firing", len(causes)) {
		if page.receiver != "planning" || page.group["cluster"] != page.Labels["cluster"] || page.group["job"] != page.Labels["job"] {
			t.Errorf("told %s of %v, in a message of %v", page.receiver, page.Labels, page.group)
		}
	}
}
