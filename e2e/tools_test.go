package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"testing"
)

// tools are the programs that run here, by path. They are there before the first test begins, so that no
// build slows down a test.
var tools struct {
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
	// The programs of others are kept for later runs. Without the discovery of targets in clouds, Prometheus
	// has but a few of its dependencies.
	for _, tool := range []struct {
		path         *string
		pkg, version string
		flags        []string
	}{
		{&tools.prometheus, "github.com/prometheus/prometheus/cmd/prometheus", "v0.316.0", []string{"-tags=remove_all_sd"}},
		{&tools.promtool, "github.com/prometheus/prometheus/cmd/promtool", "v0.316.0", []string{"-tags=remove_all_sd"}},
		{&tools.alertmanager, "github.com/prometheus/alertmanager/cmd/alertmanager", "v0.31.1", nil},
		{&tools.amtool, "github.com/prometheus/alertmanager/cmd/amtool", "v0.31.1", nil},
	} {
		var err error
		if *tool.path, err = install(tool.pkg, tool.version, tool.flags...); err != nil {
			return fail(err)
		}
	}

	dir, err := os.MkdirTemp("", "factory_exporter-e2e-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	tools.exporter = filepath.Join(dir, "factory_exporter")
	build := exec.Command("go", "build", "-o", tools.exporter, ".")
	build.Dir = ".."
	if err := run(build); err != nil {
		return fail(err)
	}
	return m.Run()
}

// install builds a program outside of this module, unless an earlier run did, and returns its path in the
// user's cache directory.
func install(pkg, version string, flags ...string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "factory_exporter-e2e")
	name := path.Base(pkg)
	binary := filepath.Join(cache, fmt.Sprintf("%s@%s-%s", name, version, runtime.Version()), name)
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return "", err
	}
	unfinished, err := os.MkdirTemp(cache, "building-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(unfinished) //nolint:errcheck // it is but a cache

	fmt.Fprintf(os.Stderr, "Building %s@%s for this and later runs, which takes minutes.\n", pkg, version)
	build := exec.Command("go", append(append([]string{"install"}, flags...), pkg+"@"+version)...)
	build.Dir = unfinished
	build.Env = append(os.Environ(), "GOBIN="+unfinished)
	if err := run(build); err != nil {
		return "", err
	}
	return binary, os.Rename(filepath.Join(unfinished, name), binary)
}

func run(cmd *exec.Cmd) error {
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, output)
	}
	return nil
}
