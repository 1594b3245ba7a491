package e2e_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
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
	pager := startPager(t)
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
