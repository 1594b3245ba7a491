package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"factory_exporter/e2e/internal/process"
	"factory_exporter/e2e/internal/tools"
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
	os.Exit(testMain(m))
}

func testMain(m *testing.M) (code int) {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for name, path := range map[string]*string{
		"prometheus": &programs.prometheus, "promtool": &programs.promtool,
		"alertmanager": &programs.alertmanager, "amtool": &programs.amtool,
	} {
		var err error
		if *path, err = tools.Path(name); err != nil {
			return fail(err)
		}
	}
	dir, err := os.MkdirTemp("", "factory_exporter-e2e-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	if programs.exporter, err = process.BuildExporter(dir); err != nil {
		return fail(err)
	}
	return m.Run()
}

func run(cmd *exec.Cmd) error {
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, output)
	}
	return nil
}
