package tools_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"factory_exporter/e2e/internal/tools"
)

func TestQuickstartRunsTheVersionsOfTheTests(t *testing.T) {
	text, err := os.ReadFile("../../../quickstart/compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct{ Image string }
	}
	if err := yaml.Unmarshal(text, &compose); err != nil {
		t.Fatal(err)
	}
	tags := map[string]string{} // by image
	for _, service := range compose.Services {
		image, tag, _ := strings.Cut(service.Image, ":")
		tags[image] = tag
	}
	for _, project := range tools.Projects() {
		if got, want := tags[project.Image], "v"+project.Release; got != want {
			t.Errorf("quickstart/compose.yml has %s:%s, the tests run %s:%s", project.Image, got, project.Image, want)
		}
	}
}

// The parser that reads the project's PromQL is that of the Prometheus that runs it.
func TestModuleHasThePrometheusThatRuns(t *testing.T) {
	prometheus := tools.Projects()[0]
	version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", prometheus.Module).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(version)); got != prometheus.Version {
		t.Errorf("go.mod has %s %s, the tests run %s", prometheus.Module, got, prometheus.Version)
	}
}
