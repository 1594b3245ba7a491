package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"factory_exporter/e2e/internal/process"
)

// programs are those that run here, by path.
var programs struct {
	exporter             string
	prometheus, promtool string
	alertmanager, amtool string
}

func TestMain(m *testing.M) {
	// The tests wait for others more than they compute.
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = parallel.Value.Set("6") // a number cannot fail
	}
	process.Main(m, func(exporter string) (err error) {
		programs.exporter = exporter
		for name, path := range map[string]*string{
			"prometheus": &programs.prometheus, "promtool": &programs.promtool,
			"alertmanager": &programs.alertmanager, "amtool": &programs.amtool,
		} {
			tool := exec.Command("../.ci/tool", name)
			tool.Stderr = os.Stderr // the first time, it builds for minutes
			output, err := tool.Output()
			if err != nil {
				return fmt.Errorf("%s: %w", tool, err)
			}
			*path = strings.TrimSpace(string(output))
		}
		return nil
	})
}

func run(cmd *exec.Cmd) error {
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, output)
	}
	return nil
}
