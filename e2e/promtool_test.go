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
	everything := []string{"--factory.seat-limit=2000", "--collector.per-user",
		"--collector.group-by=email_domain", "--collector.group-by=metadata.team"}
	demo := []string{"--demo", "--web.listen-address=127.0.0.1:0"}
	for name, exporter := range map[string]*process{
		"an organization":          startExporter(t, newOrganization(t, 120), everything...),
		"the demo":                 start(t, nil, tools.exporter, demo...),
		"the demo, all options on": start(t, nil, tools.exporter, append(demo, everything...)...),
	} {
		t.Run(name, func(t *testing.T) {
			response, err := http.Get("http://" + exporter.address(t) + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close() //nolint:errcheck // read side only
			scrape, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(scrape, []byte("\nfactory_users ")) {
				t.Errorf("there are no members:\n%s", scrape)
			}
			check := exec.Command(tools.promtool, "check", "metrics")
			check.Stdin = bytes.NewReader(scrape)
			if output, err := check.CombinedOutput(); err != nil || len(output) > 0 {
				t.Errorf("%v\n%s", err, output)
			}
		})
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
