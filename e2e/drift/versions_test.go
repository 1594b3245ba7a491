package drift_test

import (
	"os"
	"strings"
	"testing"
)

// The quickstart runs the releases that the tests run, and this module parses PromQL with the code of that Prometheus.
func TestVersionsOfPrometheusAndAlertmanagerAgree(t *testing.T) {
	compose, module := read(t, "../../quickstart/compose.yml"), read(t, "../go.mod")
	found := 0
	for line := range strings.Lines(read(t, "../../.ci/tools")) {
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "prometheus "):
			// As a module, release 3.y.z is v0.3yy.z.
			major, rest := fields[3][3:4], strings.TrimLeft(fields[3][4:], "0")
			wantLine(t, "quickstart/compose.yml", compose, "prom/prometheus:v"+major+"."+rest)
			wantLine(t, "e2e/go.mod", module, "github.com/prometheus/prometheus "+fields[3])
		case strings.HasPrefix(line, "alertmanager "):
			wantLine(t, "quickstart/compose.yml", compose, "prom/alertmanager:"+fields[3])
		default:
			continue
		}
		found++
	}
	if found != 2 {
		t.Errorf(".ci/tools has %d of prometheus and alertmanager", found)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func wantLine(t *testing.T, file, text, end string) {
	t.Helper()
	if !strings.Contains(text, end+"\n") {
		t.Errorf("%s lacks %q, the version of .ci/tools", file, end)
	}
}
