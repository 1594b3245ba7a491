package process

import (
	"os/exec"
	"regexp"
	"slices"
	"testing"
)

var collectorSwitch = regexp.MustCompile(`--\[no-\](collector\.\S+)`)

// AllSeries returns the flags with which the exporter exposes every series that it has.
// Switches such as --collector.per-user are taken from its help, so that a new one is on.
func AllSeries(t testing.TB, exporter string) []string {
	t.Helper()
	help, err := exec.Command(exporter, "--help-long").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, help)
	}
	flags := []string{"--factory.seat-limit=300", "--collector.group-by=email_domain", "--collector.group-by=metadata.team"}
	for _, found := range collectorSwitch.FindAllSubmatch(help, -1) {
		if flag := "--" + string(found[1]); !slices.Contains(flags, flag) {
			flags = append(flags, flag)
		}
	}
	return flags
}
