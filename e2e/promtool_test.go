package e2e_test

import (
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"testing"

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
