package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"factory_exporter/e2e/drift"
	"factory_exporter/e2e/internal/process"
)

func TestPromtoolHasNothingToSayAboutTheMetrics(t *testing.T) {
	t.Parallel()
	exporter := process.Serve(t, nil, programs.exporter, append(process.AllSeries(t, programs.exporter), "--demo")...)
	scrape := ""
	process.Eventually(t, func() error {
		_, scrape = process.Get(t, http.DefaultClient, exporter.URL()+"/metrics")
		if !strings.Contains(scrape, "\nfactory_users_used_by_attribute{") {
			return errors.New("the analytics are not read")
		}
		return nil
	})
	check := exec.Command(programs.promtool, "check", "metrics")
	check.Stdin = strings.NewReader(scrape)
	// Two metrics count days, which promtool takes for a unit. It ends with an error then.
	output, _ := check.CombinedOutput()
	for line := range strings.Lines(string(output)) {
		if line != "factory_usage_active_days use base unit \"seconds\" instead of \"days\"\n" && line != "factory_usage_known_days use base unit \"seconds\" instead of \"days\"\n" {
			t.Error(line)
		}
	}
}

func TestConfigurationsAreValid(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		command []string
	}{
		{"alerts", []string{programs.promtool, "check", "rules", "--lint=all", "--lint-fatal", rulesFile}},
		{"Prometheus of the quickstart", []string{programs.promtool, "check", "config", "--lint=all", "--lint-fatal", "../quickstart/prometheus.yml"}},
		{"Alertmanager of the quickstart", []string{programs.amtool, "check-config", "../quickstart/alertmanager.yml"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := run(exec.Command(test.command[0], test.command[1:]...)); err != nil {
				t.Error(err)
			}
		})
	}
}

// There are two organizations in jobs of one name, with two replicas each.
func TestQueriesOfTheDocumentationCountAnOrganizationOnce(t *testing.T) {
	t.Parallel()
	queries, err := drift.ReadMarkdown("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	file := "tests:\n  - input_series:\n"
	for _, namespace := range []string{"east", "west"} {
		series := func(name, labels string) {
			file += fmt.Sprintf("      - {series: '%s{job=\"factory\", namespace=%q%s}', values: 1x60}\n", name, namespace, labels)
		}
		for _, name := range []string{"seats:free", "seats:days_left", "seats:reclaimable", "usage_credits:month_to_date", "users_credits:top_tenth_ratio"} {
			series("job:factory_"+name, `, window="30d"`)
		}
		for _, replica := range []string{`, instance="a"`, `, instance="b"`} {
			series("factory_users_joined_total", replica)
			series("factory_users_last_sign_in_age_seconds_bucket", replica+`, le="86400"`)
			series("factory_users_last_sign_in_age_seconds_bucket", replica+`, le="+Inf"`)
			series("factory_users_unused_by_attribute", replica+`, attribute="metadata.team", value="web", window="90d"`)
		}
	}
	file += "    promql_expr_test:\n"
	for _, query := range queries {
		file += fmt.Sprintf("      - {expr: %q, eval_time: 1h, exp_samples: [{labels: '{namespace=\"east\"}', value: 1}, {labels: '{namespace=\"west\"}', value: 1}]}\n",
			"count by (namespace) ("+query.Text+")")
	}
	passes(t, file)
}
