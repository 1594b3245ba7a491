package e2e_test

import (
	"bytes"
	"io"
	"net/http"
	"os/exec"
	"testing"
)

func TestPromtoolHasNothingToSayAboutTheMetrics(t *testing.T) {
	t.Parallel()
	org := newOrganization(t, 120)
	exporter := startExporter(t, org, "--factory.seat-limit=200", "--collector.per-user",
		"--collector.group-by=email_domain", "--collector.group-by=metadata.team")
	response, err := http.Get("http://" + exporter.address(t) + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // read side only
	scrape, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(scrape, []byte("\nfactory_users 120\n")) {
		t.Errorf("not a scrape:\n%s", scrape)
	}
	check := exec.Command(tools.promtool, "check", "metrics")
	check.Stdin = bytes.NewReader(scrape)
	if output, err := check.CombinedOutput(); err != nil || len(output) > 0 {
		t.Errorf("%v\n%s", err, output)
	}
}

func TestConfigurationsAreValid(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		command []string
	}{
		{"alerts", []string{tools.promtool, "check", "rules", "--lint=all", "--lint-fatal", rulesFile}},
		{"Prometheus of the quickstart", []string{tools.promtool, "check", "config", "--lint=all", "--lint-fatal", "../quickstart/prometheus.yml"}},
		{"Alertmanager of the quickstart", []string{tools.amtool, "check-config", "../quickstart/alertmanager.yml"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := run(exec.Command(test.command[0], test.command[1:]...)); err != nil {
				t.Error(err)
			}
		})
	}
}
